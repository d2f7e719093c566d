"""Code under the profiler in, Kineto's own trace file out: one `torch.profiler` session."""

from __future__ import annotations

import errno
import tempfile
import zlib
from pathlib import Path
from types import TracebackType

import torch
from torch.profiler import ProfilerActivity, profile

from layerscope.errors import EnvironmentProblem
from layerscope.instrument import cupti
from layerscope.instrument.library_noise import without_library_noise

# Level 9, torch's own choice, takes three times as long for 4 % less.
_COMPRESSION = 5
_COPY_BYTES = 1 << 20
_warmed: set[bool] = set()


class ProfilerSession:
    """Context manager around the traced code. `export()` writes the trace afterwards.

    The device is synchronised before the window opens and before it closes, never inside.

    Raises:
        EnvironmentProblem: the profiler does not start, because another one runs or is not let in.
    """

    def __init__(self, *, cuda: bool) -> None:
        self._cuda = cuda
        self._profile: profile | None = None

    def __enter__(self) -> ProfilerSession:
        try:
            _warm(cuda=self._cuda)
            self._profile = profile(activities=_activities(cuda=self._cuda))
            self._synchronize()
            with without_library_noise():
                self._profile.__enter__()  # type: ignore[no-untyped-call]
        except (torch.OutOfMemoryError, torch.AcceleratorError):
            raise  # the device itself, which others judge
        except RuntimeError as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise EnvironmentProblem(
                f"torch.profiler does not start ({why}); {cupti.REMEDY}, or run with --no-trace."
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._profile is not None
        try:
            self._synchronize()
        finally:
            with without_library_noise():
                self._profile.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]

    @staticmethod
    def prepare(*, cuda: bool) -> None:
        """Load what the first session of a process loads: it has to come before any CUDA graph is
        captured (pytorch #75504), and must not lie in a window."""
        _warm(cuda=cuda)

    def export(self, path: Path) -> None:
        """Write the trace as Kineto gives it, gzipped when the name ends in `.gz`.

        Raises:
            EnvironmentProblem: the file cannot be written.
        """
        assert self._profile is not None
        try:
            if path.suffix != ".gz":
                self._write(path)
                return
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                plain = Path(folder) / "trace.json"
                self._write(plain)
                _compress(plain, path)
        except OSError as error:
            raise EnvironmentProblem(
                f"{path}: the trace cannot be written ({error.strerror or error})."
            ) from None

    def _write(self, path: Path) -> None:
        """Kineto reports a failed write on stderr alone, so look whether the file is there."""
        assert self._profile is not None
        with without_library_noise():
            self._profile.export_chrome_trace(str(path))
        if not path.exists():
            raise OSError(errno.ENOSPC, "the disk is full or refuses the file")

    def _synchronize(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def _activities(*, cuda: bool) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]


def _warm(*, cuda: bool) -> None:
    """One empty session a process: the first one loads CUPTI."""
    if cuda in _warmed:
        return
    with without_library_noise(), profile(activities=_activities(cuda=cuda)):
        torch.zeros(1, device="cuda" if cuda else "cpu").add_(1)
        if cuda:
            torch.cuda.synchronize()
    _warmed.add(cuda)


def _compress(plain: Path, path: Path) -> None:
    packer = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    with plain.open("rb") as source, path.open("wb") as target:
        while block := source.read(_COPY_BYTES):
            target.write(packer.compress(block))
        target.write(packer.flush())
