"""A model in, the same model with its parts compiled out, and the count of what really ran compiled.

The parts are those that `generate()` calls: towers, Q-Former, projectors and encoder, and the language
model's step, the first one included. With a static cache every later step has one shape. What torch
does in silence is counted: graphs per part, breaks, graphs compiled after the warm-up, and calls in
which no compiled code ran at all (past its limit of recompiles torch goes on uncompiled).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.models.parts import WHAT_THEY_ARE, parts_of
from layerscope.private.compiler import (
    COMPILED,
    counters,
    graph_breaks,
    inductor,
    recompile_limits,
)
from layerscope.private.modules import compiled_call, set_compiled_call
from layerscope.private.names import require
from layerscope.records.optimization import RECOMPILE_LIMIT, CompiledPart
from layerscope.workload.running_part import Backend, RunningPart

CompiledMode = Literal["compile", "cudagraphs"]
# Graphs of one code, over all that is compiled: a model calls one code from many layers.
_LEAST_LIMIT_OF_SUMS = 1024


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
        backend: Backend | None = None,
    ) -> None:
        refused = why_no_parts(model)
        if refused is None and mode == "cudagraphs":
            refused = why_no_graphs(next(model.parameters()).device.type)
        if refused is not None:
            raise EnvironmentProblem(f"--optimization {mode}: {refused}")
        self._cudagraphs = mode == "cudagraphs"
        self._tuned: int | None = 0 if tuned else None
        self._warming = False
        modules = dict(model.named_modules())
        self._parts = [
            RunningPart(
                {fqn: modules[fqn] for fqn in part.fqns},
                backend or self._inductor,
                is_step=part.is_step,
                warming=lambda: self._warming,
            )
            for part in parts_of(model)
        ]

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
        for part in self._parts:
            part.put_on(exits)

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """The parts' modules."""
        return tuple(module for part in self._parts for module in part.modules)

    @contextmanager
    def warming_up(self) -> Iterator[None]:
        """Inside it a new graph is expected; outside it is one that measured time paid for."""
        self._warming = True
        try:
            yield
        finally:
            self._warming = False

    def counts(self) -> tuple[CompiledPart, ...]:
        """What was compiled and what ran, by part, so far; without parts that ran inside another."""
        found = [part.count() for part in self._parts]
        ran = tuple(f"{part.part}." for part in found if part.calls)
        return tuple(
            part for part in found if part.calls or part.left_eager or not part.part.startswith(ran)
        )

    def graph_breaks(self) -> dict[str, int]:
        """Why graphs were broken -> how often; empty where each part is one graph a shape."""
        return {_line(reason): int(count) for reason, count in graph_breaks().items()}

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


def why_no_parts(model: torch.nn.Module) -> str | None:
    """Why a model cannot be compiled by parts; None where it has one."""
    if parts_of(model):
        return None
    return (
        f"the model has none of the parts that layerscope compiles ({WHAT_THEY_ARE}); use "
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
    with eagerly(() if parts is None else parts.modules):
        yield


@contextmanager
def eagerly(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Inside, those of these modules that were compiled run as if they had never been."""
    kept = [(module, call) for module in modules if (call := compiled_call(module)) is not None]
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
