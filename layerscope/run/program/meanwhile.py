"""Run folders of a program that goes on: written when a window is over, not at the end of a service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from layerscope.run.program.spool import READY, spooled, tail_of

_LOOK_S = 1.0
# A program that is about to end need not be disturbed by another process.
_GRACE_S = 5.0
_NICE = 19  # what is left of the processors


class Meanwhile:
    """Context manager around a program's run: a thread has its windows saved, one after the other.

    Args:
        spool: what the program's processes write.
        out: the folder that the run folders are made in.
        program: the program's name, without arguments.
    """

    def __init__(
        self,
        spool: Path,
        out: Path,
        program: str,
        *,
        look_s: float = _LOOK_S,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._spool, self._out, self._program = spool, out, program
        self._look_s, self._grace_s = look_s, grace_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failed: set[Path] = set()
        self.saved: dict[Path, Path] = {}  # window -> run folder

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._look_s):
            self._forget()
            window = self._next()
            if window is not None:
                self._save(*window)

    def _next(self) -> tuple[Path, str] | None:
        """The oldest window that is over and not saved, and the tail of its run folder's name."""
        processes = list(spooled(self._spool))
        for place, process in enumerate(processes):
            for window in sorted(process.glob("window-*")):
                if window not in self.saved and window not in self._failed and self._is_due(window):
                    return window, tail_of(place, len(processes))
        return None

    def _is_due(self, window: Path) -> bool:
        try:
            return time.time() - (window / READY).stat().st_mtime >= self._grace_s
        except OSError:  # not ready, or no longer kept
            return False

    def _save(self, window: Path, tail: str) -> None:
        """In a process of its own: this one must not grow with the number of windows."""
        module = "layerscope.run.program.save_window"
        command = [sys.executable, "-m", module, str(window), str(self._out), self._program, tail]
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is the program's
        )
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, running.pid, _NICE)
        said, _ = running.communicate()
        if running.returncode == 0 and said.strip():
            self.saved[window] = Path(said.splitlines()[-1])
        else:
            self._failed.add(window)  # tried again at the end, which says why

    def _forget(self) -> None:
        """Remove the run folders of windows that are no longer kept."""
        for window, folder in list(self.saved.items()):
            if not window.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
                del self.saved[window]
        self._failed = {window for window in self._failed if window.is_dir()}
