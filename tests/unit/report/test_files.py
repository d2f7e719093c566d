"""Parquet, TensorBoard and Markdown, each read back with its own reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layerscope.core.columns import COLUMNS
from layerscope.core.errors import EnvironmentProblem
from layerscope.records import LayerTable, Reported, RunRecord
from layerscope.records.tables import Account
from layerscope.report.markdown import escape, group_markdown, phase_markdown
from layerscope.report.parquet import write_layers_parquet
from layerscope.report.quantities import per_batch, per_sample, reported_text
from layerscope.report.tensorboard import write_events


def test_parquet(gpu_table: LayerTable, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "layers.parquet"
    write_layers_parquet(gpu_table, path)
    read = parquet.read_table(path)
    assert read.column_names == [column.name for column in COLUMNS]
    types = {field.name: str(field.type) for field in read.schema}
    assert types["layer"] == "string"
    assert types["calls"] == "int64"
    assert types["gpu_self_us"] == "double"
    assert read["gpu_self_us"].to_pylist() == [0.0, 15261.623, 253.056, 1432.888, 193148.778, 0.0]
    assert read["flops_self"].null_count == len(gpu_table.rows)
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        write_layers_parquet(gpu_table, tmp_path / "absent" / "layers.parquet")


def _read(folder: Path) -> tuple[dict[str, float], str]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    found = events.Tags()
    values = {tag: events.Scalars(tag)[0].value for tag in found["scalars"]}
    assert [tag for tag in found["tensors"] if not tag.startswith("_hparams_/")] == ["layers"]
    assert events.SummaryMetadata("layers").plugin_data.plugin_name == "text"
    return values, events.Tensors("layers")[0].tensor_proto.string_val[0].decode()


def test_events_of_a_device(gpu_record: RunRecord, gpu_account: Account, tmp_path: Path) -> None:
    path = write_events(tmp_path, gpu_record, gpu_account)
    assert path.name.startswith("events.out.tfevents.")
    values, text = _read(tmp_path)
    # Event files hold float32; per batch of 2 the FLOPs are twice those of a sample.
    assert values == pytest.approx(
        {
            "e2e/latency_s": 1.0,
            "e2e/flops": 2 * 1_268_568_840_704,
            "gpu_ms/vision": 15.514679,
            "gpu_ms/decode": 194.581666,
            "gpu_ms/vision.conv": 0.253056,
            "gpu_ms/other": 209.843289,
        },
        rel=1e-6,
    )
    assert "vision\\_model.patch\\_embedding" in text
    assert "layers.csv" in text


def test_events_of_a_cpu(cpu_record: RunRecord, cpu_account: Account, tmp_path: Path) -> None:
    energy = Reported(value=6.0, unit="J/batch", definition="NVML counter")
    wer = Reported(value=0.25, unit="", definition="corpus WER")
    report = replace(cpu_record.report, energy=energy, wer_value=wer)
    write_events(tmp_path, replace(cpu_record, report=report), cpu_account)
    values, _ = _read(tmp_path)
    assert values["e2e/energy_j_per_sample"] == 3.0
    assert values["e2e/wer_value"] == 0.25
    assert values["cpu_ms/outside_model"] == 5.0
    assert not [tag for tag in values if tag.startswith("gpu_ms")]


def test_a_name_of_phase_and_group_keeps_one_meaning(
    cpu_record: RunRecord, gpu_account: Account, tmp_path: Path
) -> None:
    table = gpu_account.table
    rows = [replace(row, phase=row.phase.replace("decode", "other")) for row in table.rows]
    changed = replace(table, rows=tuple(rows))
    changed.check()
    write_events(tmp_path, cpu_record, replace(gpu_account, table=changed))
    values, _ = _read(tmp_path)
    assert values["gpu_ms/other"] == pytest.approx(194.581666)
    assert values["gpu_ms/group.other"] == pytest.approx(209.843289)


def test_markdown(gpu_table: LayerTable) -> None:
    assert phase_markdown(gpu_table).splitlines() == [
        "| phase | kernels | gpu self ms | gpu share | cpu self ms | cpu share |",
        "|---|---:|---:|---:|---:|---:|",
        "| vision | 1,000 | 15.5 | 7.38 % | 101 | 10.00 % |",
        "| decode | 32,881 | 195 | 92.62 % | 909 | 90.00 % |",
        "| **sum** | **33,881** | **210** | **100.00 %** | **1,010** | **100.00 %** |",
    ]
    assert "| vision.conv | 1 | 0.253 | 0.12 % |" in group_markdown(gpu_table)
    assert escape("a|b_c\n<x>") == "a\\|b\\_c\\\\n\\<x\\>"


def test_quantities() -> None:
    flops = Reported(value=1_268_568_840_704, unit="FLOP/sample", definition="")
    assert per_batch(flops, 16) == 16 * 1_268_568_840_704
    assert per_sample(flops, 16) == 1_268_568_840_704
    assert reported_text(flops, 16) == "20.2971 TFLOP per batch of 16, 1.2686 TFLOP per sample"
    latency = Reported(value=0.67, unit="s/batch", definition="")
    assert reported_text(latency, 16) == "0.67 s per batch of 16, 0.04188 s per sample"
    plain = Reported(value=0.5, unit="s", definition="")
    assert per_sample(plain, 16) is None
    assert reported_text(plain, 16) == "0.5 s"
    absent = Reported(value=None, unit="J/sample", definition="", reason="no NVML device")
    assert reported_text(absent, 16) == "not measured: no NVML device"
