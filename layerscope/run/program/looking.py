"""Inside somebody's program: finds the model that it calls, times its calls, and has one traced.

`torch.nn.Module.__call__` is replaced until the model has been traced, but only between the calls of
roots, so that what runs inside one costs nothing; the classes of roots that were seen keep a call of
their own, and lose it some calls after the trace. A call that no other module's call is around is a
root's. Where it comes out of a method `generate` of a module, the root is that module and its call is
`generate()`. Errors of ours end in a note, never in the program.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from layerscope.run.program.asked import Asked
from layerscope.run.program.generating import generating
from layerscope.run.program.replaced import CALL, GENERATE, Call, EveryModule, OfClasses
from layerscope.run.program.roots import Root, Roots
from layerscope.run.program.spool import Spool
from layerscope.run.program.window import Window

if TYPE_CHECKING:
    from layerscope.run.program.afterwards import Afterwards
    from layerscope.run.program.counters import OpenMeters

# Calls that are timed behind the last window, before nothing is looked at any more.
_AFTERWARDS = 5
# Replacing the call of all modules costs some 100 µs (every class of theirs is told): after so many
# calls of roots it is done ever more rarely.
_OFTEN = 16


class Looking:
    """What is known of the program's models, and the replaced calls that tell it.

    Args:
        asked: which call is to be traced.
        spool: takes what is seen.
        meters: opens the energy counters of what holds the model; None: those of this machine.
    """

    def __init__(self, asked: Asked, spool: Spool, meters: OpenMeters | None = None) -> None:
        self._asked, self._spool, self._meters = asked, spool, meters
        self._roots = Roots(asked)
        self._here = threading.local()
        self._lock = threading.Lock()
        self._every = EveryModule(self._call_of_any())
        self._classes = OfClasses(self._every)
        self._window: Window | None = None
        self._after: Afterwards | None = None  # of the newest window that has closed
        self._windows = 0  # of all roots
        self._next_please = False
        self._inside = 0  # calls of roots that run now, in all threads
        self._seen = 0  # calls of roots so far
        self._watching: list[Any] = []
        self._process = os.getpid()

    def begin(self) -> None:
        """See the calls of all modules from here on."""
        self._every.put()
        atexit.register(self.end)
        os.register_at_fork(after_in_child=self._forked)
        _on_signal(self)

    def please(self) -> None:
        """Trace the next call of the model, whatever its number.

        Called by a signal's handler, so without the lock: the thread that holds it may be this one.
        """
        self._next_please = True
        for root in self._roots:
            module = root.module()
            if module is not None:  # nothing may be looked at any more
                self._watch_class(type(module), root.generates)

    def end(self) -> None:
        """Close a window that is open, and write the counts of calls."""
        if os.getpid() != self._process:
            return
        self._guarded(self._close)
        self._guarded(self._close_after)
        self._guarded(self._count)

    def _forked(self) -> None:
        """A fork has a count of its own; the window that was open is its parent's."""
        self._process = os.getpid()
        self._spool = self._spool.of_this_process()
        self._roots, self._window, self._after = Roots(self._asked), None, None
        self._windows = self._inside = 0
        self._lock = threading.Lock()

    def _call_of_any(self) -> Call:
        looking = self

        def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            every = looking._every
            if getattr(looking._here, "inside", False) or every.is_given_up:
                return every.beneath(module, *args, **kwargs)
            owner = generating(sys._getframe(1))
            if owner is None:
                return looking._under(module, False, every.beneath, args, kwargs)
            # In the middle of its first `generate()`, which nobody saw begin.
            looking._watch_generate(owner)
            looking._here.inside = True
            try:
                return every.beneath(module, *args, **kwargs)
            finally:
                looking._here.inside = False

        return call

    def _watch_generate(self, owner: torch.nn.Module) -> None:
        with self._lock:
            root = self._root(owner, True)
            root.calls += root.calls == 0  # the one that is under way

    def _watch_class(self, cls: type, generates: bool) -> None:
        looking = self

        def of(original: Call) -> Call:
            def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
                if getattr(looking._here, "inside", False):
                    return original(module, *args, **kwargs)
                if not generates and (id(module), False) not in looking._roots:
                    return original(module, *args, **kwargs)
                return looking._under(module, generates, original, args, kwargs)

            return call

        self._classes.put(cls, GENERATE if generates else CALL, of)

    def _root(self, module: torch.nn.Module, generates: bool) -> Root:
        root = self._roots.find(module, generates)
        if root is None:
            root = self._roots.add(module, generates)
            self._watch_class(type(module), generates)
        return root

    def _under(
        self,
        module: torch.nn.Module,
        generates: bool,
        original: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a root's call: traced where it is its turn, else timed."""
        if torch.jit.is_tracing():  # type: ignore[no-untyped-call,attr-defined]
            return original(module, *args, **kwargs)  # a compiler's call, not the program's
        counting: Afterwards | None = None
        # Modules that are called from here on, ours too, are nobody's roots.
        self._here.inside = True
        try:
            with self._lock:
                self._inside += 1
                self._seen += 1
                self._every.take()
                root = self._root(module, generates)
                root.calls += 1
                if root.calls == 1:
                    self._watch_compiling(root, module)
                elif root.calls == 2:
                    root.weigh()
                window = self._turn(root, module, args, kwargs)
                if window is None and self._after is not None:
                    counting = self._meanwhile(self._after, root, module, args, kwargs)
        except Exception as error:
            window = root = None
            self._spool.note(error)
        if window is not None and generates:
            # By way of the instance, where the capture put its range; `original` is the class's.
            original = _by_instance
        began = time.perf_counter()
        try:
            if counting is not None:
                result = counting.count(module, lambda: original(module, *args, **kwargs))
            else:
                result = original(module, *args, **kwargs)
        except BaseException as error:
            # Nothing may keep the error: it holds the program's frames, and the tensors in them.
            self._guarded(self._failed, root, window, error)
            raise
        else:
            took_s = time.perf_counter() - began
            self._guarded(self._ended, root, window, took_s if counting is None else None)
            return result
        finally:
            self._here.inside = False
            with self._lock:
                self._inside -= 1
                if not self._inside and (self._seen <= _OFTEN or not self._seen & self._seen - 1):
                    self._every.put()

    def _turn(
        self, root: Root, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Window | None:
        """The window that this call runs in; one that reaches to this call is closed first."""
        if self._window is not None:
            if not self._window.is_of(module):
                return None
            if self._window.reaches(root.calls):
                return self._window
            self._close()
        if not self._roots.is_wanted(root, now=self._next_please):
            return None
        self._next_please = False
        window = Window(module, self._asked, self._spool, root.calls, self._windows, root.compiling)
        root.tries += 1
        if not window.open(args, kwargs, generates=root.generates):
            return None  # the reason stands in the notes
        root.tries = 0
        root.windows += 1
        self._windows += 1
        root.last_traced = root.calls
        self._window = window
        return window

    def _watch_compiling(self, root: Root, module: torch.nn.Module) -> None:
        """Before the first call of a compiled model, which compiles it."""
        from layerscope.core.errors import LayerscopeError
        from layerscope.private.modules import compiled_call, original_of

        inner = original_of(module) or (module if compiled_call(module) is not None else None)
        if inner is None or self._watching:
            return
        from layerscope.run.capture import watch_compile

        try:
            root.compiling = watch_compile(inner)
            root.compiling.__enter__()
            self._watching.append(root.compiling)
        except LayerscopeError as error:
            root.compiling = None
            self._spool.note(f"{root.name}: its compiled code is not taken apart: {error}")

    def _meanwhile(
        self,
        after: Afterwards,
        root: Root,
        module: torch.nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Afterwards | None:
        """Tell what looks at the calls behind a window; itself where it is to count this one."""
        alone = self._inside == 1
        if after.is_of(module, root.generates):
            return after if after.begins(args, kwargs, alone=alone) else None
        if not alone:
            after.disturbed()
        return None

    def _ended(self, root: Root | None, window: Window | None, took_s: float | None) -> None:
        """A call is over; `took_s` is None where it was counted, which takes longer."""
        if root is None:
            return
        with self._lock:
            if window is not None:
                if window.ends_with(root.calls):
                    self._close()
            else:
                module = root.module()
                if module is not None and self._after is not None:
                    self._after.ended(module, root.generates)
                if took_s is not None:
                    self._spool.timed(root.name, root.generates, root.calls, took_s)
            if root.windows and self._window is None:
                self._leave(root)

    def _failed(self, root: Root | None, window: Window | None, error: BaseException) -> None:
        """The program's own error: a window it falls into holds no whole call."""
        with self._lock:
            if root is not None and window is not None and window is self._window:
                self._window = None
                window.abandon(error)
                root.windows -= 1
                root.tries += 1
            elif self._after is not None:
                self._after.failed()

    def _leave(self, root: Root) -> None:
        """From now on look at the classes of roots alone, and after some calls at nothing."""
        self._every.give_up()
        done = self._after is None or self._after.is_done
        done = done and root.calls - root.last_traced >= _AFTERWARDS
        if done and self._after is not None:
            self._after.is_over()
        if self._asked.every is None:
            while self._watching:
                self._watching.pop().__exit__(None, None, None)
            if done:
                self._spool.flush()
                self._classes.put_back()

    def _close(self) -> None:
        window, self._window = self._window, None
        if window is not None:
            self._close_after()
            window.close()
            self._after = window.afterwards(self._meters)

    def _close_after(self) -> None:
        after, self._after = self._after, None
        if after is not None:
            after.close()

    def _count(self) -> None:
        self._spool.flush()
        for root in self._roots:
            self._spool.counted(root.name, root.generates, root.calls, root.params, root.windows)

    def _guarded(self, do: Callable[..., None], *given: Any) -> None:
        try:
            do(*given)
        except Exception as error:
            self._spool.note(error)


def look(text: str) -> None:
    """Begin, as `layerscope run` asked. Called once torch has been imported."""
    asked = Asked.read(text)
    Looking(asked, Spool(asked, os.getpid())).begin()


def _by_instance(module: Any, *args: Any, **kwargs: Any) -> Any:
    return module.generate(*args, **kwargs)


def _on_signal(looking: Looking) -> None:
    """SIGUSR2 traces the next call, where the program does nothing with that signal itself."""
    import signal

    number = getattr(signal, "SIGUSR2", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(number) is signal.SIG_DFL:
        signal.signal(number, lambda *_: looking.please())
