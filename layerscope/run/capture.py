"""Any `torch.nn.Module` and code that calls it in, its account out: `layerscope.capture(model)`."""

from __future__ import annotations

import contextlib
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import torch

from layerscope.errors import EnvironmentProblem, LayerscopeError
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.instrument.ranges import LayerRanges, phase_range
from layerscope.records import LayerTable
from layerscope.records.tables import Account
from layerscope.workload.module_list import list_modules


class Capture:
    """One profiled window over a model. Made by `layerscope.capture`; see there.

    After the `with` block, `account` and `table` hold the result and `save_trace()` keeps the
    trace. `steps`, set inside or after the block, is the decoder steps counted by the caller,
    which lets rule 4 (calls) be checked for InstructBLIP.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        trace: Path | None = None,
        watch: ProvenanceWatch | None = None,
        eager: Capture | None = None,
    ) -> None:
        self._model = model
        self._watch = watch
        self._eager = eager
        self._trace = trace
        self._account: Account | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.steps: int | None = None

    def __enter__(self) -> Capture:
        self._modules = list_modules(self._model)
        self._exits = contextlib.ExitStack()
        try:
            self._exits.enter_context(LayerRanges(self._model))
            self._session = self._exits.enter_context(ProfilerSession(cuda=_on_cuda(self._model)))
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
        if error is None:
            self._session.export(self.trace_path)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Mark what runs inside this context as phase `name`, for models layerscope does not know."""
        return phase_range(name)

    @property
    def trace_path(self) -> Path:
        """The trace file: the one asked for, else a temporary one that lives as long as this object."""
        if self._trace is not None:
            return self._trace
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="layerscope-")
        return Path(self._folder.name) / "trace.json.gz"

    @property
    def account(self) -> Account:
        """The account of the window, computed from the trace file on first use.

        Raises:
            LayerscopeError: the window was left by an exception, so there is no trace.
        """
        if self._account is None:
            if not self.trace_path.exists():
                raise LayerscopeError("no trace: the captured block has not ended, or it failed.")
            from layerscope.analysis.account import account_of

            provenance = self._watch.record() if self._watch is not None else None
            eager = self._eager.account.heavy if self._eager is not None else None
            self._account = account_of(
                self.trace_path, self._modules, self.steps, provenance, eager
            )
        return self._account

    @property
    def table(self) -> LayerTable:
        """The layer table of the window; `table.check()` proves it."""
        return self.account.table


def capture(
    model: torch.nn.Module,
    trace: str | Path | None = None,
    compiled: ProvenanceWatch | None = None,
    eager: Capture | None = None,
) -> Capture:
    """Profile what happens to `model` inside a `with` block.

    Example:
        >>> with layerscope.capture(model) as cap:
        ...     model(inputs)
        >>> cap.table.check()

    Args:
        model: any module, on any device. It is left without a trace of the capture.
        trace: file for the Kineto trace (`.json` or `.json.gz`); temporary when left out.
        compiled: what `watch_compile` yielded, for a model that runs compiled: give the compiled
            module as `model`, and let it compile before the block.
        eager: with `compiled`, the capture of the same calls before compiling. `check()` then raises
            where a layer runs other products, convolutions or attentions compiled than eagerly.
    """
    return Capture(model, Path(trace) if trace is not None else None, compiled, eager)


def watch_compile(model: torch.nn.Module) -> ProvenanceWatch:
    """Note which layers compiled code comes from, for `capture`.

    Example:
        >>> with layerscope.watch_compile(model) as watch:
        ...     fast = torch.compile(model)
        ...     fast(inputs)  # compiles
        ...     with layerscope.capture(fast, compiled=watch) as cap:
        ...         fast(inputs)

    Args:
        model: the module as it is before compiling. It must be compiled and called inside.

    Raises:
        EnvironmentProblem: this version of torch's compiler is not understood.
    """
    reason = why_not_understood()
    if reason:
        raise EnvironmentProblem(reason)
    return ProvenanceWatch(model)


def _on_cuda(model: torch.nn.Module) -> bool:
    tensors = (*model.parameters(), *model.buffers())
    return any(tensor.is_cuda for tensor in tensors)
