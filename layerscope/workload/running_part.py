"""One part of a model while it runs compiled: in place of its module's call, counting.

A part that torch cannot take is left eager, with the reason, and the others stay compiled: one whose
graph would break because a shape depends on the data (images packed into one row, cut by their
lengths), one whose compilation fails, and a decoder step whose cache grows, since each step would be
compiled anew.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.words import kind_and_first_line
from layerscope.private.compiler import depends_on_data, graph_breaks, set_graph_breaks
from layerscope.private.modules import compiled_call, compiled_call_kept, set_compiled_call
from layerscope.records.optimization import CompiledPart
from layerscope.workload.out_of_memory import is_out_of_memory

Backend = Callable[[Any, Any], Callable[..., Any]]


class PartLeft(EnvironmentProblem):
    """A decoder step was left eager half way: the batch must be run again from the start."""


class RunningPart:
    """A part's module compiled, watched and counted.

    Args:
        modules: FQN -> module, from the outermost inwards; the first that is called is the part.
        backend: compiles one graph.
        is_step: each call is a decoder step, which fills a cache.
        warming: whether a new graph is expected now.
    """

    def __init__(
        self,
        modules: Mapping[str, torch.nn.Module],
        backend: Backend,
        *,
        is_step: bool,
        warming: Callable[[], bool],
    ) -> None:
        self._modules = dict(modules)
        self._backend, self._is_step, self._warming = backend, is_step, warming
        self._name = next(iter(self._modules))
        self._calls: dict[str, Callable[..., Any]] = {}
        self._breaks: Counter[str] = Counter()
        self._data_break = ""
        self._count: Counter[str] = Counter()
        self._left = ""

    def put_on(self, exits: ExitStack) -> None:
        """Compile at the first call; `exits` puts back what was there before."""
        for fqn, module in self._modules.items():
            exits.enter_context(compiled_call_kept(module))
            module.compile(backend=self._compile, dynamic=False)
            call = compiled_call(module)
            assert call is not None
            self._calls[fqn] = call
            set_compiled_call(module, partial(self._first_call, fqn))

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """Those that are or were called compiled, or may yet be."""
        return tuple(self._modules.values())

    def count(self) -> CompiledPart:
        """What was compiled and what ran so far."""
        counted = Counter({"compile_ns": self._count["compile_ns"]}) if self._left else self._count
        return CompiledPart(
            part=self._name,
            graphs=counted["graphs"],
            later_graphs=counted["later"],
            calls=counted["calls"],
            fallbacks=counted["fallbacks"],
            compile_s=counted["compile_ns"] / 1e9,
            left_eager=self._left,
        )

    def _first_call(self, fqn: str, *args: Any, **kwargs: Any) -> Any:
        """This module is the part; the others around and inside it run as they are."""
        self._name = fqn
        for name, module in self._modules.items():
            set_compiled_call(module, self._watched if name == fqn else None)
        return self._watched(*args, **kwargs)

    def _watched(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_step and (grows := _why_growing(kwargs)):
            return self._leave(grows, args, kwargs)
        before, self._breaks, self._data_break = self._count["ran"], graph_breaks(), ""
        try:
            result = self._calls[self._name](*args, **kwargs)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            set_graph_breaks(self._breaks)  # they are not in what runs from here on
            # torch's own error says little but that it is about this one.
            cause = getattr(error, "inner_exception", error)
            reason = self._data_break or f"torch fails on it ({kind_and_first_line(cause)})"
            if self._is_step:
                # What ran of the step has changed its cache.
                self._uncompile(reason)
                raise PartLeft(f"{self._name} was left eager: {reason}; run again.") from None
            return self._leave(reason, args, kwargs)
        self._count["calls"] += 1
        self._count["fallbacks"] += self._count["ran"] == before
        return result

    def _leave(self, reason: str, args: Any, kwargs: Any) -> Any:
        self._uncompile(reason)
        return self._modules[self._name](*args, **kwargs)

    def _uncompile(self, reason: str) -> None:
        self._left = reason
        set_compiled_call(self._modules[self._name], None)

    def _compile(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        """A backend that counts the graphs it compiles and the calls of what it made."""
        if not self._is_step:
            self._refuse_data_breaks()
        began = time.perf_counter_ns()
        compiled = self._backend(graph, inputs)
        self._count["compile_ns"] += time.perf_counter_ns() - began
        self._count["graphs" if self._warming() else "later"] += 1

        def run(*args: Any) -> Any:
            self._count["ran"] += 1
            return compiled(*args)

        return run

    def _refuse_data_breaks(self) -> None:
        """Before a piece is compiled: pieces that wait for the device between them gain little."""
        for reason, times in graph_breaks().items():
            if times > self._breaks[reason] and depends_on_data(reason):
                self._data_break = f"what runs in it depends on the data (torch: {_title(reason)})"
                raise EnvironmentProblem(self._data_break)


def _why_growing(kwargs: Mapping[str, Any]) -> str:
    """Why each step has a shape of its own; "" where later steps are alike."""
    if kwargs.get("use_cache") is False:
        return (
            "it keeps no cache: each step is longer than the one before, and would be compiled anew"
        )
    cache = kwargs.get("cache")  # transformers' name for it from 5.24 on
    if cache is None:
        cache = kwargs.get("past_key_values")
    if cache is None or getattr(cache, "is_compileable", True):
        return ""
    return "its cache grows with every step, and each step would be compiled anew"


def _title(reason: str) -> str:
    """torch's reason without its explanation and hints."""
    return " ".join(reason.split("Explanation:", maxsplit=1)[0].split())[:120]
