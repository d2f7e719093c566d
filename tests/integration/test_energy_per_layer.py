"""`--energy-per-layer` through the real `profile`, RAPL read from files: sums equal the whole."""

from __future__ import annotations

import csv
import functools
import json
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.command import layerscope
from support.fake_powercap import fake_powercap
from support.small_model import small_yaml

from layerscope.cli.profile import command
from layerscope.core.errors import DataError
from layerscope.measure.energy import rapl
from layerscope.measure.energy.energy_pass import measure_energy
from layerscope.measure.energy.window import WindowTiming
from layerscope.passes import energy as energy_pass
from layerscope.passes import replay as replay_pass
from layerscope.records import load
from layerscope.runs.replay_file import read_replay
from layerscope.runs.run import Run

STEPS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One run of a model of one layer of everything, with shorter windows than a user's."""
    folder = tmp_path_factory.mktemp("energy")
    short = WindowTiming(min_s=0.1)
    quick = functools.partial(measure_energy, timing=short)
    with fake_powercap(folder / "powercap") as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rapl, "find_domains", functools.partial(rapl.find_domains, root))
        patch.setattr(energy_pass, "measure_energy", quick)
        patch.setattr(energy_pass, "MIN_WINDOWS", 2)
        patch.setattr(replay_pass, "Bench", functools.partial(replay_pass.Bench, timing=short))
        done = CliRunner().invoke(
            command,
            [
                "--model", str(small_yaml(folder)), "--weights", "random", "--device",
                "cpu", "--batch", "2", "--samples", "2", "--warmup", "1", "--image-size", "28",
                "--max-input-len", "8", "--max-new-tokens", str(STEPS), "--measure-limit-s", "0.1",
                "--energy-per-layer", "--energy-limit-s", "9", "--out", str(folder / "runs"),
            ],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    (made,) = (folder / "runs").iterdir()
    return made, done.output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def joules(table: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["energy_j"]) for row in table if row["energy_j"]), Decimal(0))


def test_both_tables_sum_to_the_joules_measured_whole_exactly(run: tuple[Path, str]) -> None:
    folder, _ = run
    saved = Run.open(folder)
    whole = saved.account.table.whole.energy_nj
    assert whole is not None
    assert whole > 0
    assert joules(rows(folder / "layers.csv")) * 10**9 == whole
    assert joules(rows(folder / "layer_energy.csv")) * 10**9 == whole
    record = load(folder)
    assert record.account is not None
    assert record.account.status == "ok"
    reported = record.report.energy.value
    assert reported is not None
    assert whole / 1e9 == pytest.approx(2 * reported, rel=1e-6)


def test_every_row_says_where_its_joules_come_from(run: tuple[Path, str]) -> None:
    table = rows(run[0] / "layers.csv")
    for row in table:
        assert bool(row["energy_j"]) == (row["energy_source"] in ("replay", "apportioned"))
    units = {row["unit"]: row for row in rows(run[0] / "layer_energy.csv")}
    block = units["language_model.decoder.block.0 (decode)"]
    assert block["energy_source"] == "replay"
    assert int(block["calls"]) == STEPS - 1
    assert Decimal(block["dynamic_j_per_call"]) > 0
    assert int(block["windows"]) >= 1
    at_block = [
        row
        for row in table
        if row["layer"] == "language_model.decoder.block.0" and row["phase"] == "decode"
    ]
    assert at_block[0]["energy_j"] == block["energy_j"]
    below = [r for r in table if r["layer"].startswith("language_model.decoder.block.0.")]
    assert below
    assert all(row["energy_j"] == "" for row in below)


def test_the_raw_windows_are_in_the_folder(run: tuple[Path, str]) -> None:
    folder, _ = run
    assert load(folder).files["replay"] == "replay.json"
    replay = read_replay(folder / "replay.json")
    assert replay is not None
    assert "RAPL package-0" in replay.sources[0]
    assert all(unit.windows or unit.reason for unit in replay.units)
    # A window begins where the ones before say that it will end in time; a machine that becomes busy
    # within it stretches it. test_replay_schedule holds the rule itself, on a clock of its own.
    assert replay.limit_s == 9
    assert replay.spent_s < 2 * replay.limit_s
    assert {unit.role for unit in replay.units} == {"layer", "whole"}


def test_the_screen_shows_raw_sum_reconciled_sum_and_factor(run: tuple[Path, str]) -> None:
    shown = run[1]
    for part in ("energy by kind of layer", "raw sum", "factor", "difference 0 nJ", "in one go"):
        assert part in shown


def test_the_report_and_the_figure_show_the_joules(run: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = run
    assert (folder / "figures" / "energy.svg").read_text().startswith("<?xml")
    assert load(folder).files["figure_energy_svg"] == "figures/energy.svg"
    page = tmp_path / "report.html"
    done = layerscope("report", folder, "--html", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for part in ("Where the joules go", "vision_model.encoder", "reconciled sum", "raw sum"):
        assert part in text
    assert "Joules of replayed layers against their time" in text


def test_layers_makes_the_same_table_again_from_the_files(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    again = tmp_path / "again.csv"
    done = layerscope("layers", run[0], "--csv", again)
    assert done.returncode == 0, done.stderr
    assert "end to end = sum of the rows; difference 0 nJ" in done.stdout
    assert again.read_bytes() == (run[0] / "layers.csv").read_bytes()


@pytest.mark.parametrize(
    ("path", "value"),
    [(("replayed",), []), (("windows", 0, "window", "batches"), []),
     (("windows", 0, "window", "counters", 0, "after"), None),
     (("windows", 0, "window", "counters", 0, "end", "time_ns"), 5), (("calls",), "many")],
)  # fmt: skip
def test_a_damaged_record_of_windows_is_refused_in_one_line(
    run: tuple[Path, str], tmp_path: Path, path: tuple[str | int, ...], value: object
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run[0], copy)
    held = json.loads((copy / "replay.json").read_text())
    place = next(unit for unit in held["units"] if unit["windows"])
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (copy / "replay.json").write_text(json.dumps(held))
    with pytest.raises(DataError, match=r"replay\.json: not a record of replayed layers"):
        _ = Run.open(copy).account


def test_without_the_trace_the_written_table_still_proves_itself(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run[0], copy)
    (copy / "trace.json.gz").unlink()
    table = Run.open(copy).account.table
    table.check()
    assert table.energy_difference_nj == 0


def test_a_machine_without_a_counter_says_so_in_one_line(tmp_path: Path) -> None:
    none_here = functools.partial(rapl.find_domains, tmp_path / "nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rapl, "find_domains", none_here)
        done = CliRunner().invoke(
            command,
            [
                "--model", str(small_yaml(tmp_path)), "--weights", "random", "--device",
                "cpu", "--batch", "1", "--samples", "1", "--warmup", "0", "--image-size", "28",
                "--max-input-len", "8", "--max-new-tokens", "2", "--measure-limit-s", "0.1",
                "--energy-per-layer=groups", "--out", str(tmp_path / "runs"),
            ],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("energy by layer")]
    assert len(lines) == 1
    assert "not measured: no RAPL package counter" in lines[0]
    (folder,) = (tmp_path / "runs").iterdir()
    assert {row["energy_j"] for row in rows(folder / "layers.csv")} == {""}
    assert not (folder / "layer_energy.csv").exists()
    assert json.loads((folder / "replay.json").read_text())["reason"].startswith("no RAPL")


def test_it_needs_the_trace_and_known_words() -> None:
    refused = layerscope("profile", "--energy-per-layer", "--no-trace")
    assert refused.returncode == 2
    assert "energy per layer needs the trace" in refused.stderr
    refused = layerscope("profile", "--energy-per-layer=blocks,visoin")
    assert refused.returncode == 2
    assert "unknown word `visoin`" in refused.stderr
