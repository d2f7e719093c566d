"""The time of each phase of a sweep's cells, from tables written by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from support.sweep_rows import row

from layerscope.records import LayerRow, LayerTable, Whole
from layerscope.records.sweep import SweepRow
from layerscope.report.csv import write_layers_csv
from layerscope.report.sweep.phase_figures import phase_times, write_phase_figures


def _layer(phase: str, device: int, host: int) -> LayerRow:
    return LayerRow(
        layer="model", phase=phase, module="Net", group="other", depth=0, calls=1, kernels=1,
        gpu_self_ns=device, gpu_total_ns=device, cpu_self_ns=host, cpu_total_ns=host, params=0,
    )  # fmt: skip


def _traced(root: Path, times: dict[int, dict[str, tuple[int, int]]]) -> list[SweepRow]:
    """A row for each image size, whose table has (device, host) nanoseconds by phase, by hand."""
    rows = []
    for size, phases in times.items():
        folder = root / "cells" / str(size)
        folder.mkdir(parents=True)
        table = [_layer(phase, device, host) for phase, (device, host) in phases.items()]
        whole = Whole(
            device_events=0,
            device_sum_ns=sum(device for device, _ in phases.values()),
            device_active_ns=None,
            window_span_ns=None,
            host_window_ns=None,
        )
        write_layers_csv(
            LayerTable(rows=tuple(table), root="model", whole=whole), folder / "layers.csv"
        )
        made = row({"image_size": size}, latency=0.1)
        rows.append(dataclasses.replace(made, folder=f"cells/{size}"))
    return rows


def test_phases_stand_in_their_figure_by_the_device_s_time_or_else_the_host_s(
    tmp_path: Path,
) -> None:
    both = {
        224: {"vision": (2_000, 9_000), "decode": (5_000, 9_000)},
        448: {"vision": (8_000, 9_000), "decode": (5_000, 9_000), "other": (0, 1)},
    }
    rows = _traced(tmp_path, both)
    device, host = phase_times(rows, tmp_path)
    first, second = (device[one.cell] for one in rows)
    assert first == {"vision": 2_000, "decode": 5_000}
    assert second == {"vision": 8_000, "decode": 5_000, "other": 0}
    assert host[rows[1].cell]["other"] == 1
    files = write_phase_figures(rows, ("image_size",), tmp_path, tmp_path, "two")
    assert list(files) == ["figure phases image_size"]
    drawn = files["figure phases image_size"].read_text(encoding="utf-8")
    assert "device time by phase against image_size" in drawn
    assert "other" not in drawn  # it takes no time on the device


def test_a_sweep_without_a_device_has_the_host_s_phases_and_one_without_traces_no_figure(
    tmp_path: Path,
) -> None:
    rows = _traced(tmp_path, {s: {"vision": (0, 7 * s), "prefill": (0, s)} for s in (1, 2, 4)})
    (file,) = write_phase_figures(rows, ("image_size",), tmp_path, tmp_path, "host").values()
    assert "host time by phase" in file.read_text(encoding="utf-8")
    assert (
        write_phase_figures(
            [row({"image_size": n}, latency=1.0) for n in (1, 2)],
            ("image_size",),
            tmp_path,
            tmp_path,
            "none",
        )
        == {}
    )
    words = [
        dataclasses.replace(r, config=dataclasses.replace(r.config, optimization=o))
        for r, o in zip(rows, ("eager", "compile", "flash"), strict=True)
    ]
    assert write_phase_figures(words, ("optimization",), tmp_path, tmp_path, "words") == {}
