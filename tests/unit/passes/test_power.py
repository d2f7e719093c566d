"""Power over time on an imagined CUDA device: when it is recorded, and what runs meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from layerscope.passes import meters, power
from layerscope.passes.draft import Draft
from layerscope.passes.order import metered_on_cuda
from layerscope.records import EnergyRecord, PowerSample
from layerscope.report.progress import ProgressReporter

SEEN = (PowerSample(time_ns=1, device="GPU-aaaa-0", power_w=300.0),)


class Line:
    """Another process that polls the devices it is given."""

    polled: list[str]
    absent: str | None = None
    samples = SEEN

    def __init__(self, devices: list[str]) -> None:
        Line.polled = devices

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_the_first_kept_batch_runs_while_power_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(100))
    ran: list[str] = []

    class Generator:
        def __call__(self, inputs: str) -> str:
            ran.append(inputs)
            return "tokens"

    monkeypatch.setattr(power, "PowerLine", Line)
    monkeypatch.setattr(power, "device_uuids", lambda: ["GPU-aaaa-0"])
    monkeypatch.setattr(power, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    monkeypatch.setattr(meters, "synchronize", lambda device: None)
    session: Any = SimpleNamespace(
        config=SimpleNamespace(device="cuda"),
        generator=Generator(),
        progress=ProgressReporter(Any, quiet=True),
        inputs=lambda batch: batch.name,
    )
    kept: Any = tuple(
        SimpleNamespace(name=name, record=SimpleNamespace(index=0), samples=("one",))
        for name in ("first", "second")
    )
    timed: Any = (SimpleNamespace(generated=SimpleNamespace(new_tokens=(4,))),)
    draft = Draft(batches=timed, kept=kept)
    power.power(session, draft)
    assert ran == ["first"] * 2  # until three seconds are over
    assert Line.polled == ["GPU-aaaa-0"]
    assert draft.power == SEEN


@pytest.mark.parametrize(
    ("device", "reason", "runs"),
    [("cuda", None, True), ("cuda", "no NVML", False), ("cpu", None, False)],
)
def test_power_is_recorded_where_the_counter_of_a_cuda_device_was_read(
    device: str, reason: str | None, runs: bool
) -> None:
    session: Any = SimpleNamespace(config=SimpleNamespace(device=device))
    draft = Draft(energy=EnergyRecord(reason=reason))
    assert metered_on_cuda(session, draft) is runs
