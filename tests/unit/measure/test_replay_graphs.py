"""When a pass is replayed as a CUDA graph: torch's graph calls stand in, the choice is the real code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from layerscope.measure.replay import player as players
from layerscope.measure.replay.player import player_of


class Clock:
    """Time that passes only where a pass or a graph sleeps."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(players, "time", CLOCK)


class Device:
    """Takes the place of torch.cuda's streams and graphs; a replayed graph takes `graph_s`."""

    def __init__(self, graph_s: float, capture_fails: str = "") -> None:
        self.graph_s = graph_s
        self.capture_fails = capture_fails
        self.mode: Any = 0
        self.log: list[str] = []

    def wait_stream(self, other: object) -> None:
        self.log.append("wait")

    def set_mode(self, mode: Any) -> None:
        self.mode = mode

    @contextmanager
    def stream(self, which: object) -> Iterator[None]:
        self.log.append("side stream")
        yield

    @contextmanager
    def graph(self, graph: object, stream: object = None) -> Iterator[None]:
        assert stream is self
        assert self.mode == 0
        if self.capture_fails:
            raise RuntimeError(self.capture_fails)
        self.log.append("capture")
        yield

    def replay(self) -> None:
        CLOCK.sleep(self.graph_s)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    def make(graph_s: float = 0.0002, capture_fails: str = "") -> Device:
        made = Device(graph_s, capture_fails)
        for name, value in {
            "Stream": lambda: made,
            "current_stream": lambda: made,
            "stream": made.stream,
            "graph": made.graph,
            "CUDAGraph": lambda: made,
            "synchronize": lambda: None,
            "get_sync_debug_mode": lambda: made.mode,
            "set_sync_debug_mode": made.set_mode,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        return made

    return make


def sleeps(seconds: float) -> Callable[[], None]:
    return lambda: CLOCK.sleep(seconds)


def test_a_launch_bound_pass_becomes_a_graph_after_warming_up_on_a_side_stream(
    device: Callable[..., Device],
) -> None:
    fake = device(graph_s=0.0002)
    put_back: list[int] = []
    player = player_of(sleeps(0.002), "cuda", after=lambda: put_back.append(1))
    assert (player.how, player.why_plain) == ("CUDA graph", None)
    assert fake.log.index("side stream") < fake.log.index("capture")
    assert player.pass_s == pytest.approx(0.0002)
    assert player.passes == pytest.approx(0.1 / player.pass_s, rel=0.01)
    assert put_back  # the inputs are as they were, though the capture ran the pass
    player.run(2)


def test_a_pass_that_a_graph_does_not_make_faster_stays_plain(
    device: Callable[..., Device],
) -> None:
    device(graph_s=0.003)
    player = player_of(sleeps(0.002), "cuda")
    assert player.how == "plain"
    assert "a graph changes nothing" in (player.why_plain or "")


def test_a_pass_that_waits_for_the_device_is_never_captured(device: Callable[..., Device]) -> None:
    fake = device()

    def waits() -> None:
        CLOCK.sleep(0.001)
        if fake.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    player = player_of(waits, "cuda")
    assert player.how == "plain"
    assert player.why_plain == "no CUDA graph: called a synchronizing CUDA operation"
    assert "capture" not in fake.log
    assert fake.mode == 0


def test_a_capture_that_fails_leaves_a_plain_player_with_the_reason(
    device: Callable[..., Device],
) -> None:
    fake = device(capture_fails="operation not permitted when stream is capturing\nmore")
    player = player_of(sleeps(0.001), "cuda")
    assert player.how == "plain"
    assert player.why_plain == "no CUDA graph: operation not permitted when stream is capturing"
    assert any(graph is fake for graph in players._BROKEN)
    players._BROKEN.clear()
    player.run(1)


def test_a_compiled_part_is_never_captured_by_us(device: Callable[..., Device]) -> None:
    fake = device()
    player = player_of(sleeps(0.001), "cuda", graphs=False)
    assert player.how == "plain"
    assert "compiled" in (player.why_plain or "")
    assert "capture" not in fake.log
