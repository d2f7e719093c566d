"""Layer ranges in, the phase and the decoder step of each out.

InstructBLIP's phases follow from its module names and from counting the calls of `language_model`:
the first under a root is `prefill`, later ones are `decode`. Another model is one phase, `forward`,
unless the user marked phases with ranges of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from layerscope.taxonomy import (
    PHASE_FORWARD,
    PHASE_PREFIX,
    ROOT_FORWARD,
    ROOT_GENERATE,
    ROOTS,
    is_instructblip,
    static_phase_of,
    step_of,
)
from layerscope.trace.columns import TraceColumns
from layerscope.trace.layer_source import Layers, our_layers
from layerscope.trace.tree import NONE, SpanTree


@dataclass(frozen=True)
class LayerRange:
    """One call of one layer.

    Attributes:
        span: index into the trace's spans.
        layer: FQN, the root's name for the model itself.
        above: the range directly around it, as an index into the list of ranges; `NONE` at a root.
        step: decoder step, counted through the whole trace; `NONE` outside any.
    """

    span: int
    layer: str
    phase: str
    step: int
    above: int


@dataclass(frozen=True)
class Ranges:
    """All layer ranges of a trace, parents before children, thread by thread.

    Attributes:
        root: name of the root row: `generate` where the trace has one, else `forward`.
        known: whether the phases are InstructBLIP's.
        of_span: span index -> index into `items`.
    """

    items: tuple[LayerRange, ...]
    root: str
    known: bool
    of_span: dict[int, int]

    @property
    def resting_phase(self) -> str:
        """The phase of the root's own time and of the buckets."""
        return "other" if self.known else PHASE_FORWARD


def read_ranges(columns: TraceColumns, tree: SpanTree, layers: Layers | None = None) -> Ranges:
    """Name every layer range's layer, phase and step."""
    layers = layers or our_layers(columns)
    spans = tree.order[tree.is_layer[tree.order]].tolist()
    fqns = _paths(columns, tree, layers, spans)
    known = layers.source == "ranges" and is_instructblip(fqns.values())
    root = ROOT_GENERATE if ROOT_GENERATE in fqns.values() else ROOT_FORWARD
    items: list[LayerRange] = []
    of_span: dict[int, int] = {}
    steps = 0
    steps_of_root = 0
    for span in spans:
        above = of_span.get(tree.layer_parent(span), NONE)
        if above == NONE:
            steps_of_root = 0
        fqn = fqns[span]
        step = items[above].step if above != NONE else NONE
        if known and step_of(fqn) and step == NONE:
            step, steps, steps_of_root = steps, steps + 1, steps_of_root + 1
        phase = _mark(columns, tree, span)
        if phase is None and not known:
            phase = PHASE_FORWARD
        if phase is None:
            # A decoder part outside any step, before the first: it prepares the prefill.
            phase = _static(fqn) or ("decode" if steps_of_root > 1 else "prefill")
        of_span[span] = len(items)
        layer = root if fqn in ROOTS else fqn
        items.append(LayerRange(span=span, layer=layer, phase=phase, step=step, above=above))
    return Ranges(items=tuple(items), root=root, known=known, of_span=of_span)


def _paths(
    columns: TraceColumns, tree: SpanTree, layers: Layers, spans: list[int]
) -> dict[int, str]:
    found: dict[int, str] = {}
    known: dict[tuple[int, str | None], str] = {}
    names = columns.spans.name.tolist()
    parent, layer = tree.parent.tolist(), tree.layer.tolist()
    for span in spans:
        outer = parent[span]
        above = found[layer[outer]] if outer != NONE and layer[outer] != NONE else None
        key = (names[span], above)
        path = known.get(key)
        if path is None:
            path = known[key] = layers.path(columns.names[names[span]], above)
        found[span] = path
    return found


def _static(fqn: str) -> str | None:
    return "other" if fqn in ROOTS else static_phase_of(fqn)


def _mark(columns: TraceColumns, tree: SpanTree, span: int) -> str | None:
    mark = int(tree.phase[span])
    if mark == NONE:
        return None
    return columns.names[int(columns.spans.name[mark])][len(PHASE_PREFIX) :]


def layer_walls_ns(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges
) -> tuple[list[int], list[int]]:
    """Wall and self time of each range in ns: self is the wall minus the ranges directly inside."""
    spans = np.array([item.span for item in ranges.items], dtype=np.int64)
    walls = (tree.end_ns[spans] - columns.spans.start_ns[spans]).tolist() if len(spans) else []
    own = list(walls)
    for index, item in enumerate(ranges.items):
        if item.above != NONE:
            own[item.above] -= walls[index]
    return walls, own
