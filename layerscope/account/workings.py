"""A trace's columns in, everything that follows from it alone out: nesting, ranges, launches, layers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from layerscope.account.compiled_code import CompiledCode, Placed, read_compiled_code
from layerscope.account.graph_replays import DevicePlaces, place_device_events
from layerscope.account.host_time import ThreadTime, thread_times
from layerscope.account.kernel_modules import Unasked, says_modules, with_modules
from layerscope.account.marked_phases import marks_at, window_span
from layerscope.account.phases import LayerRange, Ranges, phase_named, read_ranges
from layerscope.core.cached import cached_property
from layerscope.core.roles import Roles
from layerscope.core.vocabulary import BEFORE_WINDOW, NO_LAUNCH_RECORD, OURS_PREFIX, OUTSIDE_MODEL
from layerscope.records.provenance import Provenance
from layerscope.records.tables import LayerSource
from layerscope.trace.attribution import Attribution, attribute
from layerscope.trace.categories import COMPILER_RANGES
from layerscope.trace.columns import Ints, TraceColumns
from layerscope.trace.layer_source import Layers, our_layers
from layerscope.trace.tree import NONE, SpanTree, build_tree

_NO_OPERATORS = (*COMPILER_RANGES, OURS_PREFIX)

Key = tuple[str, str]  # (layer, phase)


@dataclass(frozen=True)
class Workings:
    """A trace with everything that follows from it alone: nesting, ranges, launches, layers.

    `keys` holds the (layer, phase) of every device event; of one that several layers share, that of
    the largest share. `places` holds all shares of those that compiled code, or a kernel itself,
    explains; it is there where `compiled` is or kernels say their modules.
    """

    columns: TraceColumns
    tree: SpanTree
    ranges: Ranges
    links: Attribution
    keys: tuple[Key, ...]
    source: LayerSource = "ranges"
    compiled: CompiledCode | None = None
    places: DevicePlaces | None = None
    provenance: Provenance | None = None

    @property
    def has_device(self) -> bool:
        """Whether any device event was traced."""
        return len(self.columns.device.name) > 0

    @cached_property
    def roots(self) -> list[LayerRange]:
        """The layer ranges that lie in no other."""
        return [item for item in self.ranges.items if item.above == NONE]

    @cached_property
    def edges(self) -> list[int]:
        """The spans that bound the window on the host: the roots, and the block of a capture."""
        window = window_span(self.columns)
        return [*([window] if window != NONE else []), *(item.span for item in self.roots)]

    @cached_property
    def host_threads(self) -> tuple[ThreadTime, ...]:
        """The threads whose host time is accounted for; the calling one first."""
        return thread_times(self.columns, self.tree, self.ranges, self.roots)

    @cached_property
    def operators(self) -> Ints:
        """Indices of the spans in a layer that are operators: no range, of ours or the compiler's."""
        is_range = np.array([name.startswith(_NO_OPERATORS) for name in self.columns.names], bool)
        tree = self.tree
        operators = np.flatnonzero(~tree.is_layer & ~tree.is_phase & (tree.layer != NONE))
        found: Ints = operators[~is_range[self.columns.spans.name[operators]]]
        return found

    def place(self, event: int) -> Placed:
        """Where a device event belongs: all of it to its key, unless compiled code says otherwise."""
        where = self.places.placed[event] if self.places is not None else None
        return where or Placed(((self.keys[event], 1),), "range", modelled=False)

    def parts(self, event: int) -> list[tuple[Key, int]]:
        """What each (layer, phase) has of a device event, in ns; more than one where layers share it."""
        duration = int(self.columns.device.dur_ns[event])
        where = self.places.placed[event] if self.places is not None else None
        return [(self.keys[event], duration)] if where is None else where.deal(duration)


def work_out(
    columns: TraceColumns,
    layers: Layers | None = None,
    *,
    provenance: Provenance | None = None,
    fqns: Collection[str] = (),
    roles: Roles | None = None,
) -> Workings:
    """Nest the spans, name the ranges and attribute the device events of a trace.

    Layers are the capture's own ranges unless others are given, see `find_layers`.

    Args:
        provenance: of the compiled code that ran in the trace.
        fqns: the model's modules, if known: layers of compiled code are among them.
        roles: of these, where the run or the capture says them.
    """
    layers = layers or our_layers(columns)
    columns = layers.columns
    tree = build_tree(columns, layers)
    ranges = read_ranges(columns, tree, layers, fqns, roles)
    links = attribute(columns, tree)
    keys = _device_keys(columns, tree, ranges, links)
    compiled = None
    if provenance is not None:
        compiled = read_compiled_code(columns, tree, ranges, provenance, fqns)
    places = None
    if compiled is not None and provenance is not None:
        places = place_device_events(columns, tree, links, compiled, provenance.captures)
    if says_modules(columns):
        none = (NONE,) * len(keys)
        before = places or DevicePlaces(none, (None,) * len(keys), none)
        asked = with_modules(
            columns,
            Unasked(links.launch.tolist(), keys, before.placed),
            fqns,
            ranges.root,
            in_ranges=layers.source in ("ranges", "modules"),
        )
        places = replace(before, placed=tuple(asked))
    if places is not None:
        both = zip(keys, places.placed, strict=True)
        keys = [key if where is None else where.main for key, where in both]
    return Workings(
        columns, tree, ranges, links, tuple(keys), layers.source, compiled, places, provenance
    )


def _device_keys(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, links: Attribution
) -> list[Key]:
    """The (layer, phase) of every device event; a bucket where no layer launched it."""
    items = ranges.items
    of_span = ranges.of_span
    rest = ranges.resting_phase
    window = window_span(columns)
    edges = [window] if window != NONE else [i.span for i in items if i.above == NONE]
    first_root = min(columns.spans.start_ns[edges].tolist(), default=None)
    marks = _marks_of_launches(columns, tree)
    keys: list[Key] = []
    for span, launch, start in zip(
        links.layer.tolist(), links.launch.tolist(), columns.device.start_ns.tolist(), strict=True
    ):
        if span != NONE:
            item = items[of_span[span]]
            keys.append((item.layer, item.phase))
        elif launch != NONE and marks[launch] != NONE:
            keys.append((ranges.root, phase_named(columns, marks[launch])))
        elif launch != NONE:
            keys.append((OUTSIDE_MODEL, rest))
        elif first_root is not None and start < first_root:
            keys.append((BEFORE_WINDOW, rest))
        else:
            keys.append((NO_LAUNCH_RECORD, rest))
    return keys


def _marks_of_launches(columns: TraceColumns, tree: SpanTree) -> list[int]:
    """The phase marked around each launch, in a capture's window; there it has rows of its own."""
    launches = columns.launches
    if window_span(columns) == NONE:
        return [NONE] * len(launches.name)
    marks: list[int] = marks_at(columns, tree, launches.thread, launches.start_ns).tolist()
    return marks
