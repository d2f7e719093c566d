"""Calls of a model on any thread in, whether each opens a range out; and a quiet moment to stop at.

torch's profiler crashes where a thread is in an operator at the instant in which the session of all
threads ends. So the calls of the model that run on other threads are held up at their next module for
that instant: a wait of milliseconds, in the wrapper, between two operators.
"""

from __future__ import annotations

import threading
import time

# A thread that waits for something else inside a forward comes to no next module, and is in no operator.
_LONGEST_WAIT_S = 1.0
_LOOK_EVERY_S = 0.0005
# Nobody is held up for longer, whatever happens to the thread that ends the session.
_LONGEST_HOLD_S = 60.0


class RangeSwitch:
    """What every wrapper of one model reads.

    Attributes:
        on: calls open ranges.
        ending: the session is about to end: calls on other threads wait for it.
        inside: the threads that are in a call of the model.
    """

    def __init__(self) -> None:
        self.on = False
        self.ending = False
        self.inside: set[int] = set()
        self._held: set[int] = set()
        self._ended = threading.Event()
        self._ender = 0

    def hold(self, thread: int) -> None:
        """Wait until the session has ended; not on the thread that ends it."""
        if thread == self._ender:
            return
        self._held.add(thread)
        try:
            self._ended.wait(_LONGEST_HOLD_S)
        finally:
            self._held.discard(thread)

    def quiet(self) -> bool:
        """Hold up the model's calls on all other threads; `off` lets them go on.

        Returns:
            Whether every one of them came to a halt.
        """
        self._ender = threading.get_ident()
        self._ended.clear()
        self.ending = True
        until = time.monotonic() + _LONGEST_WAIT_S
        while self.inside - self._held - {self._ender}:
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True

    def off(self) -> None:
        """Open and close no more ranges, and let go on whoever is held up."""
        self.on = self.ending = False
        self._ended.set()
