"""Layer ranges in, the phase and the decoder step of each out.

InstructBLIP's phases follow from its module names and from counting the calls of `language_model`:
the first under a root is `prefill`, later ones are `decode`, and so are calls that go on from the one
before in a loop of the caller's own. Another model is one phase, `forward`,
unless the user marked phases with ranges of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from layerscope.account.marked_phases import marks_at
from layerscope.core.vocabulary import (
    CONTINUED_RANGE,
    PHASE_FORWARD,
    PHASE_PREFIX,
    ROOT_FORWARD,
    ROOT_GENERATE,
    ROOTS,
    WINDOW_RANGE,
    is_instructblip,
    name_in_range,
    static_phase_of,
    step_by_hand,
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


def read_ranges(
    columns: TraceColumns,
    tree: SpanTree,
    layers: Layers | None = None,
    modules: Collection[str] = (),
) -> Ranges:
    """Name every layer range's layer, phase and step.

    Args:
        modules: FQNs of the model's modules, if known; in a capture's block, where parts of it may be
            called by themselves, they tell what model it is.
    """
    layers = layers or our_layers(columns)
    spans = tree.order[tree.is_layer[tree.order]].tolist()
    fqns = _paths(columns, tree, layers, spans)
    roots = _roots(columns, layers, spans, fqns)
    names = modules if modules and WINDOW_RANGE in columns.names else fqns.values()
    known = layers.source == "ranges" and is_instructblip(names)
    root = _root_name(roots, fqns)
    steps = _Steps(columns, tree, spans_of_generate=_named(roots, ROOT_GENERATE))
    marks = _marks(columns, tree, spans)
    items: list[LayerRange] = []
    of_span: dict[int, int] = {}
    for span in spans:
        above = of_span.get(tree.layer_parent(span), NONE)
        fqn = fqns[span]
        step = items[above].step if above != NONE else NONE
        step = steps.of(span, fqn, step, outermost=above == NONE) if known else step
        phase = marks.get(span)
        if phase is None and not known:
            phase = PHASE_FORWARD
        if phase is None:
            phase = "other" if span in roots else static_phase_of(fqn)
        of_span[span] = len(items)
        layer = root if span in roots else fqn
        phase = phase or steps.phase
        items.append(LayerRange(span=span, layer=layer, phase=phase, step=step, above=above))
    return Ranges(items=tuple(items), root=root, known=known, of_span=of_span)


class _Steps:
    """Counts decoder steps through the trace, and those since the prompt that they answer.

    A root's first step is the prefill. In a capture's window there may be steps outside `generate()`,
    in a loop of the caller's own: there one that does not go on from the one before begins anew,
    and where the caller steps the decoder itself, its call is the step.
    """

    def __init__(self, columns: TraceColumns, tree: SpanTree, spans_of_generate: set[int]) -> None:
        self._columns, self._tree = columns, tree
        self._by_hand = WINDOW_RANGE in columns.names
        self._generate = spans_of_generate
        self._generating = False
        self._count = 0
        self._since_prompt = 0

    @property
    def phase(self) -> str:
        """Of a decoder part; outside any step, before the first, it prepares the prefill."""
        return "decode" if self._since_prompt > 1 else "prefill"

    def of(self, span: int, fqn: str, step: int, *, outermost: bool) -> int:
        """The step of a range; `step` is that of the range around it."""
        if outermost:
            self._generating = span in self._generate
            if self._generating or not self._by_hand:
                self._since_prompt = 0
        by_hand = self._by_hand and not self._generating
        if step != NONE or not (step_of(fqn) or (by_hand and step_by_hand(fqn))):
            return step
        if by_hand and not self._continued(span):
            self._since_prompt = 0
        self._since_prompt += 1
        self._count += 1
        return self._count - 1

    def _continued(self, span: int) -> bool:
        outer = int(self._tree.parent[span])
        return (
            outer != NONE
            and self._columns.names[int(self._columns.spans.name[outer])] == CONTINUED_RANGE
        )


def _roots(
    columns: TraceColumns, layers: Layers, spans: list[int], fqns: dict[int, str]
) -> dict[int, str]:
    """The spans that are calls of the model itself, and which kind of call each is."""
    names = columns.spans.name.tolist()
    is_root: dict[int, bool] = {}
    found = {}
    for span in spans:
        name = names[span]
        if name not in is_root:
            is_root[name] = layers.is_root(columns.names[name])
        if is_root[name] or (layers.source != "ranges" and fqns[span] in ROOTS):
            found[span] = fqns[span]
    return found


def _named(roots: dict[int, str], root: str) -> set[int]:
    return {span for span, name in roots.items() if name == root}


def _root_name(roots: dict[int, str], fqns: dict[int, str]) -> str:
    """`generate` where the model's was called, else `forward`; not one that a child has."""
    wanted = ROOT_GENERATE if ROOT_GENERATE in roots.values() else ROOT_FORWARD
    taken = {fqn for span, fqn in fqns.items() if span not in roots}
    return next(
        (name for name in (wanted, ROOT_FORWARD, ROOT_GENERATE) if name not in taken), wanted
    )


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


def _marks(columns: TraceColumns, tree: SpanTree, spans: list[int]) -> dict[int, str]:
    """The phase that was marked around each layer range, where one was."""
    marks = tree.phase[spans]
    if WINDOW_RANGE in columns.names:
        at = columns.spans
        marks = np.where(
            marks != NONE, marks, marks_at(columns, tree, at.thread[spans], at.start_ns[spans])
        )
    found = zip(spans, marks.tolist(), strict=True)
    return {span: phase_named(columns, mark) for span, mark in found if mark != NONE}


def phase_named(columns: TraceColumns, mark: int) -> str:
    """The phase that a `phase:` range stands for."""
    return name_in_range(columns.names[int(columns.spans.name[mark])][len(PHASE_PREFIX) :])


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
