"""Executed work by (layer, phase): a model and a call go in, `CountedWork` comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.measure.flops.footprint import Footprint
from layerscope.measure.flops.formulas import Formulas, label_of, name_of
from layerscope.measure.flops.layer_stack import Frame, LayerStack
from layerscope.measure.flops.memory import meter_for
from layerscope.measure.flops.operands import dtype_name, named_operands, operand_dtype
from layerscope.measure.flops.operator_kinds import Kind, kind_of
from layerscope.measure.flops.tensors import tensors_in
from layerscope.measure.flops.traffic import Moved, is_packed, reads, storages_of, writes
from layerscope.private.names import require
from layerscope.private.operators import (
    COUNTED,
    decomposes,
    dispatch_mode,
    operator_class,
)
from layerscope.private.tensors import wrapper_test
from layerscope.records.heavy import heavy_kind
from layerscope.records.work import CountedWork, OperatorCount, PartWork, WorkRow

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class _RowSum:
    flops: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    heavy: Counter[str] = field(default_factory=Counter)
    bytes_self: int = 0
    operators: int = 0


@dataclass(slots=True)
class _PartSum:
    """One call of a part: what it computed and which storages it read that it did not make."""

    phase: str
    flops: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    weights: dict[int, Footprint] = field(default_factory=dict)
    weight_dtypes: dict[int, str] = field(default_factory=dict)
    inputs: dict[int, Footprint] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)

    def read(self, storage: int, moved: Moved, is_weight: bool) -> None:
        if storage in self.made:
            return
        if is_weight:
            self.weight_dtypes[storage] = dtype_name(moved.tensor)
        seen = self.weights if is_weight else self.inputs
        seen.setdefault(storage, Footprint()).read(moved)

    def weight_bytes_by_dtype(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for storage, footprint in self.weights.items():
            sums[self.weight_dtypes[storage]] += footprint.size
        return dict(sums)


class WorkLedger:
    """Takes one executed operator at a time and books it to the layer that runs."""

    def __init__(self, model: torch.nn.Module, stack: LayerStack) -> None:
        self._stack = stack
        self._formulas = Formulas()
        self._weights = storages_of((*model.parameters(), *model.buffers()))
        self.rows: dict[tuple[str, str], _RowSum] = {}
        self.parts: dict[tuple[str, int], _PartSum] = {}
        self.flops = 0
        self.torch_flops = 0
        self.views = 0
        self.uncounted: dict[str, list[int]] = {}
        self.moved: dict[str, list[int]] = {}
        self.missing: dict[str, list[int]] = {}

    def book(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Book one operator that has just run."""
        frame = self._stack.top
        row = self.rows.setdefault(frame.key, _RowSum())
        row.operators += 1
        if heavy := heavy_kind(operator.name()):
            row.heavy[heavy] += 1
        has_formula = self._formulas.know(operator, kwargs)
        kind = kind_of(operator)
        if not has_formula and kind is Kind.VIEW:
            self.views += 1
            self._book_view(frame, args, out)
            return
        size = self._book_bytes(frame, operator, args, kwargs, out)
        row.bytes_self += size
        if has_formula:
            flops = self._formulas.count(operator, args, kwargs, out)
            if flops is not None:
                operands = named_operands(operator, args, kwargs, out)
                self._book_flops(frame, row, operand_dtype(name_of(operator), operands), flops)
                self.torch_flops += self._formulas.as_torch(operator, args, kwargs, out)
                return
            kind = Kind.UNKNOWN
        label = label_of(operator, kwargs)
        if kind is Kind.UNKNOWN:
            row.missing[label] += 1
            self._part(frame).missing[label] += 1
        entry = self._list_of(kind).setdefault(label, [0, 0])
        entry[0] += 1
        entry[1] += size

    def _book_flops(self, frame: Frame, row: _RowSum, dtype: str, flops: int) -> None:
        self.flops += flops
        row.flops[dtype] += flops
        self._part(frame).flops[dtype] += flops

    def _list_of(self, kind: Kind) -> dict[str, list[int]]:
        if kind is Kind.UNKNOWN:
            return self.missing
        return self.moved if kind is Kind.MOVEMENT else self.uncounted

    def _part(self, frame: Frame) -> _PartSum:
        return self.parts.setdefault((frame.part, frame.step), _PartSum(frame.phase))

    def _book_view(self, frame: Frame, args: tuple[Any, ...], out: Any) -> None:
        # An allocation (`empty`) makes a storage; a view keeps the one it looks at.
        made = storages_of(tensors_in(out)) - storages_of(tensors_in(args))
        self._part(frame).made.update(made)

    def _book_bytes(
        self, frame: Frame, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> int:
        part = self._part(frame)
        total = 0
        for storage, moved in reads(operator, args, kwargs, out).items():
            part.read(storage, moved, storage in self._weights or is_packed(storage))
            total += moved.size
        given = storages_of(tensors_in((args, kwargs)))
        for storage, moved in writes(operator, args, kwargs, out).items():
            total += moved.size
            if storage not in given:
                part.made.add(storage)
        return total


@cache
def _decomposes(operator: Any) -> bool:
    """Whether an operator is only a composition of others (CompositeImplicitAutograd).

    `generate()` runs under no_grad, where such operators still reach a dispatch mode whole in
    inference mode; counted whole they would hide the matmuls inside.
    """
    return decomposes(operator)


def _mode_over(ledger: WorkLedger, saw: Callable[[Any], None]) -> Any:
    """The dispatch mode that runs each operator and books it."""
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
            nested = any(t.is_nested for t in tensors_in((args, kwargs)))
            known = nested or func is torch.ops.prim.device.default
            if is_plain and not known and _decomposes(func):
                with self:
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            result = func(*args, **kwargs)
            for tensor in tensors_in(result):
                saw(tensor)
            ledger.book(func, args, kwargs, result)
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
    with torch.compiler.set_stance("force_eager"), stack.attached(), _mode_over(ledger, meter.saw):
        run()
    return _counted(stack, ledger, root, meter.method)


def _counted(stack: LayerStack, ledger: WorkLedger, root: str, method: str) -> CountedWork:
    rows = []
    for key, calls in stack.calls.items():
        done = ledger.rows.get(key, _RowSum())
        rows.append(
            WorkRow(
                layer=key[0],
                phase=key[1],
                calls=calls,
                flops=_known(done),
                flops_by_dtype=dict(done.flops),
                missing=tuple(sorted(done.missing)),
                bytes_self=done.bytes_self,
                operators=done.operators,
                heavy=dict(done.heavy),
                memory_peak_bytes=stack.memory_peaks.get(key),
            )
        )
    return CountedWork(
        root=root,
        rows=tuple(rows),
        parts=tuple(
            PartWork(
                part=part,
                phase=done.phase,
                step=step,
                flops=_known(done),
                flops_by_dtype=dict(done.flops),
                missing=tuple(sorted(done.missing)),
                weight_bytes_by_dtype=done.weight_bytes_by_dtype(),
                input_bytes=sum(footprint.size for footprint in done.inputs.values()),
            )
            for (part, step), done in ledger.parts.items()
        ),
        flops=None if ledger.missing else ledger.flops,
        counted_flops=ledger.flops,
        flops_as_torch=ledger.torch_flops,
        bytes_moved=sum(row.bytes_self for row in rows),
        missing=_listed(ledger.missing),
        uncounted=_listed(ledger.uncounted),
        moved=_listed(ledger.moved),
        views=ledger.views,
        decoder_steps=stack.decoder_steps,
        memory_peak_bytes=max(stack.memory_peaks.values(), default=None),
        memory_method=method,
    )


def _known(done: _RowSum | _PartSum) -> int | None:
    """The sum of what was counted; None where products may be missing from it."""
    return None if done.missing else sum(done.flops.values())


def _listed(found: dict[str, list[int]]) -> tuple[OperatorCount, ...]:
    """Most called first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        OperatorCount(operator=name, calls=calls, bytes_moved=size)
        for name, (calls, size) in ordered
    )
