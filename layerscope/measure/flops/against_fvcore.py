"""One captured call counted by fvcore and by us, module by module: a call in, a `Check` out.

fvcore counts 1 per multiply-accumulate from a traced graph; we count 2 from executed operators.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from layerscope.core.vocabulary import ROOT_FORWARD
from layerscope.instrument.library_noise import advice_ignored
from layerscope.measure.flops.attempt import absent, attempted
from layerscope.measure.flops.captured import CapturedCall, tensors_only
from layerscope.measure.flops.counter import count_work
from layerscope.records.work import Check, CountedWork

# fvcore counts these and we do not.
_NOT_MATMULS = (
    "batch_norm",
    "group_norm",
    "layer_norm",
    "instance_norm",
    "upsample_nearest2d",
    "upsample_bilinear2d",
    "adaptive_avg_pool2d",
    "grid_sampler",
)
_ATTENTION = "aten::scaled_dot_product_attention"
_MOST_UNEQUAL = 5


def check_against_fvcore(call: CapturedCall) -> Check:
    """Compare every module below the captured call: our FLOPs with twice fvcore's count."""
    name = fvcore_name(call.fqn)
    if find_spec("fvcore") is None:
        return absent(name, "fvcore is not installed (pip install fvcore)")
    return attempted(name, lambda: _compared(call, name), "while tracing")


def fvcore_name(fqn: str) -> str:
    """What the check of one part is called."""
    return f"fvcore x 2, {fqn or 'model'}"


def _compared(call: CapturedCall, name: str) -> Check:
    with advice_ignored():  # fvcore uses what torch.jit calls deprecated
        from fvcore.nn import FlopCountAnalysis

    wrapped, given = tensors_only(call.without_cache())
    theirs, unsupported = _counted_by_fvcore(FlopCountAnalysis(wrapped, given))
    work = count_work(wrapped, lambda: wrapped(*given), root=ROOT_FORWARD)
    ours = with_children(work)
    compared = sorted(module for module in theirs if module in ours or theirs[module])
    unequal = [
        f"{_shown(module, call.fqn)}: ours {ours.get(module, 0):,}, theirs {theirs[module]:,}"
        for module in compared
        if ours.get(module, 0) != theirs[module]
    ]
    more = len(unequal) - _MOST_UNEQUAL
    if work.missing:
        return absent(name, work.missing_text)
    return Check(
        name=name,
        ours=work.flops,
        theirs=theirs[""],
        compared=len(compared),
        unequal=(*unequal[:_MOST_UNEQUAL], *([f"and {more} more"] if more > 0 else [])),
        notes=(
            "one call without cache; norms passed over; attention by our formula",
            "not supported by fvcore: " + (", ".join(unsupported) or "none"),
        ),
    )


def with_children(work: CountedWork) -> dict[str, int]:
    """FLOPs of each layer with the layers below it; "" is the root."""
    sums: Counter[str] = Counter()
    for row in work.rows:
        names = [] if row.layer == work.root else row.layer.split(".")
        for depth in range(len(names) + 1):
            sums[".".join(names[:depth])] += row.counted_flops
    return dict(sums)


def _counted_by_fvcore(analysis: Any) -> tuple[dict[str, int], tuple[str, ...]]:
    """2 x fvcore's count by module, and the operators it does not support."""
    for operator in _NOT_MATMULS:
        analysis.set_op_handle(f"aten::{operator}", _nothing)
    analysis.set_op_handle(_ATTENTION, _attention_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with _quiet("fvcore"), warnings.catch_warnings():
        # torch.jit warns that it is deprecated and that shapes become constants: both known here.
        warnings.simplefilter("ignore")
        by_module = {module: 2 * int(count) for module, count in analysis.by_module().items()}
        unsupported = tuple(sorted(analysis.unsupported_ops()))
    return by_module, unsupported


def _nothing(_inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    return Counter()


def _attention_macs(inputs: list[Any], _outputs: list[Any]) -> Counter[str]:
    """batch·heads·queries·keys·(d_qk + d_v), from the shapes in the traced graph."""
    query, key, value = (tensor.type().sizes() for tensor in inputs[:3])
    macs = math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return Counter({"attention": macs})


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence one logger while fvcore repeats its warnings for each operator."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _shown(module: str, fqn: str) -> str:
    """`part.encoder` of the wrapper as the model names it."""
    inner = module.removeprefix("part").removeprefix(".")
    return ".".join(name for name in (fqn, inner) if name) or "model"
