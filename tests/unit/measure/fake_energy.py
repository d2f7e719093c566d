"""A machine whose clock, power and counters obey the test; what measures it is the real code."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from layerscope.measure.energy.meter import MeterLost
from layerscope.measure.energy.window import BatchDone


class FakeMachine:
    """Time passes only in `advance` and `sleep`; energy is power times time, in float joules."""

    def __init__(self, rest_w: float = 100.0) -> None:
        self.now_ns = 1_000_000_000
        self.rest_w = rest_w
        self.counters: list[FakeCounter] = []

    def monotonic_ns(self) -> int:
        return self.now_ns

    def stay_awake(self, seconds: float) -> None:
        self.sleep(seconds)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds, self.rest_w)

    def advance(self, seconds: float, watts: float) -> None:
        """Let time pass at a constant power."""
        span_ns = round(seconds * 1e9)
        for counter in self.counters:
            counter.pass_time(self.now_ns, span_ns, watts * counter.share)
        self.now_ns += span_ns

    def batch(
        self, profile: list[tuple[float, float]], samples: int = 4, tokens: int = 80, index: int = 0
    ) -> Callable[[], BatchDone]:
        """Work that spends these (seconds, watts), one after the other."""

        def work() -> BatchDone:
            for seconds, watts in profile:
                self.advance(seconds, watts)
            return BatchDone(batch=index, samples=samples, new_tokens=tokens)

        return work


class FakeCounter:
    """A joule counter that moves every `step_s`; it may lag, jitter, stop, go back or vanish."""

    resolution_j = 0.001

    def __init__(
        self,
        machine: FakeMachine,
        *,
        name: str = "gpu 0",
        step_s: float = 0.1,
        phase_s: float = 0.033,
        lag_s: float = 0.0,
        jitter: Random | None = None,
        share: float = 1.0,
    ) -> None:
        self.name = name
        self.source = f"fake counter, {name}"
        self.share = share
        self.mode = "ok"
        self._step_ns = round(step_s * 1e9)
        self._lag_ns = round(lag_s * 1e9)
        self._jitter = jitter
        self._next_ns = machine.now_ns + round(phase_s * 1e9)
        self._true_j = 5000.0
        self._shown_j = 5000.0
        self._pending: list[tuple[int, float]] = []
        self._now_ns = machine.now_ns
        machine.counters.append(self)

    def pass_time(self, start_ns: int, span_ns: int, watts: float) -> None:
        end_ns = start_ns + span_ns
        while self._next_ns <= end_ns:
            at_edge_j = self._true_j + watts * (self._next_ns - start_ns) / 1e9
            self._pending.append((self._next_ns + self._lag_ns, at_edge_j))
            step_ns = self._step_ns
            if self._jitter is not None:
                step_ns = round(step_ns * self._jitter.uniform(0.97, 1.03))
            self._next_ns += step_ns
        self._true_j += watts * span_ns / 1e9
        self._now_ns = end_ns

    def read_j(self) -> float:
        while self._pending and self._pending[0][0] <= self._now_ns:
            shown_j = self._pending.pop(0)[1]
            if self.mode != "stuck":
                self._shown_j = round(shown_j, 3)
        if self.mode == "vanished":
            raise MeterLost(f"{self.source}: GPU is lost")
        if self.mode == "reset":
            return self._shown_j - 4000.0
        return self._shown_j
