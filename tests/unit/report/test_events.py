"""Event files read back with TensorBoard's own readers: HPARAMS, IMAGES, TEXT and power over time."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.sweep_rows import row

from layerscope.core.errors import EnvironmentProblem
from layerscope.records import PowerSample, RunRecord
from layerscope.records.tables import Account
from layerscope.report.tensorboard import write_events, write_sweep_events
from layerscope.report.tensorboard.event_file import Image, Scalar, write_event_file
from layerscope.report.tensorboard.hparams import TICKED, USUAL

AXES = ("batch_size", "dtype")


def png(width: int, height: int) -> bytes:
    """A grey picture, put together by hand from the format's own parts."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(b"".join(b"\0" + b"\x80" * width for _ in range(height)))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", lines), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def opened(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def plugin_data(events: Any, kind: str) -> Any:
    from tensorboard.plugins.hparams import metadata

    tag = {
        "experiment": metadata.EXPERIMENT_TAG,
        "session_start_info": metadata.SESSION_START_INFO_TAG,
        "session_end_info": metadata.SESSION_END_INFO_TAG,
    }[kind]
    parse = getattr(metadata, f"parse_{kind}_plugin_data")
    return parse(events.SummaryMetadata(tag).plugin_data.content)


def test_a_run_is_a_session_with_its_configuration(
    gpu_record: RunRecord, gpu_account: Account, tmp_path: Path
) -> None:
    write_events(tmp_path, gpu_record, gpu_account)
    events = opened(tmp_path)
    start = plugin_data(events, "session_start_info")
    assert start.hparams["batch_size"].number_value == gpu_record.config.batch_size
    assert start.hparams["dtype"].string_value == gpu_record.config.dtype
    assert start.hparams["trace"].bool_value is True
    assert not {"out", "data_dir"} & set(start.hparams)
    assert plugin_data(events, "session_end_info").status == 1  # success
    shown = plugin_data(events, "experiment")
    assert [info.name for info in shown.hparam_infos] == list(USUAL)
    # What the tab shows unasked: it takes those that differ first, and at most five.
    assert [info.name for info in shown.hparam_infos if info.differs] == list(TICKED)
    # No list of values: another run's would be missing from it.
    assert not any(info.HasField("domain_discrete") for info in shown.hparam_infos)
    assert [info.name.tag for info in shown.metric_infos] == [
        "e2e/latency_s", "e2e/energy_j_per_sample", "e2e/flops", "e2e/wer_value",
    ]  # fmt: skip


def test_a_cell_leaves_the_columns_to_its_sweep_and_stands_on_its_axis(
    gpu_record: RunRecord, gpu_account: Account, tmp_path: Path
) -> None:
    write_events(tmp_path, gpu_record, gpu_account, step=16, in_sweep=True)
    events = opened(tmp_path)
    assert "_hparams_/experiment" not in events.Tags()["tensors"]
    assert {events.Scalars(tag)[0].step for tag in events.Tags()["scalars"]} == {16}


def test_figures_are_pictures_with_their_size(
    gpu_record: RunRecord, gpu_account: Account, tmp_path: Path
) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "phases.png").write_bytes(png(7, 3))
    (tmp_path / "figures" / "phases.svg").write_text("<svg/>")
    write_events(tmp_path, gpu_record, gpu_account)
    events = opened(tmp_path)
    assert events.SummaryMetadata("figures/phases").plugin_data.plugin_name == "images"
    held = events.Tensors("figures/phases")[0].tensor_proto.string_val
    assert list(held) == [b"7", b"3", png(7, 3)]
    with pytest.raises(ValueError, match="PNG"):
        write_event_file(tmp_path, [Image("broken", b"GIF89a")])


def test_power_keeps_its_time(gpu_record: RunRecord, gpu_account: Account, tmp_path: Path) -> None:
    power = [
        PowerSample(time_ns=5_000_000_000 + 50_000_000 * i, device="GPU 0", power_w=100.0 + i)
        for i in range(3)
    ]
    write_events(tmp_path, gpu_record, gpu_account, power, step=4)
    points = opened(tmp_path).Scalars("power_w/0")
    assert [(point.step, point.value) for point in points] == [
        (0, 100.0),
        (50, 101.0),
        (100, 102.0),
    ]
    assert points[2].wall_time - points[0].wall_time == pytest.approx(0.1, abs=1e-6)


MS = 1_000_000
ROWS = [
    row({"batch_size": 1, "dtype": "fp32"}, latency=0.25, wer=0.5, flops=100, groups={"norm": 2 * MS}),
    row({"batch_size": 4, "dtype": "fp32"}, latency=0.5, wer=0.5, flops=400, groups={"norm": 3 * MS}),
    row({"batch_size": 1, "dtype": "bf16"}, latency=0.125, energy=2.0),
    row({"batch_size": 4, "dtype": "bf16"}, status="failed", reason="out of memory"),
]  # fmt: skip


def test_a_sweep_says_its_columns_and_draws_each_line_against_its_axis(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "against_batch_size.png").write_bytes(png(2, 2))
    (tmp_path / "against" / "gone" / "x").mkdir(parents=True)
    path = write_sweep_events(ROWS, AXES, tmp_path, "mine", "# mine")
    assert path.parent == tmp_path
    events = opened(tmp_path)
    shown = plugin_data(events, "experiment")
    batch, dtype = shown.hparam_infos
    assert [value.number_value for value in batch.domain_discrete.values] == [1, 4]
    assert [value.string_value for value in dtype.domain_discrete.values] == ["fp32", "bf16"]
    assert (batch.differs, dtype.differs) == (True, True)
    assert events.Tensors("sweep")[0].tensor_proto.string_val[0] == b"# mine"
    assert "figures/against_batch_size" in events.Tags()["tensors"]
    # Only fp32 has two measured cells; the axis of words has no steps.
    lines = sorted(p.parent.relative_to(tmp_path) for p in tmp_path.glob("against/**/events.*"))
    assert [str(line) for line in lines] == ["against/batch_size/dtype=fp32"]
    line = opened(tmp_path / lines[0])
    points = {tag: [(p.step, p.value) for p in line.Scalars(tag)] for tag in line.Tags()["scalars"]}
    assert points == {
        "e2e/latency_s": [(1, 0.25), (4, 0.5)],
        "e2e/wer_value": [(1, 0.5), (4, 0.5)],
        "e2e/flops": [(1, 100.0), (4, 400.0)],
        "op_ms/norm": [(1, 2.0), (4, 3.0)],
    }


def test_names_of_lines_never_leave_their_folder(tmp_path: Path) -> None:
    axes = ("batch_size", "model")
    rows = [row({"batch_size": n, "model": "../../etc/x y"}, latency=1.0) for n in (1, 2)]
    write_sweep_events(rows, axes, tmp_path / "sweep", "mine", "")
    found = [p.parent.name for p in tmp_path.glob("sweep/against/batch_size/*/events.*")]
    assert found == ["model=..-..-etc-x-y"]


def test_writing_again_replaces_our_own_file_alone(tmp_path: Path) -> None:
    first = write_event_file(tmp_path, [Scalar("a", 1.0, 5)])
    old = first.rename(tmp_path / "events.out.tfevents.1.layerscope")
    foreign = tmp_path / "events.out.tfevents.1.somebody"
    foreign.touch()
    write_event_file(tmp_path, [Scalar("a", 2.0, 5)])
    assert not old.exists()
    assert foreign.exists()
    assert [(p.step, p.value) for p in opened(tmp_path).Scalars("a")] == [(5, 2.0)]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot write the events"):
        write_event_file(tmp_path / "file" / "below", [])


def test_a_run_without_figures_or_power_has_neither(
    cpu_record: RunRecord, cpu_account: Account, tmp_path: Path
) -> None:
    write_events(tmp_path, replace(cpu_record), cpu_account)
    tags = opened(tmp_path).Tags()
    assert not [tag for tag in tags["tensors"] if tag.startswith("figures")]
    assert not [tag for tag in tags["scalars"] if tag.startswith("power")]
