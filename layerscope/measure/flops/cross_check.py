"""The same run counted four ways: a model and a call in, one `Check` for each way out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.measure.flops.against_fvcore import check_against_fvcore, fvcore_name
from layerscope.measure.flops.attempt import absent, attempted, reason_of
from layerscope.measure.flops.captured import CapturedCall, capture_calls
from layerscope.measure.flops.counter import count_work
from layerscope.measure.flops.formulas import attention_flops, extra_formulas
from layerscope.models.closed_form import ClosedForm
from layerscope.models.families import declared, family_of_model
from layerscope.records.work import Check, CountedWork

if TYPE_CHECKING:
    import torch

_TORCH = "torch FlopCounterMode"
_FORM = "closed form"


def cross_check(
    model: torch.nn.Module,
    run: Callable[[], Any],
    *,
    root: str = ROOT_GENERATE,
    work: CountedWork | None = None,
    form: ClosedForm | None = None,
    with_fvcore: bool = True,
) -> tuple[Check, ...]:
    """Count a run again in other ways and put the numbers side by side.

    Args:
        model: an eager model.
        run: the call that is counted; it runs two times more, and must do the same work each time.
        work: the counted run, where it is at hand; counted here otherwise.
        form: FLOPs from the architecture; those that the model's family declares where it is left out.
        with_fvcore: fvcore traces each part, which takes seconds on a model of some 10^9 weights.

    Returns:
        Checks in this order: rows, FlopCounterMode, closed form, fvcore by part. A check that
        could not run says why in `reason`.
    """
    work = work or count_work(model, run, root=root)
    form = form or getattr(family_of_model(model), "CLOSED_FORM", None)
    names = dict(model.named_modules())
    parts = [fqn for fqn in form.parts if fqn in names] if form is not None else [""]
    checks = [_rows(work), attempted(_TORCH, lambda: _against_torch(work, run))]
    try:
        calls = capture_calls(model, run, parts)
    except Exception as error:
        why = reason_of(error, "while the parts' inputs were taken")
        absents = [_FORM, *(fvcore_name(fqn) for fqn in parts if with_fvcore)]
        return (*checks, *(absent(name, why) for name in absents))
    checks.append(attempted(_FORM, lambda: _against_formula(model, work, calls, form)))
    if with_fvcore:
        checks.extend(_with_fvcore(fqn, calls) for fqn in parts)
    return tuple(checks)


def _rows(work: CountedWork) -> Check:
    return Check(
        name="sum over layers",
        ours=sum(row.counted_flops for row in work.rows),
        theirs=work.counted_flops,
        compared=len(work.rows),
        notes=("the layers' counted FLOPs against the counter's own total",),
    )


def _against_torch(work: CountedWork, run: Callable[[], Any]) -> Check:
    from torch.utils.flop_counter import FlopCounterMode

    def attention(*shapes: Any, out_shape: Any = None, **kwargs: Any) -> int:
        return attention_flops(*shapes, **kwargs)

    extra = dict.fromkeys(extra_formulas(), attention)
    with FlopCounterMode(display=False, custom_mapping=extra) as counter:
        run()
    return Check(
        name=_TORCH,
        ours=work.flops_as_torch,
        theirs=int(counter.get_total_flops()),
        notes=(
            "with formulas for the attention kernels that torch's registry lacks or cannot count",
            *_beyond_torch(work),
        ),
    )


def _beyond_torch(work: CountedWork) -> tuple[str, ...]:
    """What the other side of the check does not count, in words."""
    more = (work.counted_flops or 0) - (work.flops_as_torch or 0)
    return (f"beside it, by our own formulas: {more:,}",) if more else ()


def _against_formula(
    model: torch.nn.Module,
    work: CountedWork,
    calls: Mapping[str, CapturedCall],
    form: ClosedForm | None,
) -> Check:
    if form is None:
        written = ", ".join(found.of for found in declared("CLOSED_FORM"))
        raise ModelError(
            f"{type(model).__name__}: the closed form is written for {written}; use the other checks."
        )
    if work.missing:
        return absent(_FORM, work.missing_text)
    found = form.flops(model, calls, work.decoder_steps)
    ours: Counter[str] = Counter()
    for part in work.parts:
        ours[part.part] += sum(part.flops_by_dtype.values())
    for name, (key, _) in found.rows.items():
        row = work.of(*key)
        ours[name] = row.counted_flops if row else 0
    theirs = {**found.parts, **{name: flops for name, (_, flops) in found.rows.items()}}
    return Check(
        name=_FORM,
        ours=work.flops,
        theirs=sum(found.parts.values()),
        compared=len(theirs),
        unequal=tuple(
            f"{name}: ours {ours[name]:,}, theirs {value:,}"
            for name, value in theirs.items()
            if ours[name] != value
        ),
        notes=(
            "written for a cache that grows; a static cache attends over its full length",
            *(f"{name}: {value:,}" for name, value in theirs.items()),
        ),
    )


def _with_fvcore(fqn: str, calls: Mapping[str, CapturedCall]) -> Check:
    import torch

    if fqn not in calls:
        return absent(fvcore_name(fqn), "the part was not called in the run")
    with torch.no_grad():
        return check_against_fvcore(calls[fqn])
