"""Layer ranges in, the phase and the decoder step of each out.

Both follow from the roles of the model's modules. A call of the decoder is a step; the first under a
root, and those inside generate()'s own prefill, are `prefill`, later ones are `decode`, and so are calls
that go on from the one before in a loop of the caller's own. A model without roles is one phase,
`forward`, unless the user marked phases with ranges of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from layerscope.account.marked_phases import marks_at
from layerscope.account.steps import steps_in
from layerscope.core.families import roles_by_name
from layerscope.core.roles import Roles
from layerscope.core.steps import Calls
from layerscope.core.vocabulary import (
    PHASE_FORWARD,
    PHASE_PREFIX,
    ROOT_FORWARD,
    ROOT_GENERATE,
    ROOTS,
    WINDOW_RANGE,
    name_in_range,
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
        known: whether the phases are those of roles; else there is one, `forward`.
        of_span: span index -> index into `items`.
        roles: of the modules; those that their names say where the trace says none.
    """

    items: tuple[LayerRange, ...]
    root: str
    known: bool
    of_span: dict[int, int]
    roles: Roles = field(default_factory=dict)

    @property
    def resting_phase(self) -> str:
        """The phase of the root's own time and of the buckets."""
        return "other" if self.known else PHASE_FORWARD


def read_ranges(
    columns: TraceColumns,
    tree: SpanTree,
    layers: Layers | None = None,
    modules: Collection[str] = (),
    roles: Roles | None = None,
) -> Ranges:
    """Name every layer range's layer, phase and step.

    Args:
        modules: FQNs of the model's modules, if known; in a capture's block, where parts of it may be
            called by themselves, they tell what model it is where nothing says the roles.
        roles: of the model's modules, as its run or its capture says them.
    """
    layers = layers or our_layers(columns)
    spans = tree.order[tree.is_layer[tree.order]].tolist()
    fqns = _paths(columns, tree, layers, spans)
    roots = _roots(columns, layers, spans, fqns)
    if layers.source != "ranges":
        roles = {}  # names of another kind
    elif not roles:
        roles = roles_by_name(
            modules if modules and WINDOW_RANGE in columns.names else fqns.values()
        )
    calls = _calls(tree, spans, fqns, roots, roles)
    steps = steps_in(columns, tree, calls, spans)
    root = _root_name(roots, fqns)
    marks = _marks(columns, tree, spans)
    items = []
    for index, (span, call) in enumerate(zip(spans, calls.items, strict=True)):
        phase = marks.get(span) or (steps.phase_of(index) if roles else PHASE_FORWARD)
        layer = root if call.root else call.fqn
        items.append(LayerRange(span, layer, phase, steps.step_of[index], call.above))
    of_span = {span: index for index, span in enumerate(spans)}
    return Ranges(items=tuple(items), root=root, known=bool(roles), of_span=of_span, roles=roles)


def _calls(
    tree: SpanTree,
    spans: list[int],
    fqns: dict[int, str],
    roots: dict[int, str],
    roles: Roles,
) -> Calls:
    """Every range, parents before children."""
    calls = Calls(roles)
    at: dict[int, int] = {}
    for span in spans:
        above = at.get(tree.layer_parent(span), NONE)
        at[span] = calls.add(fqns[span], above, roots.get(span, ""))
    return calls


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
