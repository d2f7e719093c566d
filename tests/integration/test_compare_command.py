"""`layerscope compare` as a user runs it: real folders and traces, every exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.kineto import TraceWriter

from layerscope.cli.compare import command
from layerscope.core.errors import LayerscopeError
from layerscope.records import LatencySample, RunRecord, load, save

SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"
Compare = Callable[..., tuple[int, str, str]]


@pytest.fixture
def compare() -> Compare:
    """Run the verb's own command; returns exit code, output and the error's line."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        result: Result = CliRunner().invoke(command, [str(a) for a in arguments])
        error = result.exception
        if isinstance(error, LayerscopeError):
            return error.exit_code, result.output, str(error)
        if error is not None and not isinstance(error, SystemExit):
            raise error
        return result.exit_code, result.output, ""

    return run


def with_times(record: RunRecord, seconds: list[float]) -> RunRecord:
    first = record.latency[-1]
    samples = tuple(
        replace(first, batch=0, repeat=index, generate_ns=round(value * 1e9), warmup=False)
        for index, value in enumerate(seconds)
    )
    assert all(isinstance(item, LatencySample) for item in samples)
    return replace(record, latency=samples)


def folder(path: Path, record: RunRecord, *files: str) -> Path:
    path.mkdir()
    save(record, path / "run.json")
    for name in files:
        shutil.copy(SAMPLE / name, path / name)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    record = with_times(load(SAMPLE), [1.0] * 8)
    return folder(tmp_path / "base", record, "trace.json.gz", "work.json")


@pytest.fixture
def slower(tmp_path: Path) -> Path:
    record = with_times(load(SAMPLE), [1.12] * 8)
    record = replace(record, name="slower", config=replace(record.config, attention="eager"))
    return folder(tmp_path / "slower", record, "trace.json.gz", "work.json")


def test_verdicts_and_layers_of_two_runs(compare: Compare, base: Path, slower: Path) -> None:
    code, out, _ = compare(base, slower, "--top", "2")
    assert code == 0
    assert "run differently: attention sdpa -> eager" in out
    assert "slower by 12 % [12, 12]" in out
    assert "minus the change of the whole: 0 ns" in out
    assert "more rows" in out
    assert "one run a side" in out
    assert "unchanged" in out


def test_a_crossed_limit_ends_with_6_and_says_which(
    compare: Compare, base: Path, slower: Path
) -> None:
    code, out, error = compare(base, slower, "--fail-on", "latency>5%", "--fail-on", "flops>1%")
    assert code == 6
    assert error.startswith("--fail-on 'latency>5%': latency changed by +12.00 %: slower by 12 %")
    assert "flops" not in error
    assert "'flops>1%': not crossed: unchanged" in out
    assert compare(slower, base, "--fail-on", "latency>5%")[0] == 0
    assert compare(base, slower, "--fail-on", "latency>15%")[0] == 0


def test_a_bad_expression_ends_with_2_before_anything_is_read(compare: Compare) -> None:
    code, out, error = compare("nowhere", "nowhere", "--fail-on", "latency~5")
    assert (code, out) == (2, "")
    assert error.startswith("--fail-on 'latency~5': not METRIC OP VALUE[%]")
    assert compare("nowhere", "nowhere", "--json", "--markdown")[0] == 2


def test_unlike_environments_end_with_3_unless_anyway(
    compare: Compare, base: Path, tmp_path: Path
) -> None:
    record = load(base)
    machine = replace(record.environment, torch="2.0", cpu_model="Another CPU")
    other = folder(tmp_path / "other", replace(record, environment=machine), "trace.json.gz")
    code, out, error = compare(base, other)
    assert (code, out) == (3, "")
    assert "CPU: AMD EPYC and Another CPU; torch: 2.13.0+cpu and 2.0" in error
    assert "--anyway" in error
    code, out, _ = compare(base, other, "--anyway")
    assert code == 0
    assert "unlike environment: CPU AMD EPYC -> Another CPU; torch 2.13.0+cpu -> 2.0" in out


def test_what_cannot_be_read_ends_with_4(compare: Compare, base: Path, tmp_path: Path) -> None:
    code, _, error = compare(base, tmp_path / "nowhere")
    assert code == 4
    assert "nowhere" in error
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    assert compare(base, damaged)[0] == 4


def test_a_limit_on_what_was_not_measured_ends_with_4(
    compare: Compare, base: Path, slower: Path
) -> None:
    code, _, error = compare(base, slower, "--fail-on", "energy>5%")
    assert code == 4
    assert "'energy>5%': cannot be judged: both: no RAPL" in error


def test_json_and_markdown(compare: Compare, base: Path, slower: Path) -> None:
    code, out, _ = compare(base, slower, "--json", "--fail-on", "latency>5%")
    assert code == 6
    built = json.loads(out)
    assert built["schema_version"] == 1
    assert built["metrics"][0]["metric"] == "latency"
    assert built["metrics"][0]["shown"] is True
    assert built["conditions"][0]["crossed"] is True
    rows = built["layers"]["rows"]
    assert len(rows) == 411
    assert sum(row["change_ns"] for row in rows) == built["layers"]["change_ns"] == 0
    code, out, _ = compare(base, slower, "--markdown", "--top", "1")
    assert code == 0
    assert "| latency | 1 s/batch | 1.12 s/batch | +12.0 % | 3.0 % | slower by 12 %" in out


def test_a_run_whose_trace_was_thrown_away_has_its_saved_table(
    compare: Compare, base: Path, tmp_path: Path
) -> None:
    record = load(base)
    thin = folder(tmp_path / "thin", record, "layers.csv")
    code, out, _ = compare(base, thin, "--json")
    assert code == 0
    built = json.loads(out)
    assert all(row["status"] == "both" and row["change_ns"] == 0 for row in built["layers"]["rows"])
    assert built["layers"]["unexplained_ns"] == 0
    bare = folder(tmp_path / "bare", record)
    code, out, _ = compare(base, bare)
    assert code == 0
    assert "neither trace.json.gz nor layers.csv in it" in out


def test_a_saved_table_that_lost_a_row_ends_with_5(
    compare: Compare, base: Path, tmp_path: Path
) -> None:
    thin = folder(tmp_path / "thin", load(base), "layers.csv")
    lines = (thin / "layers.csv").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "vision_model.embeddings.patch_embedding," not in line]
    assert len(kept) == len(lines) - 1
    (thin / "layers.csv").write_text("".join(kept))
    code, _, error = compare(base, thin)
    assert code == 5
    assert "do not sum to the difference of the wholes" in error


def test_bare_traces(compare: Compare, base: Path, tmp_path: Path) -> None:
    paths = []
    for name, took in (("a", 70), ("b", 90)):
        writer = TraceWriter()
        writer.layer("generate", 1_000, 900)
        writer.layer("slow", 1_100, 500)
        writer.launch(1, 1_200)
        writer.kernel(1, 1_300, took)
        paths.append(writer.write(tmp_path / f"{name}.json"))
    code, out, _ = compare(*paths)
    assert code == 0
    assert "no headline numbers: no run record beside" in out
    assert "no significance stands behind" in out
    assert "largest change: slow (" in out
    assert "+0.020 us; the whole changed by +0.020 us" in out
    code, _, error = compare(*paths, "--fail-on", "device>5%")
    assert code == 4
    assert "no run record beside" in error
    assert compare(base, paths[0])[0] == 0
