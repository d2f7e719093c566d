from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from layerscope.core.errors import UsageError
from layerscope.core.vocabulary import BEFORE_WINDOW
from layerscope.records import LayerTable, RunRecord
from layerscope.records.tables import Account
from layerscope.report.accounting_line import accounting_line
from layerscope.report.console import Traced, render_account, render_quiet, render_run
from layerscope.report.page import printable, shortened
from layerscope.report.selection import Selection
from layerscope.report.summary import summary_json
from layerscope.report.sums import by_group, by_phase

Screen = Callable[..., Any]
Golden = Callable[[str, str], None]
FOLDER = Path("traces/20261124-tiny-b2-32px")
DEVICE_LINE = (
    "device 210,096.345 us = modules 208,663.457 + generate outside modules 1,432.888 "
    "+ no launch record 0.000; difference 0 ns"
)
HOST_LINE = (
    "host 1,015,000.000 us = modules 1,000,000.000 + generate outside modules 10,000.000 "
    "+ outside model 5,000.000; difference 0 ns"
)


def test_accounting_line(gpu_table: LayerTable, cpu_table: LayerTable) -> None:
    assert accounting_line(gpu_table) == DEVICE_LINE
    assert accounting_line(cpu_table) == HOST_LINE


def test_accounting_line_names_every_filled_bucket(gpu_table: LayerTable) -> None:
    held = replace(
        gpu_table.rows[-1], layer=BEFORE_WINDOW, kernels=1, gpu_self_ns=7, gpu_total_ns=7
    )
    line = accounting_line(replace(gpu_table, rows=(*gpu_table.rows, held)))
    assert line.endswith("+ no launch record 0.000 + before window 0.007; difference 7 ns")


def test_sums_add_up(gpu_table: LayerTable, cpu_table: LayerTable) -> None:
    for parts in (by_phase(gpu_table), by_group(gpu_table)):
        assert sum(part.gpu_self_ns or 0 for part in parts) == 210_096_345
        assert sum(part.kernels for part in parts) == 33_881
        assert sum(part.gpu_share or 0 for part in parts) == pytest.approx(1)
    assert [(part.name, part.gpu_self_ns) for part in by_phase(gpu_table)] == [
        ("vision", 15_514_679),
        ("decode", 194_581_666),
    ]
    host = by_phase(cpu_table)
    assert [part.name for part in host] == ["vision", "decode", "(outside model)"]
    assert sum(part.cpu_self_ns or 0 for part in host) == 1_015_000_000
    assert all(part.gpu_self_ns is None for part in host)


@pytest.mark.parametrize("kind", ["gpu", "cpu"])
def test_run(kind: str, request: pytest.FixtureRequest, screen: Screen, golden: Golden) -> None:
    shown = screen()
    record = request.getfixturevalue(f"{kind}_record")
    traced = Traced(account=request.getfixturevalue(f"{kind}_account"))
    render_run(record, traced, shown.console, folder=FOLDER, verbose=True)
    assert "\x1b" not in shown.text
    assert "[red]" in shown.text
    assert "tiny[/]" in shown.text
    assert "a [bold]warning[/bold]" in shown.text
    golden(f"run_{kind}", shown.text)


def test_run_without_a_trace(cpu_record: RunRecord, screen: Screen) -> None:
    shown = screen()
    render_run(replace(cpu_record, trace=None), None, shown.console)
    assert "the run was not traced" in shown.text


def test_layers(gpu_account: Account, screen: Screen, golden: Golden) -> None:
    shown = screen()
    render_account(gpu_account, shown.console, Selection(top=2))
    render_account(gpu_account, shown.console, Selection(depth=1))
    render_account(gpu_account, shown.console, Selection(phase="vision", sort="params"))
    render_account(gpu_account, shown.console, form="groups")
    golden("layers", shown.text)


def test_failed_account_says_so(gpu_account: Account, screen: Screen) -> None:
    table = gpu_account.table
    broken = replace(table, rows=table.rows[:-2])  # without language_model
    shown = screen()
    render_account(replace(gpu_account, table=broken), shown.console)
    assert "accounting: failed: device time: rows minus trace = -193148778 ns" in shown.text
    assert "difference -193148778 ns" in shown.text


def test_unknown_choices_are_refused(gpu_account: Account, screen: Screen) -> None:
    console = screen().console
    with pytest.raises(UsageError, match="it has vision, decode"):
        render_account(gpu_account, console, Selection(phase="prefil"))
    with pytest.raises(UsageError, match="did you mean gpu_self_us"):
        render_account(gpu_account, console, Selection(sort="gpu_self"))
    with pytest.raises(UsageError, match="leave out"):
        render_account(gpu_account, console, Selection(depth=1), form="groups")


def test_quiet(gpu_account: Account, screen: Screen) -> None:
    shown = screen()
    render_quiet(gpu_account, shown.console, folder=FOLDER)
    assert shown.text == f"{DEVICE_LINE}\n{FOLDER}\n"


def test_a_narrow_terminal_shortens_names_and_breaks_at_words(
    gpu_account: Account, screen: Screen
) -> None:
    shown = screen(force_terminal=True, width=50, color_system=None)
    render_account(gpu_account, shown.console)
    assert "..patch_embed" in shown.text
    assert "vision_model.patch_embedding" not in shown.text
    assert "1.43" in shown.text
    assert DEVICE_LINE in " ".join(shown.text.split())
    assert all(len(line) <= 50 for line in shown.text.splitlines())
    wide = screen(force_terminal=True, width=200)
    render_account(gpu_account, wide.console)
    assert "vision_model.patch_embedding" in wide.text
    assert "\x1b[" in wide.text


def test_hostile_names_are_literal(gpu_account: Account, screen: Screen) -> None:
    table = gpu_account.table
    evil = replace(table.rows[2], layer="vision_model.\x1b[2J[red]:smile:\nx", module="[/]")
    shown = screen()
    render_account(
        replace(gpu_account, table=replace(table, rows=(*table.rows[:2], evil, *table.rows[3:]))),
        shown.console,
    )
    assert "vision_model.\\x1b[2J[red]:smile:\\nx " in shown.text
    assert "\x1b" not in shown.text


def test_printable_and_shorten() -> None:
    assert printable("a\tü") == "a\\tü"
    assert printable("ü", "ascii") == "\\xfc"
    assert printable("\ud800") == "\\ud800"
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghij", 7) == "abc..ij"
    assert shortened("日本語日本語", 7) == "日..語"


def test_a_cut_name_keeps_its_numbers() -> None:
    wo = "language_model.encoder.block.17.layer.1.DenseReluDense.wo"
    assert shortened(wo, 56) == "..encoder.block.17.layer.1.DenseReluDense.wo"
    assert shortened(wo, 40) == "..encoder.block.17.layer.1..wo"
    assert shortened(wo, 24) == "..block.17.layer.1..wo"
    assert shortened(wo, 20) == "..block.17..1..wo"
    kind = "vision_model.encoder.layers.*.mlp.fc1 ×39"
    assert shortened(kind, 34) == "..encoder.layers.*.mlp.fc1 ×39"
    assert shortened(kind, 24) == "..layers.*..fc1 ×39"
    for width in range(8, 60):
        assert len(shortened(wo, width)) <= width


def test_json(cpu_record: RunRecord, cpu_account: Account, golden: Golden) -> None:
    text = summary_json(cpu_record, cpu_account, folder=FOLDER)
    built = msgspec.json.decode(text)
    assert built["account"]["line"] == HOST_LINE
    assert built["account"]["host_window_us"] == 1_015_000.0
    assert built["account"]["device_sum_us"] is None
    assert built["run"]["profiled_slowdown"] == 1.5
    assert built["report"]["energy"]["reason"] == "no NVML device"
    golden("summary", text + "\n")
    bare = msgspec.json.decode(summary_json(None, cpu_account))
    assert bare.keys() == built.keys()


def test_import_is_light() -> None:
    heavy = ("torch", "transformers", "pandas", "numpy", "pyarrow", "tensorboard")
    modules = "console, csv, parquet, tensorboard, markdown, progress, summary".replace(
        " ", ""
    ).split(",")
    code = "import sys\n" + "".join(f"import layerscope.report.{name}\n" for name in modules)
    code += f"print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
