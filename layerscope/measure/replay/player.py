"""Held calls of a unit in, a player of whole passes out: as a CUDA graph where that helps, else plain.

One pass runs each call of the unit once, in the order of the model. A pass that cannot be repeated
is refused with the reason: the call raises, or it writes to its own inputs, so that the next pass
would compute on its own results.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from layerscope.core.units import MIB
from layerscope.core.words import first_line, kind_and_first_line
from layerscope.measure.replay.inputs import Held, is_counter, put_back
from layerscope.private.tensors import writes_so_far

# Long enough that the synchronisation after a run of passes costs nothing, short enough that a
# window of half a second ends close to half a second.
RUN_S = 0.1
# A graph that is not at least this much faster changes nothing: the layer was not launch-bound.
_WORTH = 0.95
_WARM_PASSES = 3
_TIMED_S = 0.02
_MOST_PASSES = 20_000
_BROKEN: list[torch.cuda.CUDAGraph] = []


class Refused(Exception):
    """This unit cannot be replayed; the text says why, in words."""


@dataclass(frozen=True)
class Player:
    """Runs passes of one unit.

    Attributes:
        run: runs so many passes, some times `passes`, and returns before the device is done.
        passes: how many make a run of about `RUN_S`.
        pass_s: one pass, as timed at the start.
        how: "CUDA graph" or "plain"; `why_plain` says why it is no graph.
    """

    run: Callable[[int], None]
    passes: int
    pass_s: float
    how: str
    why_plain: str | None = None


Item = tuple[torch.nn.Module, Held]
Counters = tuple[list[torch.Tensor], list[torch.Tensor]]  # and what they held before the call


def prepare(
    items: Sequence[Item],
    device: str,
    *,
    graphs: bool = True,
    before_call: Callable[[], None] = lambda: None,
    turns: int = 1,
    settling: int = 0,
) -> Player:
    """A player of these calls.

    Args:
        items: the calls of one pass, in order.
        device: "cuda" or "cpu"; graphs exist on "cuda" alone.
        graphs: whether a CUDA graph may be tried; not where the module brings its own.
        before_call: runs before every call: overwrites the device's cache, or begins a step of
            compiled code.
        settling: calls of each before it is looked at what a call changes. Compiled code that captures
            CUDA graphs runs its first calls in other ways than the later ones.
        turns: how many passes `items` hold, one after the other; they are counted as that many.

    Raises:
        Refused: a call raises when it runs again, or changes its own inputs.
    """

    counters: list[Counters] = []

    def one_pass() -> None:
        for (module, held), moved in zip(items, counters, strict=True):
            before_call()
            held.restore()
            put_back(moved)
            module(*held.args, **held.kwargs)

    def as_before() -> None:
        for _, held in items:
            held.restore()
        for moved in counters:
            put_back(moved)

    with torch.no_grad():
        try:
            for module, held in items:
                for _ in range(settling):
                    before_call()
                    _call(module, held, device)
                counters.append(_try_out(module, held, device, before_call))
        finally:
            as_before()
        player = player_of(one_pass, device, graphs=graphs, after=as_before)
    return _counted(player, turns)


def _counted(player: Player, turns: int) -> Player:
    """The player with each of its passes counted as so many."""
    if turns == 1:
        return player
    return dataclasses.replace(
        player,
        run=lambda passes: player.run(passes // turns),
        passes=player.passes * turns,
        pass_s=player.pass_s / turns,
    )


def player_of(
    one_pass: Callable[[], None],
    device: str,
    *,
    graphs: bool = True,
    after: Callable[[], None] = lambda: None,
) -> Player:
    """Time a pass, capture it as a graph where that makes it faster, and fix the length of a run.

    Args:
        after: puts the inputs back as they were, once a run of plain passes, or the capture, ended.
    """

    def plain(passes: int) -> None:
        with torch.no_grad():
            for _ in range(passes):
                one_pass()
        after()

    plain_s = _timed(plain, device)
    if device != "cuda":
        return _player(plain, plain_s, "plain", None)
    if not graphs:
        return _player(plain, plain_s, "plain", "the part is compiled and launches by itself")
    try:
        replay = _graph(one_pass)
    except Exception as error:
        # torch raises many kinds here (a synchronisation, an allocation, an unsupported call); the
        # plain replay below measures the same joules, only with gaps between its kernels.
        torch.cuda.synchronize()
        return _player(plain, plain_s, "plain", f"no CUDA graph: {first_line(error)}")
    finally:
        after()
    graph_s = _timed(replay, device)
    if graph_s >= _WORTH * plain_s:
        reason = f"a graph changes nothing ({graph_s / plain_s:.2f} of the plain time)"
        return _player(plain, plain_s, "plain", reason)
    return _player(replay, graph_s, "CUDA graph", None)


def overwriter(device: str) -> tuple[Callable[[], None], str]:
    """A call that writes a buffer twice as large as the device's last cache, and that in words."""
    size = 128 << 20
    if device == "cuda":
        size = 2 * torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    buffer = torch.zeros(size // 4, dtype=torch.float32, device=device)

    def overwrite() -> None:
        buffer.zero_()

    return overwrite, f"a buffer of {size / MIB:,.0f} MiB written before every call"


def _try_out(
    module: torch.nn.Module, held: Held, device: str, before_call: Callable[[], None]
) -> Counters:
    """Run a call twice by itself and see that the second time is like the first.

    A static cache is written in place, by every call at the same place: after the first call it
    holds what it will hold after every other, so that is no harm.

    Returns:
        The counters among its inputs that it moves, and what they held before: a static cache
        counts its own length so. They are put back before every call.

    Raises:
        Refused: the second call leaves other inputs than the first, or a call raises.
    """
    held.restore()
    kept, versions = _clones(held), {id(t): writes_so_far(t) for t, _ in held.versions}
    before_call()
    _call(module, held, device)
    counted = {id(tensor) for tensor in held.counters[0]}
    changed = [
        t for t, _ in held.versions if writes_so_far(t) != versions[id(t)] and id(t) not in counted
    ]
    living = [t for t in changed if is_counter(t) and id(t) in kept]
    counters = living, [kept[id(tensor)] for tensor in living]
    if not changed:
        return counters
    put_back(counters)
    once = _clones(held)
    before_call()
    _call(module, held, device)
    put_back(counters)
    for tensor in changed:
        was = once.get(id(tensor))
        if was is None or not _same(was, tensor):
            raise Refused(
                f"changes its input in place: a tensor of shape {tuple(tensor.shape)} that "
                f"{type(module).__name__} is given is not the same after the call"
            )
    return counters


def _call(module: torch.nn.Module, held: Held, device: str) -> None:
    held.restore()
    try:
        module(*held.args, **held.kwargs)
        _synchronize(device)
    except Exception as error:
        # The module is the user's: whatever it raises is the reason, not a fault of this run.
        raise Refused(f"fails on replay: {kind_and_first_line(error)}") from None


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal element by element, what is not a number included."""
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    )


def _clones(held: Held) -> dict[int, torch.Tensor]:
    """A copy of every input, by the input's identity; empty where there is no room for them."""
    return {id(t): t.clone() for t, _ in held.versions} if _small(held) else {}


def _small(held: Held) -> bool:
    """Whether copies to compare with are cheap: below a tenth of what is free."""
    size = sum(tensor.numel() * tensor.element_size() for tensor, _ in held.versions)
    if size and held.versions[0][0].is_cuda:
        return size < 0.1 * torch.cuda.mem_get_info()[0]
    return size < 1 << 30


def _graph(one_pass: Callable[[], None]) -> Callable[[int], None]:
    """Capture one pass after warming up on a side stream, as torch asks for.

    A pass that waits for the device is found out before it can spoil a capture.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(_WARM_PASSES):
            one_pass()
        with _no_waiting():
            one_pass()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.no_grad(), torch.cuda.graph(graph, stream=side):
            one_pass()
    except BaseException:
        # The allocator may go on asking a capture that did not end whether it is under way.
        _BROKEN.append(graph)
        raise

    def replay(passes: int, inputs: Callable[[], None] = one_pass) -> None:
        # The graph reads the memory of inputs that nothing but `one_pass` keeps alive.
        for _ in range(passes):
            graph.replay()

    return replay


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Inside it, what waits for the device raises, as it would, with worse effects, in a capture."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "a prototype feature"
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _timed(run: Callable[[int], None], device: str) -> float:
    """Seconds of one pass, over enough passes for the clock."""
    run(1)
    _synchronize(device)
    passes = 1
    while True:
        began = time.perf_counter()
        run(passes)
        _synchronize(device)
        took = time.perf_counter() - began
        if took >= _TIMED_S or passes >= _MOST_PASSES:
            return took / passes
        passes = min(_MOST_PASSES, max(2 * passes, int(passes * _TIMED_S / max(took, 1e-9))))


def _player(run: Callable[[int], None], pass_s: float, how: str, why: str | None) -> Player:
    passes = max(1, min(_MOST_PASSES, round(RUN_S / pass_s)))
    return Player(run=run, passes=passes, pass_s=pass_s, how=how, why_plain=why)


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
