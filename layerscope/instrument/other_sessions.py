"""Which profiler sessions run in this process, ours and others: torch has room for one.

A second session takes the first one's place; ending or reading the first then crashes the process.
So ours is refused beside another one, and looks whether another one starts while it runs.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

from torch.autograd.profiler import profile

from layerscope.core.errors import EnvironmentProblem
from layerscope.private.profiler import PREPARE, START, any_records, is_prepared

_ours = threading.Lock()


def start_our_session() -> None:
    """Take the one place for a session of ours.

    Raises:
        EnvironmentProblem: a session of ours has it, in this thread or another.
    """
    if not _ours.acquire(blocking=False):
        raise EnvironmentProblem(
            "a capture is running in this process already, and torch has one profiler session a "
            "process: end it before the next one begins."
        )


def end_our_session() -> None:
    """Give the place back; from any thread."""
    _ours.release()


def refuse_beside_another() -> None:
    """Look for a session that is not ours.

    Raises:
        EnvironmentProblem: there is one, recording or warming up.
    """
    if any_records():
        state = "records"
    elif _any_prepared():
        state = "warms up"
    else:
        return
    raise EnvironmentProblem(
        f"another profiler {state} in this process (torch.profiler, torch.autograd.profiler or "
        "emit_nvtx), and torch has one session a process: end it before this one begins."
    )


def _any_prepared() -> bool:
    """Whether a session has been prepared and not started, as in a schedule's warm-up.

    torch keeps no list of these, so all objects are looked at: tens of ms in a large process.
    """
    if not any(is_prepared(item) for item in gc.get_objects() if type(item) is profile):
        return False
    gc.collect()  # one that was given up, maybe
    return any(is_prepared(item) for item in gc.get_objects() if type(item) is profile)


class ForeignStarts:
    """Looks, from when it is made until `stop_looking`, whether another session starts.

    Attributes:
        seen: one did; it has taken the place of the session that ran.
        call: what to call then.
    """

    def __init__(self) -> None:
        self.seen = False
        self.call: Callable[[], None] = _nothing
        self._before: dict[str, Callable[..., Any]] = {
            name.attribute: name.get() for name in (PREPARE, START)
        }
        for name, method in self._before.items():
            setattr(profile, name, self._noting(method))

    def stop_looking(self) -> None:
        """Leave torch's class as it was."""
        for name, method in self._before.items():
            setattr(profile, name, method)

    def _noting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.seen = True
            self.call()
            return method(*args, **kwargs)

        return noting


def _nothing() -> None:
    """Nobody has to know."""
