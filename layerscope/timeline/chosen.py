"""A worked-out trace and a choice in; the time that belongs to the choice, event by event, out.

As in the layer table: a device event belongs to the range that launched it, unless compiled code or
the kernel itself says which layers it is of; then each of these has its part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerscope.account.workings import Workings
from layerscope.core.cached import cached_property
from layerscope.timeline.choice import Choice, Marks
from layerscope.trace.columns import Ints
from layerscope.trace.tree import NONE


def items_of(workings: Workings, spans: Ints) -> Ints:
    """Span -> index into the list of ranges; `NONE` stays."""
    index = np.full(len(workings.columns.spans.name) + 1, NONE, np.int64)
    for span, item in workings.ranges.of_span.items():
        index[span] = item
    found: Ints = index[spans]  # NONE, -1, meets the last place, which no span has
    return found


def marked(inside: Marks, items: Ints) -> Marks:
    """Which of these belong to a marked range."""
    found = np.zeros(len(items), np.bool_)
    owned = items != NONE
    found[owned] = inside[items[owned]]
    return found


@dataclass(frozen=True)
class Chosen:
    """What of a trace belongs to a choice."""

    workings: Workings
    choice: Choice

    @cached_property
    def holding(self) -> Marks:
        """Ranges in which the layer ran though none of its name lies in them: in compiled code."""
        found = np.zeros(len(self.workings.ranges.items), np.bool_)
        if self.choice.layer in (None, self.workings.ranges.root):
            return found
        held = self._launchers[(self._parts_ns > 0) & self._is_placed]
        found[held[held != NONE]] = True
        for item in self._sites_ns:
            found[item] = True
        return found

    def device_ns(self, inside: Marks) -> Ints:
        """Of each device event, what belongs to the choice in these ranges; `NONE` for the others.

        An event's time is the layer table's: summed over all calls, the `gpu_total` of the same layer
        and phase.
        """
        found = np.full(len(self._launchers), NONE, np.int64)
        there = marked(inside, self._launchers) & (self._parts_ns != NONE)
        found[there] = self._parts_ns[there]
        return found

    def host_ns(self, picked: list[int]) -> int:
        """Host time of the picked calls; in compiled code that of the layer's own kernel calls."""
        return sum(
            self._sites_ns[item] if self._only_holds(item) else self._wall_ns(item)
            for item in picked
        )

    def _only_holds(self, item: int) -> bool:
        span = self.workings.ranges.items[item]
        named = self.choice.holds((span.layer, span.phase), self.workings.ranges.root)
        return not named and item in self._sites_ns

    def _wall_ns(self, item: int) -> int:
        span = self.workings.ranges.items[item].span
        return int(self.workings.tree.end_ns[span] - self.workings.columns.spans.start_ns[span])

    @cached_property
    def _launchers(self) -> Ints:
        """The range around each device event's launch."""
        return items_of(self.workings, self.workings.links.layer)

    @cached_property
    def _is_placed(self) -> Marks:
        """Which device events say more than their launch does."""
        places = self.workings.places
        count = len(self._launchers)
        told = [where is not None for where in places.placed] if places else [False] * count
        return np.array(told, np.bool_)

    @cached_property
    def _parts_ns(self) -> Ints:
        """Of each device event, what layers of the choice have of it; `NONE` where none has any."""
        durations = self.workings.columns.device.dur_ns.tolist()
        root, keys = self.workings.ranges.root, self.workings.keys
        fits = {key: self.choice.holds(key, root) for key in set(keys)}
        found = [ns if fits[key] else NONE for key, ns in zip(keys, durations, strict=True)]
        for event in np.flatnonzero(self._is_placed).tolist():
            held = [ns for key, ns in self.workings.parts(event) if self.choice.holds(key, root)]
            found[event] = sum(held) if held else NONE
        return np.array(found, np.int64)

    @cached_property
    def _sites_ns(self) -> dict[int, int]:
        """Range around compiled code -> host time in it of kernel calls that are the choice's."""
        code, found = self.workings.compiled, dict[int, int]()
        if code is None:
            return found
        columns, tree, root = self.workings.columns, self.workings.tree, self.workings.ranges.root
        around = items_of(self.workings, tree.layer)
        for span in code.site_spans:
            where = code.place(int(code.call_of_span[span]), int(code.site_of_span[span]))
            item = int(around[span])
            if where is None or item == NONE:
                continue
            wall = int(tree.end_ns[span] - columns.spans.start_ns[span])
            held = [ns for key, ns in where.deal(wall) if self.choice.holds(key, root)]
            if held:
                found[item] = found.get(item, 0) + sum(held)
        return found
