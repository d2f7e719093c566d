"""A model about to be compiled in; which layers its compiled code came from, out.

Inside the context every graph that inductor makes is noted with its call sites' layers, and, while a
profiler runs, every call of one is a range `compiled:<number>:<module>`: the graph and the module
whose frame it is at that call, found by the parameters it is called with, because one graph may serve
many layers. Nothing is put inside compiled code: graphs, breaks and operators are what they are
without it. Its compiled code has a cache of its own, since code cached without the notes has none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import torch
from torch._C._profiler import _RecordFunctionFast

from layerscope.instrument.call_sites import TracedNode, call_sites, heavy_operator
from layerscope.instrument.frame_names import relative_fqn
from layerscope.records.provenance import CapturedLaunches, CompiledGraph, Provenance
from layerscope.taxonomy import COMPILED_PREFIX
from layerscope.workload.module_list import plain_fqn

_CACHE_TAG = "layerscope-provenance-1"
_NUMBER = "_layerscope_graph"
# What a model calls by other names than the operators that run.
_CALLED = {"linear": "mm", "matmul": "bmm", "scaled_dot_product_attention": "sdpa"}


class ProvenanceWatch:
    """Context manager; the model must be compiled and called inside it.

    Args:
        model: its parameters tell which module's frame a graph is called for.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._traced: Mapping[str, TracedNode] = {}
        self._graphs: list[CompiledGraph] = []
        self._layers: list[tuple[str, ...]] = []  # of each graph, longest first
        self.captures: tuple[CapturedLaunches, ...] = ()

    def __enter__(self) -> ProvenanceWatch:
        from torch._inductor import compile_fx as inductor
        from torch._inductor import config
        from torch._inductor.output_code import CompiledFxGraph
        from torch.compiler import config as cache_config

        self._owner = _owners(self._model)
        self._exits = ExitStack()
        try:
            notes = {"trace.provenance_tracking_level": 1, "cpp.enable_kernel_profile": True}
            self._exits.enter_context(config.patch(notes))
            self._exits.enter_context(cache_config.patch(cache_key_tag=_CACHE_TAG))  # type: ignore[attr-defined]
            self._patch(inductor, "compile_fx", self._noting(inductor.compile_fx))
            self._patch(CompiledFxGraph, "post_compile", self._adding(CompiledFxGraph.post_compile))
            self._patch(CompiledFxGraph, "__call__", self._ranged(CompiledFxGraph.__call__))
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.__exit__(kind, error, traceback)

    def record(self) -> Provenance:
        """What was noted so far."""
        return Provenance(
            torch=str(torch.__version__), graphs=tuple(self._graphs), captures=self.captures
        )

    def _patch(self, owner: Any, name: str, value: Any) -> None:
        self._exits.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)

    def _noting(self, compile_fx: Callable[..., Any]) -> Callable[..., Any]:
        def noting(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self._traced:  # compile_fx calls itself once per patched setting
                return compile_fx(model, *args, **kwargs)
            with self._tracing(model):
                return compile_fx(model, *args, **kwargs)

        return noting

    @contextmanager
    def _tracing(self, graph: Any) -> Iterator[None]:
        self._traced = _traced_nodes(graph) if isinstance(graph, torch.fx.GraphModule) else {}
        try:
            yield
        finally:
            self._traced = {}

    def _adding(self, post_compile: Callable[..., Any]) -> Callable[..., Any]:
        def adding(graph: Any, *args: Any, **kwargs: Any) -> Any:
            result = post_compile(graph, *args, **kwargs)
            self._add(graph)
            return result

        return adding

    def _add(self, graph: Any) -> None:
        notes = json.loads(graph.inductor_provenance_mapping_str or "{}")
        sites = call_sites(
            graph.source_code,
            notes.get("cppCodeToPost", {}),
            notes.get("postToPre", {}),
            self._traced,
        )
        setattr(graph, _NUMBER, len(self._graphs))
        self._graphs.append(CompiledGraph(len(self._graphs), sites))
        named = {part.layer for site in sites for part in site.layers if part.layer}
        self._layers.append(tuple(sorted(named, key=len, reverse=True)))

    def _ranged(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def ranged(graph: Any, inputs: Any) -> Any:
            number = getattr(graph, _NUMBER, None)
            # Asked as torch itself does here; without a profiler this costs a look-up a graph.
            if number is None or not torch.autograd.profiler._is_profiler_enabled:
                return call(graph, inputs)
            frame = self._frame(self._layers[number], inputs)
            label = f"{COMPILED_PREFIX}{number}:{'?' if frame is None else frame}"
            with _RecordFunctionFast(label):
                return call(graph, inputs)

        return ranged

    def _frame(self, layers: Sequence[str], inputs: Sequence[Any]) -> str | None:
        """FQN of the module whose frame this call is; None where no parameter tells.

        A parameter of `decoder.block.3.wi` in a graph that knows a layer `wi` speaks for the frame
        `decoder.block.3`.
        """
        votes: Counter[str] = Counter()
        for value in inputs:
            owner = self._owner.get(value.data_ptr()) if isinstance(value, torch.Tensor) else None
            if owner is None:
                continue
            layer = next((x for x in layers if owner == x or owner.endswith(f".{x}")), None)
            if layer is not None:
                votes[owner[: -len(layer)].rstrip(".")] += 1
            elif not layers:
                votes[owner] += 1  # all of the graph's operations are its frame's own
        return votes.most_common(1)[0][0] if votes else None


def _owners(model: torch.nn.Module) -> dict[int, str]:
    """Address of a parameter or buffer -> FQN of its module; tied ones tell nothing, so left out."""
    owners: dict[int, set[str]] = {}
    for fqn, module in model.named_modules(remove_duplicate=False):
        plain = plain_fqn(fqn)
        tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        for tensor in tensors:
            owners.setdefault(tensor.data_ptr(), set()).add(plain)
    return {at: next(iter(names)) for at, names in owners.items() if at and len(names) == 1}


def _traced_nodes(graph: torch.fx.GraphModule) -> dict[str, TracedNode]:
    found: dict[str, TracedNode] = {}
    for node in graph.graph.nodes:
        if node.op in ("call_function", "call_method", "call_module"):
            value = node.meta.get("example_value")
            found[node.name] = TracedNode(_layer(node), _bytes(value), *_heavy(node))
    return found


def _layer(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack")
    return relative_fqn(next(reversed(stack.values()))[0]) if stack else ""


def _heavy(node: torch.fx.Node) -> tuple[str, int]:
    """The heavy operator that the model calls here and the bytes of what it reads; "", 0 for others."""
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    operator = _CALLED.get(called) or heavy_operator(called)
    if not operator or node.op == "call_module":
        return "", 0
    return operator, sum(_bytes(x.meta.get("example_value")) for x in node.all_input_nodes)


def _bytes(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(_bytes(item) for item in value)
    if not isinstance(value, torch.Tensor):
        return 0
    count = 1
    for size in value.shape:
        # A size that may vary: the one it was compiled with. Asking int() would fix it for good.
        hint = size.node.hint if isinstance(size, torch.SymInt) else size
        count *= int(hint) if hint is not None else 1
    return count * value.element_size()
