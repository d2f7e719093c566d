from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.columns import COLUMNS
from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.records import LayerRow, LayerTable, Whole
from layerscope.records.tables import Account
from layerscope.report.csv import (
    lines_of_now,
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
    "energy_j,energy_source,modelled_us,layer_kind"
)


def test_columns_and_cells(gpu_table: LayerTable, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    write_layers_csv(gpu_table, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(HEADER)  # later ones come behind these
    # 253,056 / 210,096,345 = 0.001204476...
    assert lines[3].startswith(
        "vision,vision_model.patch_embedding,Conv2d,vision.conv,2,1,1,253.056,253.056,0.001204476,"
        "40000.000,40000.000,,,,20,,,,,,,,,,,,,,,vision_model.patch_embedding"
    )
    assert len(lines) == 1 + len(gpu_table.rows)


def test_without_a_device_its_cells_are_blank(cpu_table: LayerTable, tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    write_layers_csv(cpu_table, path)
    first = path.read_text(encoding="utf-8").splitlines()[1]
    assert first.startswith(
        "vision,generate,Tiny,other,0,1,,,,,1000.000,101000.000,,,,0,,,,,,,,,,,,,,,generate"
    )
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
        "kernel,layer,phase,calls,gpu_self_us,launch\n"
        '"gemm<a, b>",language_model,decode,7,1234.567,driver\n'
    )
    assert (tmp_path / "o").read_text() == (
        "operator,layer,phase,calls,cpu_self_us,cpu_total_us\n"
        "aten::mm,language_model,decode,7,1.000,2.500\n"
    )
    assert (tmp_path / "s").read_text() == (
        "step,phase,gpu_total_us,cpu_total_us,kernels\n"
        "0,prefill,9863.720,2000.001,12\n0,prefill,,2000.001,\n"
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
        ("Conv2d,", "", rf"row 4: {len(COLUMNS) - 1} cells under {len(COLUMNS)} columns"),
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


# Of version 0.1.0: no kinds, and a layer's parameters in the rows of all its phases.
_BEFORE = """\
phase,layer,module,group,depth,calls,params
prefill,m,M,other,1,1,0
prefill,m.b.0,Linear,other,2,1,72
prefill,m.b.1,Linear,other,2,1,72
prefill,m.b.2,Linear,other,2,1,40
decode,m,M,other,1,3,0
decode,m.b.0,Linear,other,2,3,72
decode,m.b.1,Linear,other,2,3,72
decode,m.b.2,Linear,other,2,3,40
"""


def test_a_table_of_the_first_version_gets_kinds_and_parameters_once(tmp_path: Path) -> None:
    (tmp_path / "layers.csv").write_text(_BEFORE)
    rows = read_layers_csv(tmp_path / "layers.csv")
    # 8 x 8 weights and 8 biases twice, 8 x 4 and 8 once.
    assert [row.layer_kind for row in rows] == 2 * ["m", "m.b.*", "m.b.*", "m.b.2"]
    assert [row.params for row in rows] == [0, 72, 72, 40, None, None, None, None]
    header, *lines = lines_of_now(tmp_path / "layers.csv")
    assert header == [column.name for column in COLUMNS]
    again = [dict(zip(header, line, strict=True)) for line in lines]
    assert [line["layer_kind"] for line in again] == [row.layer_kind for row in rows]
    assert [line["params"] for line in again] == ["0", "72", "72", "40", "", "", "", ""]
    assert [line["calls"] for line in again] == ["1"] * 4 + ["3"] * 4
    assert {line["gpu_self_us"] for line in again} == {""}
