"""Executed work by (layer, phase): a model and a call go in, `CountedWork` comes out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.core.words import kind_and_first_line
from layerscope.measure.flops.held_memory import Held, Holdings
from layerscope.measure.flops.layer_stack import LayerStack
from layerscope.measure.flops.ledger import WorkLedger
from layerscope.measure.flops.memory import NoMeter, meter_for
from layerscope.measure.flops.tensors import tensors_in
from layerscope.measure.flops.unfused_attention import Reasons, watch_attention
from layerscope.private.names import require
from layerscope.private.operators import (
    COUNTED,
    decomposes,
    dispatch_mode,
    operator_class,
)
from layerscope.private.tensors import wrapper_test
from layerscope.records.work import CountedWork, OperatorCount, WorkRow

if TYPE_CHECKING:
    import torch


@cache
def _decomposes(operator: Any) -> bool:
    """Whether an operator is only a composition of others (CompositeImplicitAutograd).

    `generate()` runs under no_grad, where such operators still reach a dispatch mode whole in
    inference mode; counted whole they would hide the matmuls inside.
    """
    return decomposes(operator)


def _mode_over(
    ledger: WorkLedger,
    saw: Callable[[Any], None],
    holdings: Holdings,
    fault: Callable[[Exception], None] | None = None,
) -> Any:
    """The dispatch mode that runs each operator and books it, its work and its memory.

    `fault` takes what booking raises.
    """
    import torch

    plain, is_wrapper_class, base = operator_class(), wrapper_test(), dispatch_mode()

    class WorkMode(base):  # type: ignore[misc,valid-type]
        supports_higher_order_operators = True

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if any(is_wrapper_class(t) for t in types):
                # What the subclass makes of it comes back here, operator by operator.
                return NotImplemented
            is_plain = isinstance(func, plain)
            # A nested tensor has kernels of its own where others take an operator apart.
            given = tuple(tensors_in((args, kwargs)))
            nested = any(t.is_nested for t in given)
            known = nested or func is torch.ops.prim.device.default
            if is_plain and not known and _decomposes(func):
                with self:
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            holdings.existed(given)
            result = func(*args, **kwargs)
            try:
                made = tuple(tensors_in(result))
                for tensor in made:
                    saw(tensor)
                holdings.made(made)
                ledger.book(func, args, kwargs, result)
            except Exception as error:
                if fault is None:
                    raise
                fault(error)
            return result

    return WorkMode()


def count_work(
    model: torch.nn.Module, run: Callable[[], Any], *, root: str = ROOT_GENERATE
) -> CountedWork:
    """Count what `run` executes on `model`: FLOPs, bytes and peak memory by (layer, phase).

    On CUDA this resets the allocator's peak counters, so let no other measurement run meanwhile.

    Args:
        model: the model `run` calls. Hooked while `run` runs, unchanged afterwards.
        run: the call to count, e.g. `lambda: model.generate(**inputs)`; it is called once. What is
            compiled in it runs eagerly here: templates of compiled code bypass the dispatcher.
        root: name of the row for what runs outside any module.

    Returns:
        The counted work. Σ rows' counted FLOPs = `counted_flops`, which is `flops` unless an
        operator may hold products that no formula counts. A shared module, or one of several
        modules that share a weight, is charged to the FQN of the module object that was called,
        once.

    Raises:
        EnvironmentProblem: this torch does not let operators be counted as layerscope does it.
        Whatever `run` raises; the hooks are removed first.
    """
    import torch

    require(COUNTED)
    meter = meter_for(model)
    stack = LayerStack(model, root, meter)
    ledger = WorkLedger(model, stack)
    tensors = (*model.parameters(), *model.buffers())
    holdings = Holdings({tensor.device.type for tensor in tensors} or {"cpu"}, stack.held)
    holdings.existed(tensors)
    mode = _mode_over(ledger, meter.saw, holdings)

    def attention(reasons: Reasons) -> None:
        stack.top.unfused.update(dict.fromkeys(reasons))

    with (
        torch.compiler.set_stance("force_eager"),
        stack.attached(),
        watch_attention(attention),
        mode,
    ):
        run()
    return _counted(stack, ledger, root, meter.method)


@dataclass(frozen=True)
class Overheard:
    """What counting a call of somebody else's gave.

    Attributes:
        result: of the call.
        work: None where counting failed, for the `reason`.
    """

    result: Any
    work: CountedWork | None
    reason: str = ""


def overhear_work(
    model: torch.nn.Module, run: Callable[[], Any], *, root: str = ROOT_GENERATE
) -> Overheard:
    """`count_work` of a call that belongs to somebody else's program, which must not notice.

    Its result is handed on. No error of the counting reaches it, the calls of other threads are not
    mixed with it, CUDA's peak counters stay (so memory is not measured), and compiled code stays
    compiled: who calls this makes sure that there is none.

    Raises:
        Whatever `run` raises; the hooks are removed first.
    """
    faults: list[Exception] = []
    exits = ExitStack()
    try:
        require(COUNTED)
        meter = NoMeter()
        stack = LayerStack(model, root, meter)
        ledger = WorkLedger(model, stack)
        exits.enter_context(stack.attached(faults.append))
        holdings = Holdings((), stack.held)  # of no device: whoever asked did not ask for memory
        exits.enter_context(_mode_over(ledger, meter.saw, holdings, faults.append))
    except Exception as error:
        exits.close()
        return Overheard(run(), None, kind_and_first_line(error))
    with exits:
        result = run()
    if faults:
        return Overheard(result, None, kind_and_first_line(faults[0]))
    try:
        return Overheard(result, _counted(stack, ledger, root, meter.method))
    except Exception as error:
        return Overheard(result, None, kind_and_first_line(error))


def _counted(stack: LayerStack, ledger: WorkLedger, root: str, method: str) -> CountedWork:
    steps = stack.steps()
    places = stack.places(steps)
    keys = [(frame.layer, places[frame.segment].phase) for frame in stack.done]
    calls: Counter[tuple[str, str]] = Counter()
    peaks: dict[tuple[str, str], int] = {}
    held: dict[tuple[str, str], Held] = defaultdict(Held)
    unfused: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for key, frame in zip(keys, stack.done, strict=True):
        # The whole model's own forward runs inside the root and shares its row: one call, not two.
        calls[key] += 1 if frame.layer != root or frame.module is None else 0
        peaks[key] = max(peaks.get(key, 0), frame.memory_peak)
        held[key].join(frame.held)
        unfused[key].update(frame.unfused)
    done = ledger.rows_at(places)
    rows = tuple(
        WorkRow(
            layer=key[0],
            phase=key[1],
            calls=count,
            flops=done[key].known_flops,
            flops_by_dtype=dict(done[key].flops),
            missing=tuple(sorted(done[key].missing)),
            bytes_self=done[key].bytes_self,
            operators=done[key].operators,
            heavy=dict(done[key].heavy),
            memory_peak_bytes=peaks[key] if method else None,
            allocated_bytes=held[key].allocated if method else None,
            retained_bytes=held[key].retained if method else None,
            largest_bytes=held[key].largest if method else None,
            freed_bytes=held[key].freed if method else None,
            unfused=tuple(unfused[key]),
        )
        for key, count in calls.items()
    )
    return CountedWork(
        root=root,
        rows=rows,
        parts=ledger.parts_at(places),
        flops=None if ledger.missing else ledger.flops,
        counted_flops=ledger.flops,
        flops_as_torch=ledger.torch_flops,
        bytes_moved=sum(row.bytes_self for row in rows),
        missing=_listed(ledger.missing),
        uncounted=_listed(ledger.uncounted),
        moved=_listed(ledger.moved),
        views=ledger.views,
        decoder_steps=len(steps.phases),
        memory_peak_bytes=max(peaks.values(), default=None) if method else None,
        memory_method=method,
    )


def _listed(found: dict[str, list[int]]) -> tuple[OperatorCount, ...]:
    """Most called first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        OperatorCount(operator=name, calls=calls, bytes_moved=size)
        for name, (calls, size) in ordered
    )
