"""A trace and the provenance of compiled code in, what each call site on the host ran for out.

A call of a compiled graph is a range `compiled:<number>:<frame>`. The spans directly inside it are
the kernels' calls, in the order of the graph's call sites, with some of the wrapper's own between.
Ranges that torch itself puts around them (`## Call CompiledFxGraph`, and `CUDAGraphNode.record
(dynamo_timed)` while a CUDA graph is captured) count as not there.

Order is trusted only where a call ran what its code lists: every heavy operator of the code was seen
once, and no other ran. Where that is not so, nothing in the call belongs to a layer; it stays with the
compiled part, and is `unknown`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from layerscope.account.largest_remainder import deal
from layerscope.account.phases import LayerRange, Ranges
from layerscope.core.vocabulary import COMPILED_PREFIX
from layerscope.records.heavy import heavy_kind
from layerscope.records.provenance import CallSite, CompiledGraph, Provenance
from layerscope.trace.columns import LAUNCH_KINDS, Ints, TraceColumns
from layerscope.trace.tree import NONE, SpanTree, innermost

Key = tuple[str, str]  # (layer, phase)

# Calls that put a node into a graph under capture; others carry a correlation id too.
MAKES_NODE = re.compile(
    r"(cudaLaunch|cuLaunch|hipLaunch|hipModuleLaunch|hipExtModuleLaunch)\w*Kernel\w*"
    r"|(cuda|cu|hip)(Memcpy|Memset)\w*"
)

# How a row of a compiled part comes by time of which nothing says whose it is.
UNKNOWN = "unknown"

# Between a namespace and an operator's name; a range of torch's own has none.
_OPERATOR = "::"


@dataclass(frozen=True)
class Placed:
    """Where time spent in compiled code belongs.

    Attributes:
        shares: (layer, phase) and weight, at least one.
        how: `exact`, `fused`, `graph`, `graph~`, `unknown`; a fused kernel of a CUDA graph is
            `fused+graph`.
        modelled: the time is split between the shares by a model.
    """

    shares: tuple[tuple[Key, int], ...]
    how: str
    modelled: bool

    @property
    def main(self) -> Key:
        """The layer with the largest share, the first of equals."""
        return max(self.shares, key=lambda share: share[1])[0]

    def deal(self, ns: int) -> list[tuple[Key, int]]:
        """The time by layer, exact in its sum."""
        weights = [weight for _, weight in self.shares]
        return [
            (key, part)
            for (key, _), part in zip(self.shares, deal(ns, weights), strict=True)
            if part
        ]


@dataclass(frozen=True)
class GraphCall:
    """One call of a compiled graph.

    Attributes:
        frame: FQN of the module whose frame it is; None where the call does not tell.
        region: the innermost layer range around it; None outside all.
    """

    span: int
    graph: CompiledGraph
    frame: str | None
    region: LayerRange | None


@dataclass(frozen=True)
class CompiledCode:
    """The graph calls of a trace.

    Attributes:
        call_of_span: for each span the call it lies in, as an index into `calls`, or `NONE`.
        site_of_span: for each span the call site it runs, in that call's graph, or `NONE`.
        site_spans: the spans that are calls of sites, outermost.
        missed: call sites of graphs called that no span was seen for.
        doubtful: for each call, why its order is not trusted; "" where it is.
    """

    calls: tuple[GraphCall, ...]
    call_of_span: Ints
    site_of_span: Ints
    site_spans: tuple[int, ...]
    missed: int
    doubtful: tuple[str, ...]
    resting_phase: str
    root: str
    fqns: frozenset[str]
    aliases: Mapping[str, str]
    _placed: dict[tuple[int, str | None, Key | None, int, str, bool], Placed | None] = field(
        default_factory=dict, compare=False, repr=False
    )

    def place(self, call: int, site: int, *, via: str = "") -> Placed | None:
        """The layers of a call site in a call; the compiled part where they are not known.

        None where they are not known and no layer's range is around the call.

        Args:
            via: `graph` or `graph~` for a kernel replayed from a CUDA graph, "" for a direct launch.
        """
        found = self.calls[call]
        region = found.region
        at = (region.layer, region.phase) if region is not None else None
        sure = not self.doubtful[call]
        key = (found.graph.number, found.frame, at, site, via, sure)
        if key not in self._placed:
            trusted = found.graph.sites[site] if sure else None
            self._placed[key] = self._place(found, trusted, via)
        return self._placed[key]

    def products(self, call: int, site: int) -> list[str] | None:
        """The layer of each heavy operator that a site runs; None where it is not known."""
        found = self.calls[call]
        run = found.graph.sites[site]
        if self.doubtful[call] or found.frame is None or not run.layers:
            return None if run.operator else []
        layers = [self._layer(found, layer) for layer in run.products]
        known = [layer for layer in layers if layer is not None]
        return known if len(known) == len(layers) else None

    def _place(self, call: GraphCall, site: CallSite | None, via: str) -> Placed | None:
        phase = call.region.phase if call.region is not None else self.resting_phase
        unknown = None
        if call.region is not None:
            unknown = Placed((((call.region.layer, phase), 1),), UNKNOWN, modelled=False)
        if site is None or call.frame is None:
            return unknown
        weights: Counter[Key] = Counter()
        for part in site.layers:
            layer = self._layer(call, part.layer)
            if layer is None:
                return unknown
            weights[layer, phase] += part.weight
        if not weights:
            return unknown
        modelled = len(weights) > 1
        how = via or "exact"
        return Placed(
            tuple(weights.items()), f"fused+{via}".strip("+") if modelled else how, modelled
        )

    def _layer(self, call: GraphCall, relative: str) -> str | None:
        """The layer's FQN, as its range would be called; None for one that the model does not list."""
        fqn = ".".join(part for part in (call.frame, relative) if part)
        fqn = self.aliases.get(fqn, fqn)
        if not fqn:
            return self.root
        return fqn if not self.fqns or fqn in self.fqns else None


def read_compiled_code(
    columns: TraceColumns,
    tree: SpanTree,
    ranges: Ranges,
    provenance: Provenance,
    fqns: Collection[str] = (),
) -> CompiledCode | None:
    """Match the host's spans with call sites; None where the trace has no call of a known graph.

    Args:
        fqns: the model's modules, if known.
    """
    calls = _calls(columns, tree, ranges, provenance)
    if not calls:
        return None
    starts = {call.span: index for index, call in enumerate(calls)}
    count = len(tree.parent)
    call_of, site_of = [NONE] * count, [NONE] * count
    is_container = [False] * count
    names, parent = columns.spans.name.tolist(), tree.parent.tolist()
    cursors = _cursors(calls, _replayed(provenance), _replaying(columns, tree, starts))
    site_spans: list[int] = []
    for span in tree.order.tolist():  # parents before children, siblings by time
        outer = parent[span]
        if span in starts:
            call_of[span], is_container[span] = starts[span], True
            continue
        if outer == NONE or call_of[outer] == NONE:
            continue
        call_of[span] = call = call_of[outer]
        if not is_container[outer]:
            site_of[span] = site_of[outer]
        else:
            name = columns.names[names[span]]
            site_of[span] = cursors[call].next(name)
            if site_of[span] != NONE:
                site_spans.append(span)
            else:
                is_container[span] = _OPERATOR not in name
    return CompiledCode(
        calls=tuple(calls),
        call_of_span=np.array(call_of, np.int64),
        site_of_span=np.array(site_of, np.int64),
        site_spans=tuple(site_spans),
        # A replayed CUDA graph runs none of its sites on the host.
        missed=sum(cursor.missed for cursor in cursors if cursor.position),
        doubtful=tuple(cursor.doubt for cursor in cursors),
        resting_phase=ranges.resting_phase,
        root=ranges.root,
        fqns=frozenset(fqns),
        aliases=provenance.aliases,
    )


def code_of(graph: CompiledGraph) -> int:
    """The number of the graph whose code this one runs; captures are noted under it."""
    return graph.number if graph.code is None else graph.code


def _cursors(
    calls: Sequence[GraphCall], replayed: Mapping[int, frozenset[int]], replaying: set[int]
) -> list[_Cursor]:
    """One for each call: what of its code runs on the host, in which order."""
    return [
        _Cursor(
            call.graph,
            replayed.get(code_of(call.graph)) if index in replaying else None,
            replays=index in replaying,
        )
        for index, call in enumerate(calls)
    ]


def _replayed(provenance: Provenance) -> dict[int, frozenset[int]]:
    """The call sites that replays of a graph run on the device."""
    numbers = {graph.number: code_of(graph) for graph in provenance.graphs}
    return {
        numbers.get(capture.graph, capture.graph): frozenset(capture.sites)
        for capture in provenance.captures
    }


def _replaying(columns: TraceColumns, tree: SpanTree, starts: Mapping[int, int]) -> set[int]:
    """The calls that only replay CUDA graphs: they launch one, and capture none.

    A call that captures runs all of its code on the host, and may replay what it captured.
    """
    launches = columns.launches
    is_graph = launches.kind == LAUNCH_KINDS.index("graph")
    if not is_graph.any():
        return set()
    # A launch under capture leaves no device event.
    makes_node = np.array([MAKES_NODE.fullmatch(name) is not None for name in columns.names], bool)
    captured = makes_node[launches.name] & ~np.isin(
        launches.correlation, columns.device.correlation
    )
    is_call = np.zeros(len(tree.parent), np.bool_)
    is_call[list(starts)] = True
    around = innermost(columns.spans, tree, is_call, launches.thread, launches.start_ns)
    calls = {starts[span] for span in around[is_graph].tolist() if span != NONE}
    return calls - {starts[span] for span in around[captured].tolist() if span != NONE}


class _Cursor:
    """Steps through a graph's call sites.

    Args:
        on_device: in a call that replays CUDA graphs, the sites that they run; None: not known.
        replays: whether the call does.
    """

    def __init__(
        self, graph: CompiledGraph, on_device: Collection[int] | None, *, replays: bool
    ) -> None:
        self._graph = graph
        self._where: dict[str, list[int]] = defaultdict(list)
        for index, site in enumerate(graph.sites):
            if on_device is None or index not in on_device:
                self._where[event_name(site.name)].append(index)
        if replays and on_device is None:
            # Which of several calls of one name runs here and which in the graph is not known.
            self._where = defaultdict(list, {n: w for n, w in self._where.items() if len(w) == 1})
        self._replays = replays
        self._sites = len(graph.sites)
        self._skipped: list[int] = []
        self._strange = 0
        self.position = 0

    @property
    def missed(self) -> int:
        """Sites that no span was seen for."""
        return len(self._skipped) + self._sites - self.position

    @property
    def doubt(self) -> str:
        """Why the order of the spans does not say which site each is; "" where it does."""
        if self._graph.problem:
            return self._graph.problem
        if self._strange:
            return "other heavy operators ran than its code lists"
        if self._replays or not self.position:
            return ""
        left = (*self._skipped, *range(self.position, self._sites))
        missing = sum(
            bool(self._graph.sites[i].operator) and not self._graph.sites[i].sometimes for i in left
        )
        return (
            f"{missing} heavy operators of its code were not seen in the trace" if missing else ""
        )

    def next(self, name: str) -> int:
        """The next site that shows under this name in a trace; `NONE` for the wrapper's own calls."""
        for index in self._where.get(plain_name(name), ()):
            if index >= self.position:
                self._skipped += range(self.position, index)
                self.position = index + 1
                return index
        self._strange += bool(heavy_kind(name))
        return NONE


# Inductor's own functions around library calls, and what shows of them.
_OWN = {
    "extern_kernels.bias_addmm": "aten::addmm",
    "extern_kernels._mm_plus_mm": "inductor::_mm_plus_mm",
}


def event_name(site: str) -> str:
    """How a call site shows in a trace: an operator by its aten name, a kernel by its own."""
    if site in _OWN:
        return _OWN[site]
    if site.startswith("extern_kernels."):
        return f"aten::{site.removeprefix('extern_kernels.').removesuffix('_dtype')}"
    if site.startswith("torch.ops."):
        space, operator = site.removeprefix("torch.ops.").split(".")[:2]
        return f"{space}::{operator}"
    if site.startswith("aten."):
        return f"aten::{site.split('.')[1]}"
    return site


def plain_name(event: str) -> str:
    """A C++ kernel's event without the number of its graph: `graph_0_cpp_fused_add_1`."""
    if event.startswith("graph_"):
        number, _, rest = event.removeprefix("graph_").partition("_")
        return rest if number.isdecimal() else event
    return event


def _calls(
    columns: TraceColumns, tree: SpanTree, ranges: Ranges, provenance: Provenance
) -> list[GraphCall]:
    graphs = {graph.number: graph for graph in provenance.graphs}
    found = []
    for span in np.flatnonzero(_mark(columns, COMPILED_PREFIX)).tolist():
        label = columns.names[int(columns.spans.name[span])].removeprefix(COMPILED_PREFIX)
        number, _, frame = label.partition(":")
        graph = graphs.get(int(number)) if number.isdecimal() else None
        if graph is None:
            continue
        layer = int(tree.layer[span])
        region = ranges.items[ranges.of_span[layer]] if layer != NONE else None
        found.append(GraphCall(span, graph, None if frame == "?" else frame, region))
    return found


def _mark(columns: TraceColumns, prefix: str) -> npt.NDArray[np.bool_]:
    by_name = np.array([name.startswith(prefix) for name in columns.names], np.bool_)
    if not len(by_name):
        return np.zeros(0, np.bool_)
    found: npt.NDArray[np.bool_] = by_name[columns.spans.name]
    return found
