"""Compiled code and its device events in, the call site of every event out, replays included.

A kernel replayed from a CUDA graph has one launch record, the graph's. What names it is the order in
which the same graph was captured: the capture launched exactly the kernels that a replay runs. A kernel
is `graph` where that is proved: the trace has the number of its node in the graph, or it is a generated
kernel, whose name is that of its call site. A library's kernel without a number is known by its place
alone, `graph~`; so is all of a replay of which only parts agree, and what agrees with nothing is the
bucket `(graph unmatched)`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from layerscope.account.compiled_code import MAKES_NODE, CompiledCode, Placed, code_of
from layerscope.core.vocabulary import GRAPH_PROLOGUE, GRAPH_UNMATCHED
from layerscope.records.provenance import (
    NO_SITE,
    CapturedLaunches,
    CompiledGraph,
)
from layerscope.trace.attribution import Attribution
from layerscope.trace.columns import ABSENT, LAUNCH_KINDS, Ints, TraceColumns
from layerscope.trace.tree import NONE, SpanTree, innermost

_GRAPH = LAUNCH_KINDS.index("graph")
_TRITON = "triton_"


@dataclass(frozen=True)
class DevicePlaces:
    """For each device event: the graph call that launched it, or `NONE`, and where it belongs; None
    for one that compiled code does not explain. `replayed`: the call site of a replayed kernel, or
    `NONE`."""

    call: tuple[int, ...]
    placed: tuple[Placed | None, ...]
    replayed: tuple[int, ...]


def place_device_events(
    columns: TraceColumns,
    tree: SpanTree,
    links: Attribution,
    code: CompiledCode,
    captures: Iterable[CapturedLaunches],
) -> DevicePlaces:
    """Where each device event belongs."""
    host = _host_spans(columns, tree)
    call_of, site_of = _of_launches(code.call_of_span, host), _of_launches(code.site_of_span, host)
    is_graph = columns.launches.kind == _GRAPH
    replaying = set(call_of[is_graph & (call_of != NONE)].tolist())
    placed: list[Placed | None] = [None] * len(links.launch)
    sites = [NONE] * len(links.launch)
    replayed: dict[int, list[int]] = defaultdict(list)
    for event, launch in enumerate(links.launch.tolist()):
        call = int(call_of[launch]) if launch != NONE else NONE
        if call == NONE:
            continue
        if is_graph[launch]:
            replayed[call].append(event)
        elif site_of[launch] != NONE:
            placed[event] = code.place(call, int(site_of[launch]))
        elif call in replaying:
            placed[event] = _bucket(code, call, GRAPH_PROLOGUE)
    sequences = {capture.graph: capture.sites for capture in captures}
    for call, events in replayed.items():
        graph = code.calls[call].graph
        ordered = _in_order(columns, links.launch, events)
        names = [columns.names[int(columns.device.name[event])] for event in ordered]
        proof = Proof(
            numbered=_are_numbered(columns, ordered),
            in_line=len({int(columns.device.stream[event]) for event in ordered}) == 1,
        )
        for event, found in zip(
            ordered, match(graph, sequences.get(code_of(graph)), names, proof), strict=True
        ):
            placed[event] = _replayed(code, call, found)
            sites[event] = NONE if found is None else found.site
    calls = [NONE if launch == NONE else int(call_of[launch]) for launch in links.launch.tolist()]
    return DevicePlaces(tuple(calls), tuple(placed), tuple(sites))


@dataclass(frozen=True)
class Proof:
    """What a trace says about the order of a replay's kernels.

    Attributes:
        numbered: every kernel has the number of its node.
        in_line: all ran on one stream, so that their order in time is their order in the graph.
    """

    numbered: bool = False
    in_line: bool = True


@dataclass(frozen=True)
class Matched:
    """A replayed kernel's call site, and whether more than its place says so."""

    site: int
    sure: bool


def match(
    graph: CompiledGraph,
    sequence: Sequence[int] | None,
    names: Sequence[str],
    proof: Proof = Proof(),
) -> list[Matched | None]:
    """Call sites of replayed kernels, in their order; None for one without a counterpart.

    Args:
        sequence: call site of each captured launch, `NO_SITE` for the wrapper's; None if unknown.
        names: of the replayed kernels.
    """
    if sequence is None:
        return [None] * len(names)
    expected = [_known_name(graph, site) for site in sequence]
    seen = [name if name.startswith(_TRITON) else "" for name in names]
    if expected == seen:
        count = Counter(seen)
        return [
            Matched(
                site,
                # On several streams equal names may have changed places.
                sure=proof.numbered or bool(name and (proof.in_line or count[name] == 1)),
            )
            for site, name in zip(sequence, seen, strict=True)
        ]
    found: list[Matched | None] = [None] * len(names)
    for block in SequenceMatcher(None, expected, seen, autojunk=False).get_matching_blocks():
        for offset in range(block.size):
            found[block.b + offset] = Matched(sequence[block.a + offset], sure=False)
    return found


def captured_launches(
    columns: TraceColumns, tree: SpanTree, code: CompiledCode
) -> tuple[CapturedLaunches, ...]:
    """The reference sequences of a trace in which graphs were captured: one for each graph.

    A launch under capture leaves no device event. Of a graph captured several times the longest
    sequence counts, because a call whose inputs have not moved captures nothing anew.
    """
    launches = columns.launches
    host = _host_spans(columns, tree)
    call_of, site_of = _of_launches(code.call_of_span, host), _of_launches(code.site_of_span, host)
    ran = set(columns.device.correlation.tolist())
    makes_node = [MAKES_NODE.fullmatch(name) is not None for name in columns.names]
    sequences: dict[int, list[int]] = defaultdict(list)
    known: set[int] = set()
    for launch in np.argsort(launches.start_ns, kind="stable").tolist():
        correlation = int(launches.correlation[launch])
        call = int(call_of[launch])
        captured = call != NONE and correlation not in ran and correlation not in known
        if captured and makes_node[int(launches.name[launch])]:
            known.add(correlation)  # a runtime call and the driver call inside it are one launch
            site = int(site_of[launch])
            sequences[call].append(NO_SITE if site == NONE else site)
    longest: dict[int, list[int]] = {}
    for call, sites in sequences.items():
        number = code_of(code.calls[call].graph)
        if len(sites) > len(longest.get(number, ())):
            longest[number] = sites
    return tuple(CapturedLaunches(n, tuple(sites)) for n, sites in sorted(longest.items()))


def _host_spans(columns: TraceColumns, tree: SpanTree) -> Ints:
    """The innermost span around each launch."""
    every = np.ones(len(tree.parent), np.bool_)
    launches = columns.launches
    return innermost(columns.spans, tree, every, launches.thread, launches.start_ns)


def _of_launches(of_span: Ints, host: Ints) -> Ints:
    return np.where(host == NONE, NONE, of_span[host]).astype(np.int64)


def _in_order(columns: TraceColumns, launch: Ints, events: Sequence[int]) -> list[int]:
    """Replayed events as their graph holds them: by launch, then node id, else time."""
    device = columns.device
    order = device.graph_node if _are_numbered(columns, events) else device.start_ns
    starts = columns.launches.start_ns
    return sorted(events, key=lambda e: (int(starts[launch[e]]), int(order[e]), e))


def _are_numbered(columns: TraceColumns, events: Sequence[int]) -> bool:
    """Whether each event has the number of its node, a different one in each graph launched."""
    nodes = [int(columns.device.graph_node[event]) for event in events]
    launched = [int(columns.device.correlation[event]) for event in events]
    return ABSENT not in nodes and len(set(zip(launched, nodes, strict=True))) == len(nodes)


def _known_name(graph: CompiledGraph, site: int) -> str:
    """A generated kernel keeps its name in a replay; a library's is its own affair."""
    name = graph.sites[site].name if site != NO_SITE else ""
    return name if name.startswith(_TRITON) else ""


def _replayed(code: CompiledCode, call: int, found: Matched | None) -> Placed | None:
    if found is None:
        return _bucket(code, call, GRAPH_UNMATCHED)
    if found.site == NO_SITE:
        return None  # the graph's own: it stays with the compiled part
    return code.place(call, found.site, via="graph" if found.sure else "graph~")


def _bucket(code: CompiledCode, call: int, name: str) -> Placed:
    region = code.calls[call].region
    phase = region.phase if region is not None else code.resting_phase
    return Placed((((name, phase), 1),), "", modelled=False)
