"""Tracks counted by hand; waits and idle shares that add up to the idle time on any trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import Workings, account, work_out
from layerscope.timeline.idle import idle_of
from layerscope.timeline.tracks import Track, devices_of, idle_share, tracks_of
from layerscope.trace.columns import read_trace


def worked(trace: TraceWriter, folder: Path) -> Workings:
    return work_out(read_trace(trace.write(folder / "t.json")))


def times(track: Track) -> list[tuple[str, int, int]]:
    return [(item.name, item.start_ns, item.end_ns) for item in track.slices]


def two_steps() -> TraceWriter:
    """InstructBLIP in small: vision, Q-Former, two decoder steps; kernels behind the host."""
    trace = TraceWriter()
    trace.layer("generate", 0, 1000)
    trace.layer("vision_model", 100, 100)
    trace.layer("qformer", 200, 50)
    trace.layer("language_model", 300, 200)
    trace.layer("language_model.decoder", 310, 100)
    trace.layer("language_model", 600, 200)
    trace.layer("language_model.decoder", 610, 100)
    for number, (at, start, dur) in enumerate(
        [(110, 150, 20), (120, 170, 30), (320, 350, 50), (420, 440, 20), (620, 700, 100)]
    ):
        trace.launch(number, at)
        trace.kernel(number, start, dur)
    trace.kernel(None, 850, 50)
    return trace


def test_hand_counted_tracks(tmp_path: Path) -> None:
    tracks = {track.name: track for track in tracks_of(worked(two_steps(), tmp_path))}
    assert {name: times(track) for name, track in tracks.items()} == {
        "host phases": [
            ("other", 0, 1000),
            ("vision", 100, 200),
            ("qformer", 200, 250),
            ("prefill", 300, 500),
            ("decode", 600, 800),
        ],
        "host decoder steps": [("step 0 (prefill)", 300, 500), ("step 1 (decode)", 600, 800)],
        "host layers": [
            ("generate", 0, 1000),
            ("vision_model", 100, 200),
            ("qformer", 200, 250),
            ("language_model", 300, 500),
            ("language_model.decoder", 310, 410),
            ("language_model", 600, 800),
            ("language_model.decoder", 610, 710),
        ],
        "device 0 stream 7 phases": [
            ("vision", 150, 200),
            ("prefill", 350, 460),
            ("decode", 700, 800),
            ("other", 850, 900),
        ],
        "device 0 stream 7 decoder steps": [
            ("step 0 (prefill)", 350, 460),
            ("step 1 (decode)", 700, 800),
        ],
        "device 0 stream 7 layers": [
            ("vision_model", 150, 200),
            ("language_model.decoder", 350, 400),
            ("language_model", 440, 460),
            ("language_model.decoder", 700, 800),
            ("(no launch record)", 850, 900),
        ],
        "device 0 idle": [
            ("waits for vision_model", 0, 150),
            ("waits for language_model.decoder", 200, 350),
            ("waits for language_model", 400, 440),
            ("waits for language_model.decoder", 460, 700),
            ("waits for (no launch record)", 800, 850),
            ("(nothing followed)", 900, 1000),
        ],
    }
    vision = tracks["device 0 stream 7 layers"].slices[0]
    assert vision.detail == {"layer": "vision_model", "phase": "vision", "events": 2}
    reasons = [item.detail.get("reason") for item in tracks["device 0 idle"].slices]
    assert reasons == [*["the launch came late"] * 4, "no launch record", None]


def test_idle_share_by_hand(tmp_path: Path) -> None:
    """Idle: 0-150, 200-350, 400-440, 460-700, 800-850, 900-1000; buckets of 250 ns, then of 300."""
    workings = worked(two_steps(), tmp_path)
    assert idle_share(workings, 0, 250) == [
        (0, 200 / 250),
        (250, (100 + 40 + 40) / 250),
        (500, 200 / 250),
        (750, (50 + 100) / 250),
    ]
    assert idle_share(workings, 0, 300)[-1] == (900, 1.0)


def test_a_cpu_trace_has_host_tracks_alone(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 100)
    trace.layer("a", 10, 20)
    names = [track.name for track in tracks_of(worked(trace, tmp_path))]
    assert names == ["host phases", "host layers"]


def test_threads_have_rows_of_their_own(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 100, tid=1)
    trace.layer("a", 10, 200, tid=2)
    names = [track.name for track in tracks_of(worked(trace, tmp_path)) if track.kind == "layer"]
    assert names == ["host layers (thread 1)", "host layers (thread 2)"]


@given(
    kernels=st.lists(
        st.tuples(
            st.integers(0, 1200),
            st.integers(0, 300),
            st.integers(0, 1),
            st.integers(0, 1),
            st.one_of(st.none(), st.integers(0, 1100)),
        ),
        min_size=1,
        max_size=25,
    ),
    bucket=st.integers(1, 700),
)
@settings(max_examples=150, deadline=None)
def test_waits_and_shares_are_the_idle_time(
    tmp_path_factory: pytest.TempPathFactory,
    kernels: list[tuple[int, int, int, int, int | None]],
    bucket: int,
) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 1000)
    trace.layer("a", 100, 300)
    for number, (start, dur, device, stream, at) in enumerate(kernels):
        if at is not None:
            trace.launch(number, at)
        trace.kernel(number, start, dur, device=device, stream=stream)
    workings = worked(trace, tmp_path_factory.mktemp("t"))
    idle = idle_of(workings, account(workings, source="t").table)
    assert idle is not None
    waits = [track for track in tracks_of(workings) if track.kind == "wait"]
    assert sum(s.end_ns - s.start_ns for t in waits for s in t.slices) == idle.idle_ns
    total = 0.0
    for device in devices_of(workings):
        shares = idle_share(workings, device, bucket)
        end = shares[0][0] + idle.window_ns
        for at, share in shares:
            assert 0.0 <= share <= 1.0
            total += share * (min(at + bucket, end) - at)
    assert total == pytest.approx(idle.idle_ns, abs=1e-6)
    for track in tracks_of(workings):
        if track.place != "host":  # slices of one stream follow each other
            ends = [item.end_ns for item in track.slices]
            starts = [item.start_ns for item in track.slices]
            assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
