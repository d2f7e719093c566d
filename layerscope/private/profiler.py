"""What torch.profiler does not offer: cheap ranges, all threads, and who else profiles this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from layerscope.private.names import Feature, PrivateName, is_function, is_of, takes

_REMAINS = "No account by layer; `layerscope profile --no-trace` measures latency and energy."
_RANGES = Feature("ranges around layers", _REMAINS)
_SESSIONS = Feature("a profiler session", _REMAINS)
_THREADS = Feature(
    "layerscope.capture()", "No trace of every thread; `layerscope profile` does without."
)


def _opens(fast_range: Any) -> str:
    with fast_range("layerscope probe"):
        return ""


def _for_all_threads(config: Any) -> str:
    config(profile_all_threads=True)
    return ""


def _answers(enabled: Any) -> str:
    return is_of(bool)(enabled())


def _unstarted() -> object:
    from torch.autograd.profiler import profile

    return profile(use_kineto=True)


def _unstarted_kineto() -> object:
    from torch.profiler import ProfilerActivity, profile

    return profile(activities=[ProfilerActivity.CPU])


FAST_RANGE = PrivateName(
    module="torch._C._profiler",
    path="_RecordFunctionFast",
    what_for="a range in about a microsecond; torch.profiler.record_function takes several",
    feature=_RANGES,
    probe=_opens,
)
ALL_THREADS = PrivateName(
    module="torch._C._profiler",
    path="_ExperimentalConfig",
    what_for="its profile_all_threads: the calls of every thread, not only of the one that started",
    feature=_THREADS,
    probe=_for_all_threads,
)
ENABLED = PrivateName(
    module="torch.autograd.profiler",
    path="_is_profiler_enabled",
    what_for="whether a profiler records: ours is refused beside it, compiled code gets ranges then",
    feature=_SESSIONS,
    probe=is_of(bool),
)
ENABLED_IN_THREAD = PrivateName(
    module="torch._C._autograd",
    path="_profiler_enabled",
    what_for="the same for profilers that torch's Python code does not know of",
    feature=_SESSIONS,
    probe=_answers,
)
PREPARE = PrivateName(
    module="torch.autograd.profiler",
    path="profile._prepare_trace",
    what_for="wrapped while we trace: whether another session takes our place",
    feature=_SESSIONS,
    probe=takes("self"),
)
START = PrivateName(
    module="torch.autograd.profiler",
    path="profile._start_trace",
    what_for="the same, where a session starts without being prepared",
    feature=_SESSIONS,
    probe=takes("self"),
)
ENTERED = PrivateName(
    module="torch.autograd.profiler",
    path="profile.entered",
    what_for="whether a session waits in its warm-up; put to False where ours was taken over",
    feature=_SESSIONS,
    probe=is_of(bool),
    sample=_unstarted,
)
RESULTS = PrivateName(
    module="torch.autograd.profiler",
    path="profile.kineto_results",
    what_for="whether a session has ended, and with what",
    feature=_SESSIONS,
    probe=is_of(type(None)),
    sample=_unstarted,
)
INNER = PrivateName(
    module="torch.profiler",
    path="profile.profiler",
    what_for="the session inside torch.profiler.profile",
    feature=_SESSIONS,
    probe=is_of(type(None)),
    sample=_unstarted_kineto,
)
START_NS = PrivateName(
    module="torch._C._autograd",
    path="_ProfilerResult.trace_start_ns",
    what_for="0 where our session was taken over: reading more of it would crash the process",
    feature=_SESSIONS,
    probe=is_function,
)
SESSION = (ENABLED, ENABLED_IN_THREAD, PREPARE, START, ENTERED, RESULTS, INNER, START_NS)
NAMES = (FAST_RANGE, ALL_THREADS, *SESSION)


def fast_range() -> Any:
    """The class of ranges: called with a label, a context manager. Keep it, to open many."""
    return FAST_RANGE.get()


def all_threads() -> Any:
    """The setting of a session that records every thread."""
    return ALL_THREADS.get()(profile_all_threads=True)


def recording_flag() -> Callable[[], bool]:
    """A function that says whether a profiler records. Keep it: it is asked in compiled code's calls."""
    ENABLED.get()
    from torch.autograd import profiler

    return lambda: profiler._is_profiler_enabled


def any_records() -> bool:
    """Whether a profiler records, started from Python or not."""
    return bool(ENABLED.get() or ENABLED_IN_THREAD.get()())


def is_prepared(session: Any) -> bool:
    """Whether a session has been prepared and not started. `SESSION` must be required before."""
    return session.entered and session.kineto_results is None


def was_taken_over(ended: Any) -> bool:
    """Whether another session had taken the place of this `torch.profiler.profile` before its end."""
    results = ended.profiler.kineto_results if ended.profiler is not None else None
    return results is None or results.trace_start_ns() == 0


def give_up(taken: Any) -> None:
    """Have no session wait in a `torch.profiler.profile` that cannot be ended."""
    if taken.profiler is not None:
        taken.profiler.entered = False
