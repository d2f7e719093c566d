"""A model about to be compiled in; which layers its compiled code came from, out.

Inside the context every graph that inductor makes is noted with its call sites' layers, and, while a
profiler runs, every call of one is a range `compiled:<number>:<module>`: the graph and the module
whose frame it is at that call, read from the caller, because one graph may serve many layers. Nothing
is put inside compiled code: graphs, breaks and operators are what they are without it. Its compiled code
has a cache of its own, since code cached without the notes has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import torch

from layerscope.core.frame_names import parts_of
from layerscope.core.vocabulary import COMPILED_PREFIX
from layerscope.core.words import kind_and_first_line
from layerscope.instrument.call_sites import Sites, call_sites, relabelled
from layerscope.instrument.calling_frame import CallingFrames, Start
from layerscope.instrument.graph_notes import NOTES, noted, read_notes
from layerscope.instrument.products import Followed, mark
from layerscope.instrument.traced_graph import TracedGraph, traced_graph
from layerscope.private.compiler import (
    CALL_GRAPH,
    COMPILE_FX,
    DUMP_NOTES,
    JOINT_PASSES,
    MAPPING,
    NOTED,
    POST_COMPILE,
    POST_GRAD_PASSES,
    SOURCE_CODE,
    cache_tagged,
    notes_kept,
)
from layerscope.private.names import PrivateName, require
from layerscope.private.operators import IN_GRAPHS
from layerscope.private.profiler import fast_range, recording_flag
from layerscope.records.provenance import CallSite, CapturedLaunches, CompiledGraph, Provenance

_CACHE_TAG = "layerscope-provenance-2"
_NUMBERS = "_layerscope_graphs"
# Numbers of graphs of watches that are open at once never meet.
_MOST_GRAPHS = 1_000_000
_open: dict[int, ProvenanceWatch] = {}


class ProvenanceWatch:
    """Context manager; the model must be compiled and called inside it.

    Args:
        model: its modules tell in whose frame a graph is called.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._frames = CallingFrames(model)
        self._traced: TracedGraph | None = None
        self._lost = ""
        self._notes: dict[str, Any] | None = None
        self._in_passes = False
        self._slot = 0
        self._graphs: list[CompiledGraph] = []
        self._raw: dict[int, tuple[tuple[CallSite, ...], frozenset[str]]] = {}
        self._bound: dict[Any, tuple[int, str]] = {}
        self.captures: tuple[CapturedLaunches, ...] = ()

    def __enter__(self) -> ProvenanceWatch:
        require((*NOTED, *IN_GRAPHS))
        self._slot = next(number for number in range(len(_open) + 1) if number not in _open)
        self._exits = ExitStack()
        try:
            self._exits.enter_context(notes_kept())
            self._exits.enter_context(cache_tagged(_CACHE_TAG))
            self._patch(COMPILE_FX, self._noting)
            self._patch(JOINT_PASSES, self._marking)
            self._patch(POST_GRAD_PASSES, self._following)
            self._patch(DUMP_NOTES, self._storing)
            self._patch(POST_COMPILE, self._adding)
            self._patch(CALL_GRAPH, self._ranged)
        except BaseException:
            self._exits.close()
            raise
        _open[self._slot] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _open.pop(self._slot, None)
        self._exits.__exit__(kind, error, traceback)

    def record(self) -> Provenance:
        """What was noted so far."""
        return Provenance(
            torch=str(torch.__version__),
            graphs=tuple(self._graphs),
            captures=self.captures,
            aliases=self._frames.aliases(),
        )

    def _patch(self, name: PrivateName, around: Callable[..., Any]) -> None:
        owner, before = name.owner(), name.get()
        self._exits.callback(setattr, owner, name.attribute, before)
        setattr(owner, name.attribute, around(before))

    # ---- while a graph is compiled

    def _noting(self, compile_fx: Callable[..., Any]) -> Callable[..., Any]:
        def noting(model: Any, *args: Any, **kwargs: Any) -> Any:
            # compile_fx calls itself once per patched setting
            if self._traced is not None or not isinstance(model, torch.fx.GraphModule):
                return compile_fx(model, *args, **kwargs)
            with self._tracing(model):
                return compile_fx(model, *args, **kwargs)

        return noting

    @contextmanager
    def _tracing(self, graph: torch.fx.GraphModule) -> Iterator[None]:
        self._lost = ""
        with self._surviving():
            self._traced = traced_graph(graph)
        tag = f"{_CACHE_TAG}-{self._traced.fingerprint if self._traced is not None else self._lost}"
        try:
            with cache_tagged(tag):
                yield
        finally:
            self._traced, self._notes = None, None

    def _marking(self, passes: Callable[..., Any]) -> Callable[..., Any]:
        def marking(graph: torch.fx.GraphModule, *args: Any, **kwargs: Any) -> Any:
            if self._in_passes:  # of a sub-graph
                return passes(graph, *args, **kwargs)
            followed = None
            with self._surviving():
                mark(graph)
                if self._traced is not None:
                    self._lost = self._lost or self._traced.lost(graph)
                followed = Followed(graph)
            with self._passing():
                result = passes(graph, *args, **kwargs)
            with self._surviving():
                if followed is not None:
                    followed.through(result)
            return result

        return marking

    def _following(self, passes: Callable[..., Any]) -> Callable[..., Any]:
        def following(graph: torch.fx.GraphModule, *args: Any, **kwargs: Any) -> Any:
            if self._in_passes:
                return passes(graph, *args, **kwargs)
            followed, self._notes = None, None
            with self._surviving():
                mark(graph)
                followed = Followed(graph)
            with self._passing():
                result = passes(graph, *args, **kwargs)
            with self._surviving():
                if followed is not None:
                    followed.through(graph)
                    self._notes = noted(graph, followed.keys, self._lost)
            return result

        return following

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """What goes wrong inside costs this graph its layers, never the user the compilation."""
        try:
            yield
        except Exception as error:
            self._lost = f"it could not be noted ({kind_and_first_line(error)})"

    @contextmanager
    def _passing(self) -> Iterator[None]:
        self._in_passes = True
        try:
            yield
        finally:
            self._in_passes = False

    def _storing(self, dump: Callable[..., Any]) -> Callable[..., Any]:
        def storing(*args: Any, **kwargs: Any) -> Any:
            return {**dump(*args, **kwargs), NOTES: self._notes}

        return storing

    def _adding(self, post_compile: Callable[..., Any]) -> Callable[..., Any]:
        def adding(graph: Any, *args: Any, **kwargs: Any) -> Any:
            result = post_compile(graph, *args, **kwargs)
            self._add(graph)
            return result

        return adding

    def _add(self, graph: Any) -> None:
        stored = json.loads(getattr(graph, MAPPING.attribute) or "{}")
        traced = self._traced
        found = Sites((), self._lost)
        with self._surviving():
            found = call_sites(
                getattr(graph, SOURCE_CODE.attribute),
                stored.get("cppCodeToPost") or {},
                stored.get("postToPre") or {},
                traced.nodes if traced is not None else {},
                read_notes(stored.get(NOTES)) if traced is not None else None,
                traced.inputs if traced is not None else (),
            )
        found = found if found.sites or not self._lost else Sites((), self._lost)
        number = self._slot * _MOST_GRAPHS + len(self._graphs)
        graph.__dict__.setdefault(_NUMBERS, {})[id(self)] = number
        bases = frozenset(parts_of(layer)[0] for layer in _layers(found.sites))
        self._raw[number] = found.sites, bases
        below = {layer: parts_of(layer)[1] for layer in _layers(found.sites)}
        sites = tuple(relabelled(site, below) for site in found.sites)
        self._graphs.append(CompiledGraph(number, sites, found.problem))

    # ---- while a graph is called

    def _ranged(self, call: Callable[..., Any]) -> Callable[..., Any]:
        is_recording, new_range = recording_flag(), fast_range()

        def ranged(graph: Any, inputs: Any) -> Any:
            number = graph.__dict__.get(_NUMBERS, {}).get(id(self))
            # Asked as torch itself does here; without a profiler this costs a look-up a graph.
            if number is None or not is_recording():
                return call(graph, inputs)
            number, frame = self._bind(number)
            with new_range(f"{COMPILED_PREFIX}{number}:{frame}"):
                return call(graph, inputs)

        return ranged

    def _bind(self, number: int) -> tuple[int, str]:
        """The graph to name at this call, and the FQN of the module whose frame it is; else `?`."""
        sites, bases = self._raw[number]
        starts = self._frames.starts(bases)
        key = number, tuple(sorted(starts.items()))
        if key not in self._bound:
            self._bound[key] = self._bound_anew(number, sites, starts)
        return self._bound[key]

    def _bound_anew(
        self, number: int, sites: tuple[CallSite, ...], starts: Mapping[str, Start | None]
    ) -> tuple[int, str]:
        found = set(starts.values())
        if not found or found == {None}:
            return number, "?"
        one = next(iter(found))
        if len(found) == 1 and one is not None and not one.path:
            return number, one.fqn
        # Names that start from several modules, or from one around the model: the same code, once
        # more, under the names in the model.
        absolute = {layer: _in_model(layer, starts) for layer in _layers(sites)}
        again = self._slot * _MOST_GRAPHS + len(self._graphs)
        self._graphs.append(
            CompiledGraph(
                again,
                tuple(relabelled(site, absolute) for site in sites),
                self._graphs[number % _MOST_GRAPHS].problem,
                code=number,
            )
        )
        return again, ""


def _layers(sites: Collection[CallSite]) -> frozenset[str]:
    parts = (part.layer for site in sites for part in site.layers)
    return frozenset((*parts, *(layer for site in sites for layer in site.products)))


def _in_model(layer: str, starts: Mapping[str, Start | None]) -> str | None:
    base, path = parts_of(layer)
    start = starts.get(base)
    if start is None:
        return None
    if not start.path:
        return ".".join(part for part in (start.fqn, path) if part)
    if path == start.path:
        return ""
    return path.removeprefix(f"{start.path}.") if path.startswith(f"{start.path}.") else None
