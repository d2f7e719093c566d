"""One traced call of somebody's model, or several: a capture that opens and closes around them."""

from __future__ import annotations

import json
import shutil
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch

from layerscope.core.files import TRACE_FILE
from layerscope.run.program.asked import Asked
from layerscope.run.program.shapes import shapes_of
from layerscope.run.program.spool import BLOCK, Spool

if TYPE_CHECKING:
    from layerscope.run.program.afterwards import Afterwards
    from layerscope.run.program.counters import OpenMeters


class Window:
    """From the beginning of a call to the end of it or of a later one.

    A step of training does most of its work behind the call: its window reaches to the next call.

    Args:
        model: the root that is called.
        number: of the call, counted from 1.
        windows: how many there were before.
        compiling: the watch over the compilation of a compiled model.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        asked: Asked,
        spool: Spool,
        number: int,
        windows: int,
        compiling: Any = None,
    ) -> None:
        self._model, self._spool, self._compiling = model, spool, compiling
        self._asked, self._number, self._windows = asked, number, windows
        self._last = number + asked.steps - 1
        self._trains = model.training and torch.is_grad_enabled()
        self._thread = threading.get_ident()
        # Outside the main thread nothing closes a window at the end of the program.
        self._reaches_on = self._trains and threading.current_thread() is threading.main_thread()

    def open(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, generates: bool) -> bool:
        """Begin; False where it cannot, for a reason that is noted."""
        from layerscope.core.errors import LayerscopeError
        from layerscope.run.capture import capture

        self._folder = self._spool.new_window(self._windows)
        self._shapes = shapes_of(args, kwargs)
        self._called = {
            "model": type(self._model).__name__,
            "generates": generates,
            "first": self._number,
            "last": self._last,
            "trains": self._trains,
            "shapes": self._shapes,
        }
        self._capture = capture(self._model, self._folder / TRACE_FILE, self._compiling)
        try:
            self._capture.__enter__()
        except LayerscopeError as error:
            self._spool.note(f"{self._called['model']} not traced: {error}")
            shutil.rmtree(self._folder, ignore_errors=True)
            return False
        self._began = time.perf_counter()
        return True

    def is_of(self, model: torch.nn.Module) -> bool:
        """Whether it is a window over this model, and of this thread, which alone may close it."""
        return model is self._model and threading.get_ident() == self._thread

    def reaches(self, number: int) -> bool:
        """Whether a call of this number still belongs to it."""
        return number <= self._last

    def ends_with(self, number: int) -> bool:
        """Whether it closes at the end of the call of this number."""
        return number >= self._last and not self._reaches_on

    def close(self) -> None:
        """End, and write what it saw."""
        import msgspec

        took_s = time.perf_counter() - self._began
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they stand in the block; the program prints its own
            self._capture.__exit__(None, None, None)
        called = {**self._called, "took_s": took_s}
        block = msgspec.to_builtins(self._capture.block, enc_hook=str)
        text = json.dumps({"called": called, "block": block})
        (self._folder / BLOCK).write_text(text, encoding="utf-8")

    def afterwards(self, meters: OpenMeters | None) -> Afterwards:
        """What is to be learnt of the calls behind it, once it has closed."""
        from layerscope.run.program.afterwards import Afterwards, TracedCall

        traced = TracedCall(
            shapes=self._shapes,
            generates=bool(self._called["generates"]),
            trains=self._trains,
            calls=self._asked.steps,
        )
        counts = self._asked.count
        return Afterwards(self._model, self._folder, traced, counts=counts, meters=meters)

    def abandon(self, error: BaseException) -> None:
        """End without a result: the program's own error went through it."""
        self._capture.__exit__(type(error), error, error.__traceback__)
        shutil.rmtree(self._folder, ignore_errors=True)
        name = self._called["model"]
        self._spool.note(f"call {self._number} of {name} raised {type(error).__name__}: not traced")
