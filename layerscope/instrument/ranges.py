"""A model in, the same model with a profiler range around every module call, until removed.

Each module's `forward` is wrapped on the instance. Against forward hooks a wrapper costs about a
microsecond less per call, sees direct `.forward()` calls, and its `with` closes the range however
the call ends, Ctrl-C included. Ranges cost no synchronisation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch._C._profiler import _RecordFunctionFast
from torch.compiler import is_compiling

from layerscope.taxonomy import LAYER_PREFIX, PHASE_PREFIX, ROOT_FORWARD, ROOT_GENERATE
from layerscope.workload.module_list import is_compiled_wrapper, plain_fqn

_Call = Callable[..., Any]
_MISSING = object()


class LayerRanges:
    """Context manager: inside it every module call of `model` opens a range `layer:<fqn>`.

    The root's call opens `layer:forward`, its `generate()` opens `layer:generate`. A module reachable
    under two names opens one range, under its first name. On exit the model has exactly the
    attributes it had before, also after an exception.

    Attributes:
        uninstrumented: FQNs that take no wrapper (scripted modules); their time goes to the caller.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._replaced: list[tuple[torch.nn.Module, str, object]] = []
        self.uninstrumented: list[str] = []

    def __enter__(self) -> LayerRanges:
        try:
            compiled: list[str] = []
            for fqn, module in self._model.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    self.uninstrumented.append(fqn)
                    continue
                if is_compiled_wrapper(module):
                    compiled.append(f"{fqn}." if fqn else "")
                    self._wrap(module, "forward", plain_fqn(fqn) or ROOT_FORWARD)
                elif getattr(module, "_compiled_call_impl", None) is not None:
                    # Set by module.compile() and called instead of forward. A changed `forward`
                    # below it would make torch compile again, in the middle of the traced run.
                    compiled.append(f"{fqn}." if fqn else "")
                    self._wrap(module, "_compiled_call_impl", fqn or ROOT_FORWARD)
                elif not any(fqn.startswith(part) for part in compiled):
                    self._wrap(module, "forward", fqn or ROOT_FORWARD)
            if callable(getattr(self._model, ROOT_GENERATE, None)):
                self._wrap(self._model, ROOT_GENERATE, ROOT_GENERATE)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Put every replaced attribute back. Safe to call twice."""
        while self._replaced:
            module, name, before = self._replaced.pop()
            if before is _MISSING:
                del module.__dict__[name]
            else:
                module.__dict__[name] = before

    def _wrap(self, module: torch.nn.Module, name: str, fqn: str) -> None:
        self._replaced.append((module, name, module.__dict__.get(name, _MISSING)))
        module.__dict__[name] = _ranged(getattr(module, name), LAYER_PREFIX + fqn)


def _ranged(call: _Call, label: str) -> _Call:
    # A new range object per call: one object cannot be entered again by a recursive call.
    @functools.wraps(call)
    def ranged(*args: Any, **kwargs: Any) -> Any:
        # Under torch.compile a range would break the graph into pieces.
        if is_compiling():
            return call(*args, **kwargs)
        with _RecordFunctionFast(label):
            return call(*args, **kwargs)

    return ranged


@contextmanager
def phase_range(name: str) -> Iterator[None]:
    """Mark what runs inside as one phase of a model whose phases layerscope does not know."""
    with _RecordFunctionFast(PHASE_PREFIX + name):
        yield
