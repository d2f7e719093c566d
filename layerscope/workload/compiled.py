"""A model in, the same model with its parts compiled out, and the count of what really ran compiled.

The parts are those that `generate()` calls: vision tower, Q-Former, T5 encoder, and the language
model's step, the first one included. With a static cache every later step has one shape. What torch
does in silence is counted: graphs per part, breaks, graphs compiled after the warm-up, and calls in
which no compiled code ran at all (past its limit of recompiles torch goes on uncompiled).
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.private.compiler import COMPILED, counters, inductor, recompile_limits
from layerscope.private.modules import compiled_call, compiled_call_kept, set_compiled_call
from layerscope.private.names import require
from layerscope.records.optimization import RECOMPILE_LIMIT, CompiledPart

CompiledMode = Literal["compile", "cudagraphs"]
# Graphs of one code, over all that is compiled: a model calls one code from many layers.
_LEAST_LIMIT_OF_SUMS = 1024
PARTS = ("vision_model", "qformer", "language_model.encoder", "language_model")


class CompiledParts:
    """Context manager: inside it the model's parts run compiled. Removes itself on exit.

    Args:
        model: parts it does not have are left out.
        mode: `compile` is inductor; `cudagraphs` also captures each graph as a CUDA graph.
        tuned: graphs with a matrix-vector product are tuned by coordinate descent.
        backend: compiles one graph, inputs (graph module, example inputs); None is inductor.

    Raises:
        EnvironmentProblem: CUDA graphs asked for without CUDA, or a model without these parts.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        mode: CompiledMode,
        *,
        tuned: bool = False,
        backend: Callable[..., Any] | None = None,
    ) -> None:
        modules = dict(model.named_modules())
        self._parts = {fqn: modules[fqn] for fqn in PARTS if fqn in modules}
        refused = why_no_parts(model)
        if refused is None and mode == "cudagraphs":
            refused = why_no_graphs(next(model.parameters()).device.type)
        if refused is not None:
            raise EnvironmentProblem(f"--optimization {mode}: {refused}")
        self._backend = backend or self._inductor
        self._cudagraphs = mode == "cudagraphs"
        self._tuned: int | None = 0 if tuned else None
        self._graphs: Counter[str] = Counter()
        self._compile_ns: Counter[str] = Counter()
        self._ran: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()
        self._later: Counter[str] = Counter()
        self._warming = False

    def __enter__(self) -> CompiledParts:
        require(COMPILED)
        with ExitStack() as exits:
            # Each puts back what it sets, also where a later one fails.
            exits.callback(torch.compiler.reset)
            exits.enter_context(counters_kept())
            torch.compiler.reset()
            self._compile(exits)
            self._exits = exits.pop_all()
        return self

    def _compile(self, exits: ExitStack) -> None:
        exits.enter_context(warnings.catch_warnings())
        # Of the code that inductor wrote, once for every variant tried; of TF32, where a finding of
        # ours says what it would save.
        warnings.filterwarnings("ignore", module=r"triton\.")
        warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
        exits.enter_context(recompile_limits(RECOMPILE_LIMIT, _LEAST_LIMIT_OF_SUMS))
        for fqn, module in self._parts.items():
            exits.enter_context(compiled_call_kept(module))
            module.compile(backend=self._counting(fqn), dynamic=False)
            call = compiled_call(module)
            assert call is not None
            set_compiled_call(module, self._watched(fqn, call))

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """The parts' modules."""
        return tuple(self._parts.values())

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Inside it a new graph is expected; outside it is one that measured time paid for."""
        self._warming = True
        try:
            yield
        finally:
            self._warming = False

    def counts(self) -> tuple[CompiledPart, ...]:
        """What was compiled and what ran, by part, so far."""
        return tuple(
            CompiledPart(
                part=fqn,
                graphs=self._graphs[fqn],
                later_graphs=self._later[fqn],
                calls=self._calls[fqn],
                fallbacks=self._fallbacks[fqn],
                compile_s=self._compile_ns[fqn] / 1e9,
            )
            for fqn in self._parts
        )

    def graph_breaks(self) -> dict[str, int]:
        """Why graphs were broken -> how often; empty where each part is one graph a shape."""
        return {_line(reason): int(count) for reason, count in counters()["graph_break"].items()}

    def cudagraph_skips(self) -> int:
        """Graphs that inductor did not capture as CUDA graphs though asked to."""
        return int(counters()["inductor"]["cudagraph_skips"])

    def tuned_graphs(self) -> int | None:
        """Graphs that were tuned by coordinate descent; None where it was not asked for."""
        return self._tuned

    def _inductor(self, graph: Any, inputs: Any) -> Any:
        patches: dict[str, Any] = {"triton.cudagraphs": self._cudagraphs}
        if self._tuned is not None and has_matvec(graph):
            # Not for the other graphs: it tries some ten variants of every kernel, and what pays is
            # that with this setting inductor makes code of its own for products of one row.
            patches["coordinate_descent_tuning"] = True
            self._tuned += 1
        return inductor(graph, inputs, patches)

    def _counting(self, fqn: str) -> Callable[..., Any]:
        """A backend that counts the graphs it compiles and the calls of what it made."""

        def compile_graph(graph: Any, inputs: Any) -> Callable[..., Any]:
            began = time.perf_counter_ns()
            compiled = self._backend(graph, inputs)
            self._compile_ns[fqn] += time.perf_counter_ns() - began
            (self._graphs if self._warming else self._later)[fqn] += 1

            def run(*args: Any) -> Any:
                self._ran[fqn] += 1
                return compiled(*args)

            return run

        return compile_graph

    def _watched(self, fqn: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            before = self._ran[fqn]
            result = call(*args, **kwargs)
            self._calls[fqn] += 1
            self._fallbacks[fqn] += self._ran[fqn] == before
            return result

        return watched


def why_no_parts(model: torch.nn.Module) -> str | None:
    """Why a model cannot be compiled by parts; None where it has one."""
    names = dict(model.named_modules())
    if any(part in names for part in PARTS):
        return None
    return (
        f"the model has none of the parts that layerscope compiles ({', '.join(PARTS)}); use "
        "--optimization eager."
    )


def why_no_graphs(device: str) -> str | None:
    """Why a model on a device cannot run as CUDA graphs; None on CUDA."""
    if device == "cuda":
        return None
    return (
        f"CUDA graphs need a CUDA device, the model is on the {device}; use --optimization compile "
        "or eager."
    )


@contextmanager
def counters_kept() -> Iterator[None]:
    """Inside, dynamo's counters start empty; afterwards they say what they said before."""
    counted = counters()
    before = {group: Counter(names) for group, names in counted.items()}
    counted.clear()
    try:
        yield
    finally:
        counted.clear()
        counted.update(before)


@contextmanager
def uncompiled(parts: CompiledParts | None) -> Iterator[None]:
    """Inside it compiled parts run eagerly, as if they had never been compiled."""
    if parts is None:
        yield
        return
    kept = [(module, compiled_call(module)) for module in parts.modules]
    for module, _ in kept:
        set_compiled_call(module, None)
    try:
        yield
    finally:
        for module, call in kept:
            set_compiled_call(module, call)


def has_matvec(graph: torch.fx.GraphModule) -> bool:
    """Whether a traced graph has a linear layer whose input is one row: a decode step of batch 1."""
    for node in graph.graph.nodes:
        if getattr(node.target, "__name__", node.target) != "linear":
            continue
        value = node.meta.get("example_value")
        if isinstance(value, torch.Tensor) and value.numel() == value.shape[-1]:
            return True
    return False


def _line(reason: str) -> str:
    return " ".join(reason.split())[:200]
