"""Any `torch.nn.Module` and code that calls it in, its account out: `layerscope.capture(model)`."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
import weakref
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

import torch

from layerscope.core.errors import AccountingError, EnvironmentProblem, LayerscopeError, UsageError
from layerscope.core.files import TRACE_FILE
from layerscope.core.vocabulary import WINDOW_RANGE, phase_range_name
from layerscope.instrument.compiled_twins import compiled_twins
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.instrument.ranges import LayerRanges, open_range
from layerscope.instrument.recursion import room_for_wrappers
from layerscope.measure.matmul_precision import matmul_precision_now
from layerscope.records import LayerTable
from layerscope.records.captured import METADATA_KEY, Captured, packed
from layerscope.records.tables import Account
from layerscope.run.captured_model import CapturedModel
from layerscope.write.captured import Block, save_block


class Capture:
    """One profiled window over a model. Made by `layerscope.capture`; see there.

    After the `with` block, `account` and `table` hold the result, and `save()` writes it as a run
    folder. `steps`, set inside or after the block, is the decoder steps counted by the caller,
    which lets rule 4 (calls) be checked for models whose structure layerscope describes. A capture may
    be used again: it then holds the last window.
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
        self._accounted_steps: int | None = None
        self._ended = False
        self._folder: Path | None = None
        self.steps: int | None = None

    def __enter__(self) -> Capture:
        if self._trace is not None:
            self._trace = self._trace.absolute()  # the block may change the directory
            _refuse_unwritable(self._trace)
        with contextlib.ExitStack() as exits:
            session = ProfilerSession(cuda=_on_cuda(self._model), all_threads=True)
            described = CapturedModel(self._model)
            ranges = LayerRanges(
                self._model, compiled_twins(self._model), on=False, roles=described.roles
            )
            exits.enter_context(room_for_wrappers(described.names))
            exits.enter_context(ranges)
            exits.enter_context(session)
            # Only now: a call that another thread has begun without a session gets no range.
            ranges.start()
            session.when_taken(ranges.stop)
            self._account, self._ended, self.steps = None, False, None
            self._session, self._ranges, self._described = session, ranges, described
            exits.callback(self._describe)
            exits.callback(ranges.quiet)
            exits.enter_context(open_range(WINDOW_RANGE, ranges.is_on))
            self._process = os.getpid()
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exits.__exit__(kind, error, traceback)
        # In a fork of the process that opened the block there is nothing to write: the parent does.
        if os.getpid() == self._process:
            try:
                if error is None:
                    self._session.export(self.trace_path)
                    self._note_block()
                    self._ended = True
            finally:
                self._session.let_go()
        for text in self._described.warnings:
            warnings.warn(text, stacklevel=2)

    def _describe(self) -> None:
        """Put what is known beside the events into the trace, as the last thing in the session."""
        self._described.look_back(self._ranges)
        provenance = self._watch.record() if self._watch is not None else None
        captured = Captured(
            modules=self._described.modules(),
            calls=self._ranges.calls(),
            warnings=self._described.warnings,
            provenance=provenance,
            steps=self.steps,
            roles=dict(self._described.roles),
        )
        self._session.add_metadata(METADATA_KEY, packed(captured))
        self._provenance = provenance

    def _note_block(self) -> None:
        """Keep what `save` is to say of the block and the program may change after it."""
        device: Literal["cuda", "cpu"] = "cuda" if self._session.cuda else "cpu"
        self._block = Block(
            trace=self.trace_path,
            ended=datetime.now(UTC).replace(microsecond=0),
            model=self._described.record(),
            device=device,
            fp32_matmul=matmul_precision_now(device),
            provenance=self._provenance,
            warnings=self._described.warnings,
        )

    @property
    def block(self) -> Block:
        """What `save` writes of the window, for who saves it elsewhere.

        Raises:
            LayerscopeError: the block has not ended, or failed.
        """
        self._refuse_unended()
        return replace(self._block, steps=self.steps)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """Mark what runs inside this context as phase `name`, for models layerscope does not know."""
        ranges: LayerRanges | None = getattr(self, "_ranges", None)
        if ranges is None or not ranges.is_on():
            return contextlib.nullcontext()  # outside the block there is nothing to mark
        return open_range(phase_range_name(name), ranges.is_on)

    @property
    def trace_path(self) -> Path:
        """The trace file: the one asked for, else a temporary one that lives as long as this object."""
        if self._trace is not None:
            return self._trace
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="layerscope-"))
            # A TemporaryDirectory would warn where it goes with this object, as it is meant to.
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / TRACE_FILE

    @property
    def account(self) -> Account:
        """The account of the window, computed from the trace file on first use, and where `steps` was
        set since.

        Raises:
            LayerscopeError: the block has not ended, or was left by an exception or taken over by
                another profiler, so there is no trace.
        """
        if self._account is None or self._accounted_steps != self.steps:
            self._refuse_unended()
            from layerscope.account.account import account_of

            eager = self._eager.account.heavy if self._eager is not None else None
            self._account = account_of(self.trace_path, steps=self.steps, eager=eager)
            self._accounted_steps = self.steps
        return self._account

    @property
    def table(self) -> LayerTable:
        """The layer table of the window; `table.check()` proves it."""
        return self.account.table

    def save(self, folder: str | Path) -> Path:
        """Write the window as a run folder, which every command that reads runs takes.

        Example:
            >>> cap.save("traces/mine")
            >>> layerscope.open_run("traces/mine").account.table  # the same nanoseconds as cap.table

        What a capture does not know (latency, energy, FLOPs, configuration, …) is absent there, with
        the reason.

        Args:
            folder: the run folder itself, made with the folders above it. A capture that was saved
                there before is replaced; nothing else is.

        Returns:
            The folder.

        Raises:
            LayerscopeError: the block has not ended, or failed.
            UsageError: the folder holds something other than a saved capture.
            EnvironmentProblem: it cannot be written, or the capture's trace is gone.
            AccountingError: the account does not add up. The folder is written, and says so.
        """
        if not isinstance(folder, str | os.PathLike):
            raise UsageError(f"save() takes the path of a folder, not {type(folder).__name__}.")
        self._refuse_unended()
        eager = self._eager.account.heavy if self._eager is not None else None
        place = Path(folder)
        record = save_block(replace(self.block, eager=eager), place)
        if record.account is not None and record.account.failures:
            raise AccountingError(
                f"{place}: accounting failed: {'; '.join(record.account.failures[:3])}. The folder is "
                "kept."
            )
        return place

    def _refuse_unended(self) -> None:
        if not self._ended:
            raise LayerscopeError("no trace: the captured block has not ended, or it failed.")


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
        model: any module, on any device. It is left as the block left it, without a trace of the
            capture; what the block changed by itself stays, and a warning names it.
        trace: file for the Kineto trace (`.json` or `.json.gz`); temporary when left out.
        compiled: what `watch_compile` yielded, for a model that runs compiled: give the compiled
            module as `model`, and let it compile before the block.
        eager: with `compiled`, the capture of the same calls before compiling. `check()` then raises
            where a layer runs other products, convolutions or attentions compiled than eagerly.

    Raises:
        UsageError: `model` is no module.
        EnvironmentProblem: on entering the block, where another profiler or capture runs, or the trace
            could not be written; on leaving it, where another profiler took this one's place.
    """
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"capture() takes a torch.nn.Module, not {type(model).__name__}: give it the model whose "
            "modules are called in the block."
        )
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


def _refuse_unwritable(path: Path) -> None:
    """Find out before the block runs whether its trace will have a place.

    Raises:
        EnvironmentProblem: no such folder, or one that takes no file of this name.
    """
    try:
        if path.is_dir():
            raise EnvironmentProblem(f"{path}: a folder; give the trace a file name in it.")
        path.exists()  # raises where the name is too long
        if "\0" in str(path):
            raise ValueError("a null character in its name")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise EnvironmentProblem(f"{path}: the trace cannot be written ({why}).") from None
