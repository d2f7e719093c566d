"""A traced run's rows in, the units to replay out: disjoint, and covering each part as far as can be.

Units stand on rows, not on modules, because the trace knows what was called, how often, and in which
phase. A stack is a ModuleList of blocks. Outside stacks a module is one unit, but a convolution
stands for itself. What no unit covers (a stack's own kernels, `generate()` itself) is the rest.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from layerscope.core.families import roles_by_name
from layerscope.core.roles import Roles, part_of, role_of
from layerscope.records.layer_energy import ReplayChoice, ReplayUnit
from layerscope.records.layer_table import LayerRow

_BLOCK = re.compile(r"^(?P<stack>.+?)\.(?P<number>\d+)$")
# A step's cost grows with the cache: its first, middle (two where there are two) and last call.
# Their mean equals that of all calls wherever the cost is linear in the step.
NODES = 4
# At inference they return what they are given.
_IDLE_CLASSES = frozenset({"Dropout", "Identity"})


def choose_units(
    rows: Sequence[LayerRow],
    choice: ReplayChoice,
    compiled: Sequence[str] = (),
    roles: Roles | None = None,
) -> tuple[ReplayUnit, ...]:
    """The layers to replay and the wholes to check them against, in the order they run.

    Args:
        rows: of the layer table of the batch that will be replayed.
        compiled: FQNs of parts that ran compiled: each is one unit, for nothing in it is called.
        roles: of the model's modules, which say what part a layer is in; those that their names say
            where none are given.
    """
    called = _Called(rows, compiled, roles)
    items = [item for top in called.below("") for item in called.cover(top)]
    if choice.parts:
        items = [item for item in items if called.of_parts(item, choice.parts)]
    if choice.granularity == "groups":
        items = [leaf for item in items for leaf in called.by_group(item)]
    layers = [*_single(called, items, choice.parts)]
    if choice.granularity == "groups":
        layers = [*_grouped(layers, called)]
    wholes = [whole for stack in called.stacks(items) for whole in _wholes(called, stack)]
    return (*layers, *wholes)


def spread(calls: int) -> tuple[int, ...]:
    """Which of `calls` calls stand for all: every one up to `NODES`, else first, middle, last."""
    if calls <= NODES:
        return tuple(range(calls))
    return (0, (calls - 1) // 2, calls // 2, calls - 1)


def kind_of(fqn: str) -> str:
    """What a module is one of: its FQN with `*` for the block's number."""
    match = _BLOCK.match(fqn)
    return f"{match['stack']}.*" if match else fqn


@dataclass(frozen=True)
class _Calls:
    """One layer in one phase: `first` calls of it came in earlier phases."""

    fqn: str
    phase: str
    first: int
    count: int
    device_ns: int


class _Called:
    """The rows as a tree of FQNs with their calls."""

    def __init__(
        self, rows: Sequence[LayerRow], compiled: Sequence[str], roles: Roles | None
    ) -> None:
        self._compiled = frozenset(compiled)
        self._roles = roles_by_name([row.layer for row in rows]) if roles is None else roles
        self._rows: dict[str, list[LayerRow]] = defaultdict(list)
        self._children: dict[str, list[str]] = defaultdict(list)
        ran = {(row.layer, row.phase) for row in rows if row.layer in self._compiled and row.calls}
        for row in rows:
            if not row.is_bucket and row.depth and not _inside(row, ran):
                self._rows[row.layer].append(row)
        for fqn in self._rows:
            self._children[fqn.rpartition(".")[0]].append(fqn)

    def below(self, fqn: str) -> list[str]:
        """The children of a module that ran, or hold one that ran."""
        return self._children[fqn]

    def group(self, fqn: str) -> str:
        return self._rows[fqn][0].group

    def of_parts(self, fqn: str, parts: Sequence[str]) -> list[_Calls]:
        """The calls of a layer that are of these parts of the model; all of them for no parts."""
        role = role_of(fqn, self._roles)
        calls = self.calls(fqn)
        return [one for one in calls if not parts or part_of(role, one.phase) in parts]

    def calls(self, fqn: str) -> list[_Calls]:
        """By phase, in the order the phases ran; phases without work of their own left out."""
        found, first = [], 0
        for row in self._rows[fqn]:
            if row.calls:
                if _worked(row):
                    found.append(_Calls(fqn, row.phase, first, row.calls, _time_ns(row)))
                first += row.calls
        return found

    def cover(self, fqn: str) -> Iterator[str]:
        """Disjoint modules below, or at, this one that can be replayed by themselves."""
        called = any(row.calls for row in self._rows[fqn])
        if fqn in self._compiled:
            # A language model's step is compiled, its encoder is called, and compiled, by itself.
            yield fqn
        elif called and (_BLOCK.match(fqn) or not self._holds(fqn)):
            yield fqn
            return
        for child in self.below(fqn):
            yield from self.cover(child)

    def by_group(self, fqn: str) -> Iterator[str]:
        """The highest modules at or below this one that belong to one group."""
        called = any(row.calls for row in self._rows[fqn])
        if called and (self.group(fqn) != "other" or fqn in self._compiled):
            yield fqn
            return
        for child in self.below(fqn):
            yield from self.by_group(child)

    def stacks(self, items: Iterable[str]) -> list[str]:
        """The largest called modules that hold exactly one stack of these blocks."""
        lists = dict.fromkeys(
            match["stack"] for item in items for match in [self._block_above(item)] if match
        )
        found: dict[str, None] = {}
        for stack in lists:
            best, above = "", stack.rpartition(".")[0]
            while above and sum(other.startswith(f"{above}.") for other in lists) == 1:
                if any(row.calls for row in self._rows[above]):
                    best = above
                above = above.rpartition(".")[0]
            if best:
                found[best] = None
        return list(found)

    def _block_above(self, fqn: str) -> re.Match[str] | None:
        return re.match(r"^(?P<stack>.+?)\.\d+(\.|$)", fqn)

    def _holds(self, fqn: str) -> bool:
        """Whether a stack or a convolution lies below."""
        return any(
            _BLOCK.match(child) is not None
            or self._rows[child][0].module.startswith("Conv")
            or self._holds(child)
            for child in self.below(fqn)
        )


def _inside(row: LayerRow, ran: set[tuple[str, str]]) -> bool:
    """Whether the row is known from inside compiled code, where nobody calls its module."""
    above = row.layer
    while "." in above:
        above = above.rpartition(".")[0]
        if (above, row.phase) in ran:
            return True
    return False


def _worked(row: LayerRow) -> bool:
    """Whether the layer did anything to replay: a dropout at inference launches no kernel."""
    return _time_ns(row) > 0 and row.module not in _IDLE_CLASSES


def _time_ns(row: LayerRow) -> int:
    """Device time of the layer and those below it; host time where no device was traced."""
    return row.cpu_total_ns or 0 if row.gpu_total_ns is None else row.gpu_total_ns


def _single(called: _Called, items: Sequence[str], parts: Sequence[str]) -> Iterator[ReplayUnit]:
    for item in items:
        for calls in called.of_parts(item, parts):
            yield ReplayUnit(
                name=f"{item} ({calls.phase})",
                kind=kind_of(item),
                phase=calls.phase,
                layers=(item,),
                calls=calls.count,
                replayed=tuple(calls.first + at for at in spread(calls.count)),
                device_ns=calls.device_ns,
            )


def _grouped(units: Sequence[ReplayUnit], called: _Called) -> Iterator[ReplayUnit]:
    """Units of one group and phase as one; those with other numbers of calls stay apart."""
    held: dict[tuple[str, str, int, tuple[int, ...]], list[ReplayUnit]] = defaultdict(list)
    for unit in units:
        key = (called.group(unit.layers[0]), unit.phase, unit.calls, unit.replayed)
        held[key].append(unit)
    several: dict[tuple[str, str], int] = defaultdict(int)
    for group, phase, *_ in held:
        several[group, phase] += 1
    for (group, phase, calls, replayed), members in held.items():
        also = f", {calls} calls" if several[group, phase] > 1 else ""
        yield ReplayUnit(
            name=f"{group} ({phase}{also})",
            kind=group,
            phase=phase,
            layers=tuple(layer for unit in members for layer in unit.layers),
            calls=calls,
            replayed=replayed,
            device_ns=sum(unit.device_ns for unit in members),
        )


def _wholes(called: _Called, fqn: str) -> Iterator[ReplayUnit]:
    """A part in one go: all its calls of a phase, or each replayed step by itself."""
    for calls in called.calls(fqn):
        numbers = sorted({calls.first + at for at in spread(calls.count)})
        steps = [(number,) for number in numbers] if calls.count > 1 else [(calls.first,)]
        for numbers_of in steps:
            at = f", call {numbers_of[0] + 1}" if calls.count > 1 else ""
            yield ReplayUnit(
                name=f"{fqn} whole ({calls.phase}{at})",
                kind=f"{fqn} whole",
                phase=calls.phase,
                layers=(fqn,),
                calls=calls.count,
                replayed=numbers_of,
                device_ns=calls.device_ns,
                role="whole",
            )
