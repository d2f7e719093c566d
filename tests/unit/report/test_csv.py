from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.records import LayerRow, LayerTable, Whole
from layerscope.records.tables import Account
from layerscope.report.csv import (
    read_layers_csv,
    write_kernels_csv,
    write_layers_csv,
    write_operators_csv,
    write_steps_csv,
)

HEADER = (
    "phase,layer,module,group,depth,calls,kernels,gpu_self_us,gpu_total_us,gpu_share,cpu_self_us,"
    "cpu_total_us,flops_self,flops_total,macs_total,params,op_self_us,dtype,bytes_self,intensity,"
    "tflops_per_s,gb_per_s,roofline_us,roofline_fraction,bound,memory_peak_mib,attribution,"
    "energy_j,energy_source,modelled_us"
)


def test_columns_and_cells(gpu_table: LayerTable, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    write_layers_csv(gpu_table, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADER
    # 253,056 / 210,096,345 = 0.001204476...
    assert lines[3] == (
        "vision,vision_model.patch_embedding,Conv2d,vision.conv,2,1,1,253.056,253.056,0.001204476,"
        "40000.000,40000.000,,,,20,,,,,,,,,,,,,,"
    )
    assert len(lines) == 1 + len(gpu_table.rows)


def test_without_a_device_its_cells_are_blank(cpu_table: LayerTable, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    write_layers_csv(cpu_table, path)
    first = path.read_text(encoding="utf-8").splitlines()[1]
    assert first == "vision,generate,Tiny,other,0,1,,,,,1000.000,101000.000,,,,0,,,,,,,,,,,,,,"
    assert read_layers_csv(path) == cpu_table.rows


# What CSV cannot tell from "not measured" is an empty text, so optional texts are never empty.
_names = st.text(max_size=20)
_texts = st.none() | st.text(min_size=1, max_size=20)
_whole = st.integers(min_value=0, max_value=2**63 - 1)
_counts = st.none() | _whole
_reals = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_table_rows = st.lists(
    st.builds(
        LayerRow,
        phase=_names,
        layer=_names,
        module=_names,
        group=_names,
        depth=_whole,
        calls=_whole,
        kernels=_whole,
        gpu_self_ns=_counts,
        gpu_total_ns=_counts,
        cpu_self_ns=_counts,
        cpu_total_ns=_counts,
        params=_counts,
        dtype=_texts,
        op_self_ns=_counts,
        flops_self=_counts,
        flops_total=_counts,
        macs_total=_counts,
        bytes_self=_counts,
        intensity=_reals,
        tflops_per_s=_reals,
        gb_per_s=_reals,
        roofline_ns=_counts,
        roofline_fraction=_reals,
        bound=_texts,
        memory_peak_bytes=_counts,
        attribution=_texts,
        energy_j=_reals,
        energy_source=_texts,
        modelled_ns=_counts,
    ),
    max_size=4,
)


@given(rows=_table_rows)
def test_round_trip(rows: list[LayerRow], tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = Whole(
        device_events=0,
        device_sum_ns=sum(row.gpu_self_ns or 0 for row in rows),
        device_active_ns=None,
        window_span_ns=None,
        host_window_ns=None,
    )
    path = tmp_path_factory.mktemp("round") / "layers.csv"
    write_layers_csv(LayerTable(rows=tuple(rows), root="generate", whole=whole), path)
    assert read_layers_csv(path) == tuple(rows)


def test_line_ends_in_a_name_survive(gpu_table: LayerTable, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    odd = replace(gpu_table.rows[0], layer='a\rb\nc,"d"')
    write_layers_csv(replace(gpu_table, rows=(odd,)), path)
    assert read_layers_csv(path) == (odd,)


def test_other_tables(gpu_account: Account, cpu_account: Account, tmp_path: Path) -> None:
    write_kernels_csv(gpu_account.kernels, tmp_path / "k")
    write_operators_csv(gpu_account.operators, tmp_path / "o")
    write_steps_csv((*gpu_account.steps, *cpu_account.steps), tmp_path / "s")
    assert (tmp_path / "k").read_text() == (
        "kernel,layer,phase,count,total_us,launch\n"
        '"gemm<a, b>",language_model,decode,7,1234.567,driver\n'
    )
    assert (tmp_path / "o").read_text() == (
        "operator,layer,phase,calls,cpu_self_us,cpu_total_us\n"
        "aten::mm,language_model,decode,7,1.000,2.500\n"
    )
    assert (tmp_path / "s").read_text() == (
        "step,phase,gpu_us,cpu_us,kernels\n0,prefill,9863.720,2000.001,12\n0,prefill,,2000.001,\n"
    )


def _edited(table: LayerTable, path: Path, old: str, new: str) -> Path:
    write_layers_csv(table, path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("layer,", "layr,", "has no column layer"),
        ("253.056", "253.06", "row 4, column gpu_self_us"),
        (",2,1,1,", ",,1,1,", "row 4, column depth: the cell is blank"),
        ("Conv2d,", "", "row 4: 29 cells under 30 columns"),
        ("Conv2d", '"Conv"2d', "not a layer table in CSV"),
    ],
)
def test_damage_is_named(
    gpu_table: LayerTable, tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = _edited(gpu_table, tmp_path / "layers.csv", old, new)
    with pytest.raises(DataError, match=said) as caught:
        read_layers_csv(path)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(gpu_table: LayerTable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_layers_csv(tmp_path / "absent.csv")
    with pytest.raises(EnvironmentProblem, match="cannot write"):
        write_layers_csv(gpu_table, tmp_path / "absent" / "layers.csv")


def test_share_is_blank_of_an_empty_whole(gpu_table: LayerTable, tmp_path: Path) -> None:
    empty = replace(gpu_table, whole=replace(gpu_table.whole, device_sum_ns=0), rows=())
    path = tmp_path / "layers.csv"
    write_layers_csv(empty, path)
    assert read_layers_csv(path) == ()
