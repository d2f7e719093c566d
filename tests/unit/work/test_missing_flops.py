"""FLOPs that are not known stay blank: up the tree, in sums, rooflines, floors, files and screens."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from layerscope.account.compiled_regions import folded
from layerscope.core.errors import AccountingError
from layerscope.records import Account
from layerscope.records.layer_table import LayerRow, LayerTable, Whole, flops_of
from layerscope.records.work import CountedWork, OperatorCount, PartWork, WorkRow, missing_text
from layerscope.report.csv import read_layers_csv, write_layers_csv
from layerscope.report.flops import _not_counted, _part_grid
from layerscope.report.page import Page
from layerscope.report.sums import by_group, by_phase
from layerscope.work.enrich import with_counted_work
from layerscope.work.floor import as_dtype, floor_of
from layerscope.work.rates import Rates
from layerscope.work.roofline import phase_use, with_roofline, with_work

RATES = Rates(flops_per_s={"float32": 1e9}, bytes_per_s=1e9)
NAME = "mine.attn.default"


def row(layer: str, depth: int) -> LayerRow:
    return LayerRow(
        phase="forward", layer=layer, module="M", group="other", depth=depth, calls=1, kernels=1,
        gpu_self_ns=100, gpu_total_ns=None, cpu_self_ns=10, cpu_total_ns=10, params=0,
    )  # fmt: skip


def did(layer: str, flops: int | None, missing: tuple[str, ...] = ()) -> WorkRow:
    return WorkRow(
        layer=layer, phase="forward", calls=1, flops=flops, bytes_self=50, operators=1,
        flops_by_dtype={"float32": flops or 7}, missing=missing,
    )  # fmt: skip


PART = PartWork(
    part="forward", phase="forward", step=1, flops=None, flops_by_dtype={"float32": 27},
    weight_bytes_by_dtype={"float32": 8}, input_bytes=4, missing=(NAME,),
)  # fmt: skip
WORK = CountedWork(
    root="forward",
    rows=(did("a", 20), did("a.b", None, (NAME,)), did("c", 30)),
    parts=(PART,),
    flops=None,
    counted_flops=57,
    bytes_moved=150,
    missing=(OperatorCount(operator=NAME, calls=2, bytes_moved=50),),
    uncounted=(),
    moved=(),
    views=0,
    decoder_steps=0,
    memory_peak_bytes=None,
    memory_method="",
)
ROWS = (row("forward", 0), row("a", 1), row("a.b", 2), row("c", 1))


def account(work: CountedWork) -> Account:
    whole = Whole(
        device_events=4, device_sum_ns=400, device_active_ns=400, window_span_ns=400,
        host_window_ns=None,
    )  # fmt: skip
    table = LayerTable(rows=ROWS, root="forward", whole=whole)
    needed = (f.name for f in dataclasses.fields(Account) if f.default is dataclasses.MISSING)
    given: dict[str, object] = dict.fromkeys(needed, ()) | {"table": table}
    return with_counted_work(Account(**given), work, None, "highest").account  # type: ignore[arg-type]


def test_a_layer_and_all_above_it_are_blank() -> None:
    rows = with_work(ROWS, WORK, "forward")
    assert {r.layer: (r.flops_self, r.flops_total, r.macs_total) for r in rows} == {
        "forward": (0, None, None),
        "a": (20, None, None),
        "a.b": (None, None, None),
        "c": (30, 30, 15),
    }


def test_rates_without_the_flops_are_blank_and_bytes_stay() -> None:
    rows = with_roofline(with_work(ROWS, WORK, "forward"), WORK, RATES)
    blank = next(r for r in rows if r.layer == "a.b")
    assert (blank.intensity, blank.tflops_per_s, blank.roofline_ns) == (None, None, None)
    assert blank.roofline_fraction is None
    assert blank.bound == ""
    assert blank.gb_per_s == 0.5
    (use,) = phase_use(rows, WORK, RATES, floor_of(WORK.parts, RATES))
    assert (use.flops, use.tflops_per_s, use.of_matmul_rate, use.floor_use) == (
        None,
        None,
        None,
        None,
    )


def test_the_floor_says_which_operator_keeps_it_from_being_known() -> None:
    for parts in (WORK.parts, as_dtype(WORK.parts, "float32", 4)):
        floor = floor_of(parts, RATES)
        assert floor.floor_ns is None
        assert floor.reason == f"products are missing: no FLOP formula for {NAME}"


def test_rules_3_and_5_hold_with_blanks_and_notice_a_wrong_one() -> None:
    table = account(WORK).table
    assert table.whole.flops is None
    assert not [text for text in table.failures() if "flops" in text.lower()]
    filled = tuple(
        dataclasses.replace(r, flops_total=1) if r.layer == "a" else r for r in table.rows
    )
    failures = dataclasses.replace(table, rows=filled).failures()
    assert any("a (forward): FLOPs of a layer below" in failure for failure in failures)
    with pytest.raises(AccountingError, match=r"sum 57 is not the counter's 58"):
        account(dataclasses.replace(WORK, counted_flops=58))


def test_sums_over_a_blank_are_blank() -> None:
    table = account(WORK).table
    assert [part.flops_self for part in (*by_phase(table), *by_group(table))] == [None, None]
    assert flops_of(table.rows) is None
    assert flops_of(r for r in table.rows if r.layer == "c") == 30


def test_layers_csv_keeps_the_blank(tmp_path: Path) -> None:
    write_layers_csv(account(WORK).table, tmp_path / "layers.csv")
    read = read_layers_csv(tmp_path / "layers.csv")
    assert [r.flops_self for r in read] == [0, 20, None, 30]
    assert [r.flops_total for r in read] == [None, None, None, 30]


def test_a_compiled_part_takes_over_what_is_missing_inside_it() -> None:
    whole, outside = folded(WORK, ["a"], [("a", "forward"), ("c", "forward")]).rows
    assert (whole.layer, whole.flops, whole.missing) == ("a", None, (NAME,))
    assert whole.counted_flops == 27
    assert outside.flops == 30


def test_one_line_says_that_products_are_missing() -> None:
    assert missing_text(()) == ""
    assert WORK.missing_text == f"products are missing: no FLOP formula for {NAME} (2 calls)"
    out = StringIO()
    page = Page(Console(file=out, width=120))
    page.grid(_part_grid(WORK))
    _not_counted(page, WORK)
    shown = out.getvalue()
    assert shown.count(WORK.missing_text) == 1
    (line,) = (text.split() for text in shown.splitlines() if text.startswith("forward"))
    assert line == ["forward", "forward", "1", "-", "-", "-"]
