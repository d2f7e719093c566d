"""Ctrl-C or SIGTERM in, one orderly end out, even where other code swallows or renames it."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from types import FrameType, TracebackType

_AGAIN_S = 0.02


class Interrupt:
    """Context manager around a command: remembers whether Ctrl-C was pressed inside.

    C++ callbacks and libraries turn KeyboardInterrupt into errors of their own, or drop it where
    nothing can be raised (`__del__`, a callback). The first is told by `pressed`, the second is
    raised again in the main thread. Does nothing where SIGINT is already ignored or handled by
    someone else, as it is for a command that a shell started in the background.

    Attributes:
        pressed: Ctrl-C was pressed since the block began.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._active = False

    def __enter__(self) -> Interrupt:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._active = True
            self._hook = sys.unraisablehook
            sys.unraisablehook = self._unraisable
            signal.signal(signal.SIGINT, self._press)
            # `timeout`, a scheduler or a closing machine end a command so: tidily, too.
            signal.signal(signal.SIGTERM, self._press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._active:
            sys.unraisablehook = self._hook
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._active = False

    def silence(self) -> None:
        """Ignore Ctrl-C from here to the process's end: all that is left is to leave."""
        if self._active:
            self._active = False
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        raise KeyboardInterrupt

    def _unraisable(self, dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not None and issubclass(dropped.exc_type, KeyboardInterrupt):
            # Not from here: inside this hook it would only be dropped once more.
            again = threading.Timer(_AGAIN_S, _thread.interrupt_main)
            again.daemon = True
            again.start()
        else:
            self._hook(dropped)
