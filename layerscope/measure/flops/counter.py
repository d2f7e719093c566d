"""Executed work by (layer, phase): a model and a call go in, `CountedWork` comes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.measure.flops.formulas import Formula, formulas
from layerscope.measure.flops.layer_stack import Frame, LayerStack
from layerscope.measure.flops.memory import meter_for
from layerscope.measure.flops.traffic import (
    Kind,
    dtype_name,
    kind_of,
    reads,
    storage_id,
    tensors_in,
    writes,
)
from layerscope.records.heavy import heavy_kind
from layerscope.records.work import CountedWork, OperatorCount, PartWork, WorkRow
from layerscope.taxonomy import ROOT_GENERATE

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class _RowSum:
    flops: Counter[str] = field(default_factory=Counter)
    heavy: Counter[str] = field(default_factory=Counter)
    bytes_self: int = 0
    operators: int = 0


@dataclass(slots=True)
class _PartSum:
    """One call of a part: what it computed and which storages it read that it did not make."""

    phase: str
    flops: Counter[str] = field(default_factory=Counter)
    weights: dict[int, int] = field(default_factory=dict)
    weight_dtypes: dict[int, str] = field(default_factory=dict)
    inputs: dict[int, int] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)

    def read(self, tensor: torch.Tensor, size: int, is_weight: bool) -> None:
        storage = storage_id(tensor)
        if storage in self.made:
            return
        if is_weight:
            self.weight_dtypes[storage] = dtype_name(tensor)
        seen = self.weights if is_weight else self.inputs
        seen[storage] = max(seen.get(storage, 0), size)

    def weight_bytes_by_dtype(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for storage, size in self.weights.items():
            sums[self.weight_dtypes[storage]] += size
        return dict(sums)


class WorkLedger:
    """Takes one executed operator at a time and books it to the layer that runs."""

    def __init__(self, model: torch.nn.Module, stack: LayerStack) -> None:
        self._stack = stack
        self._formulas: dict[Any, Formula] = formulas()
        self._weights = {storage_id(t) for t in (*model.parameters(), *model.buffers())}
        self.rows: dict[tuple[str, str], _RowSum] = {}
        self.parts: dict[tuple[str, int], _PartSum] = {}
        self.flops = 0
        self.views = 0
        self.uncounted: dict[str, list[int]] = {}
        self.moved: dict[str, list[int]] = {}

    def book(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Book one operator that has just run."""
        frame = self._stack.top
        row = self.rows.setdefault(frame.key, _RowSum())
        row.operators += 1
        if kind := heavy_kind(operator.name()):
            row.heavy[kind] += 1
        formula = self._formulas.get(getattr(operator, "_overloadpacket", operator))
        if formula is None and kind_of(operator) is Kind.VIEW:
            self.views += 1
            self._book_view(frame, args, out)
            return
        size = self._book_bytes(frame, operator, args, kwargs, out)
        row.bytes_self += size
        if formula is not None:
            flops = int(formula(*args, **kwargs, out_val=out))
            self.flops += flops
            dtype = _compute_dtype(args)
            row.flops[dtype] += flops
            self._part(frame).flops[dtype] += flops
            return
        listed = self.moved if kind_of(operator) is Kind.MOVEMENT else self.uncounted
        entry = listed.setdefault(str(operator), [0, 0])
        entry[0] += 1
        entry[1] += size

    def _part(self, frame: Frame) -> _PartSum:
        return self.parts.setdefault((frame.part, frame.step), _PartSum(frame.phase))

    def _book_view(self, frame: Frame, args: tuple[Any, ...], out: Any) -> None:
        # An allocation (`empty`) makes a storage; a view keeps the one it looks at.
        before = {storage_id(t) for t in tensors_in(args)}
        made = {storage_id(t) for t in tensors_in(out)} - before
        self._part(frame).made.update(made)

    def _book_bytes(
        self, frame: Frame, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
    ) -> int:
        part = self._part(frame)
        total = 0
        for tensor, size in reads(operator, args, kwargs, out):
            part.read(tensor, size, storage_id(tensor) in self._weights)
            total += size
        given = {storage_id(t) for t in tensors_in((args, kwargs))}
        for tensor, size in writes(operator, args, kwargs, out):
            total += size
            storage = storage_id(tensor)
            if storage not in given:
                part.made.add(storage)
        return total


def _compute_dtype(args: tuple[Any, ...]) -> str:
    """The dtype of the last operand, which is never the bias of an `addmm`."""
    found = [t for t in tensors_in(args) if t.is_floating_point()]
    return dtype_name(found[-1]) if found else "integer"


@cache
def _decomposes(operator: Any) -> bool:
    """Whether an operator is only a composition of others (CompositeImplicitAutograd).

    `generate()` runs under no_grad, where such operators still reach a dispatch mode whole in
    inference mode; counted whole they would hide the matmuls inside.
    """
    import torch

    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return key in operator.py_kernels or torch._C._dispatch_has_kernel_for_dispatch_key(
        operator.name(), key
    )


def _mode_over(ledger: WorkLedger, saw: Callable[[Any], None]) -> Any:
    """The dispatch mode that runs each operator and books it."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class WorkMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        supports_higher_order_operators = True

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            is_plain = isinstance(func, torch._ops.OpOverload)
            if is_plain and func is not torch.ops.prim.device.default and _decomposes(func):
                with self:
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            result = func(*args, **kwargs)
            for tensor in tensors_in(result):
                saw(tensor)
            ledger.book(func, args, kwargs, result)
            return result

    return WorkMode()  # type: ignore[no-untyped-call]


def count_work(
    model: torch.nn.Module, run: Callable[[], Any], *, root: str = ROOT_GENERATE
) -> CountedWork:
    """Count what `run` executes on `model`: FLOPs, bytes and peak memory by (layer, phase).

    On CUDA this resets the allocator's peak counters, so let no other measurement run meanwhile.

    Args:
        model: the model `run` calls. Hooked while `run` runs, unchanged afterwards.
        run: the call to count, e.g. `lambda: model.generate(**inputs)`; it is called once. Give it
            eager execution: templates inside a compiled region bypass the dispatcher.
        root: name of the row for what runs outside any module.

    Returns:
        The counted work. Σ rows' FLOPs = `flops`; a shared module, or one of several modules that
        share a weight, is charged to the FQN of the module object that was called, once.

    Raises:
        Whatever `run` raises; the hooks are removed first.
    """
    meter = meter_for(model)
    stack = LayerStack(model, root, meter)
    ledger = WorkLedger(model, stack)
    with stack.attached(), _mode_over(ledger, meter.saw):
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
                flops=sum(done.flops.values()),
                flops_by_dtype=dict(done.flops),
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
                flops=sum(done.flops.values()),
                flops_by_dtype=dict(done.flops),
                weight_bytes_by_dtype=done.weight_bytes_by_dtype(),
                input_bytes=sum(done.inputs.values()),
            )
            for (part, step), done in ledger.parts.items()
        ),
        flops=ledger.flops,
        bytes_moved=sum(row.bytes_self for row in rows),
        uncounted=_listed(ledger.uncounted),
        moved=_listed(ledger.moved),
        views=ledger.views,
        decoder_steps=stack.decoder_steps,
        memory_peak_bytes=max(stack.memory_peaks.values(), default=None),
        memory_method=method,
    )


def _listed(found: dict[str, list[int]]) -> tuple[OperatorCount, ...]:
    """Most called first."""
    ordered = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        OperatorCount(operator=name, calls=calls, bytes_moved=size)
        for name, (calls, size) in ordered
    )
