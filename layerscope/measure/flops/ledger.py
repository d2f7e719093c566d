"""Executed operators in, what they computed and moved by layer and by part of the model out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from layerscope.core.roles import part_of
from layerscope.measure.flops.footprint import Footprint
from layerscope.measure.flops.formulas import Formulas, label_of, name_of
from layerscope.measure.flops.layer_stack import Frame, LayerStack, Place
from layerscope.measure.flops.operands import dtype_name, named_operands, operand_dtype
from layerscope.measure.flops.operator_kinds import Kind, kind_of
from layerscope.measure.flops.tensors import tensors_in
from layerscope.measure.flops.traffic import Moved, is_packed, reads, storages_of, writes
from layerscope.records.heavy import heavy_kind
from layerscope.records.work import PartWork

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class RowSum:
    """The work of one layer without those below it."""

    flops: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    heavy: Counter[str] = field(default_factory=Counter)
    bytes_self: int = 0
    operators: int = 0

    def join(self, other: RowSum) -> None:
        """Add what was done later."""
        self.flops.update(other.flops)
        self.missing.update(other.missing)
        self.heavy.update(other.heavy)
        self.bytes_self += other.bytes_self
        self.operators += other.operators

    @property
    def known_flops(self) -> int | None:
        """The sum of what was counted; None where products may be missing from it."""
        return None if self.missing else sum(self.flops.values())


@dataclass(slots=True)
class _PartSum:
    """A call of a part: what it computed and which storages it read that it did not make."""

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

    def join(self, later: _PartSum) -> None:
        """Go on with what the same call did next: what it has made by now is no input of that."""
        self.flops.update(later.flops)
        self.missing.update(later.missing)
        for storage, footprint in later.weights.items():
            if storage not in self.made:
                self.weight_dtypes[storage] = later.weight_dtypes[storage]
                self.weights.setdefault(storage, Footprint()).join(footprint)
        for storage, footprint in later.inputs.items():
            if storage not in self.made:
                self.inputs.setdefault(storage, Footprint()).join(footprint)
        self.made |= later.made

    def weight_bytes_by_dtype(self) -> dict[str, int]:
        sums: Counter[str] = Counter()
        for storage, footprint in self.weights.items():
            sums[self.weight_dtypes[storage]] += footprint.size
        return dict(sums)


class WorkLedger:
    """Takes one executed operator at a time and books it to the layer that runs.

    Which phase and step that is in is known when the run is over: until then the books go by segment.
    """

    def __init__(self, model: torch.nn.Module, stack: LayerStack) -> None:
        self._stack = stack
        self._formulas = Formulas()
        self._weights = storages_of((*model.parameters(), *model.buffers()))
        self._rows: dict[tuple[str, int], RowSum] = {}
        # In the order in which they ran, each of one segment, of the head or not.
        self._stretches: list[tuple[int, bool, _PartSum]] = []
        self.flops = 0
        self.torch_flops = 0
        self.views = 0
        self.uncounted: dict[str, list[int]] = {}
        self.moved: dict[str, list[int]] = {}
        self.missing: dict[str, list[int]] = {}

    def book(self, operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Book one operator that has just run."""
        frame = self._stack.top
        row = self._rows.setdefault((frame.layer, frame.segment), RowSum())
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

    def _book_flops(self, frame: Frame, row: RowSum, dtype: str, flops: int) -> None:
        self.flops += flops
        row.flops[dtype] += flops
        self._part(frame).flops[dtype] += flops

    def rows_at(self, places: Sequence[Place]) -> Mapping[tuple[str, str], RowSum]:
        """What was booked to each (layer, phase); nothing for any that did nothing."""
        found: dict[tuple[str, str], RowSum] = defaultdict(RowSum)
        for (layer, segment), done in self._rows.items():
            found[layer, places[segment].phase].join(done)
        return found

    def parts_at(self, places: Sequence[Place]) -> tuple[PartWork, ...]:
        """What was booked to each call of a part, in the order in which they began."""
        found: dict[tuple[str, int], tuple[str, _PartSum]] = {}
        for segment, is_head, done in self._stretches:
            place = places[segment]
            part = part_of("head" if is_head else None, place.phase)
            found.setdefault((part, place.step), (place.phase, _PartSum()))[1].join(done)
        return tuple(
            PartWork(
                part=part,
                phase=phase,
                step=step,
                flops=None if done.missing else sum(done.flops.values()),
                flops_by_dtype=dict(done.flops),
                missing=tuple(sorted(done.missing)),
                weight_bytes_by_dtype=done.weight_bytes_by_dtype(),
                input_bytes=sum(footprint.size for footprint in done.inputs.values()),
            )
            for (part, step), (phase, done) in found.items()
        )

    def _list_of(self, kind: Kind) -> dict[str, list[int]]:
        if kind is Kind.UNKNOWN:
            return self.missing
        return self.moved if kind is Kind.MOVEMENT else self.uncounted

    def _part(self, frame: Frame) -> _PartSum:
        if self._stretches and self._stretches[-1][:2] == (frame.segment, frame.is_head):
            return self._stretches[-1][2]
        done = _PartSum()
        self._stretches.append((frame.segment, frame.is_head, done))
        return done

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
