"""One run on a real data set's layout states quality, latency, energy and FLOPs with their method."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from support.command import layerscope
from support.hub_layouts import plain, row, stored, write

from layerscope.measure.energy.rapl import find_domains
from layerscope.records import EnergyAbsent, RunRecord, load

# One broken image in twenty-four rows: fewer than 5 %.
ROWS, SAMPLES, BATCH = 24, 8, 4


def run(out: Path, data: Path, dataset: str, *further: str) -> tuple[RunRecord, str]:
    done = layerscope(
        "profile", "--model", "tiny", "--device", "cpu", "--dataset", dataset, "--data-dir", data,
        "--batch", BATCH, "--samples", SAMPLES, "--warmup", 1, "--max-new-tokens", 2,
        "--measure-limit-s", 0.3, "--verbose", "--out", out, *further,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return load(folder), done.stdout


@pytest.fixture(scope="module")
def textvqa(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunRecord, str, Path]:
    data = tmp_path_factory.mktemp("textvqa")
    rows = [row("textvqa", i, image=stored(plain(30 + 8 * i))) for i in range(ROWS)]
    write("textvqa", rows, data)
    out = tmp_path_factory.mktemp("runs")
    record, shown = run(out, data, "textvqa")
    return record, shown, next(out.iterdir())


def test_every_headline_number_is_there_or_says_why_not(
    textvqa: tuple[RunRecord, str, Path],
) -> None:
    record, shown, _ = textvqa
    report = record.report
    assert report.wer_value.value is not None
    assert report.latency.value is not None
    assert report.flops.value is not None
    if isinstance(find_domains(), EnergyAbsent):
        assert report.energy.value is None
        assert "RAPL" in (report.energy.reason or "")
    else:
        assert report.energy.value is not None
    assert all(
        r.definition for r in (report.wer_value, report.latency, report.energy, report.flops)
    )
    for part in ("first token", "samples/s", "p90", "WER", "KV cache", "stopped:"):
        assert part in shown


def test_the_quality_can_be_recomputed_from_the_predictions(
    textvqa: tuple[RunRecord, str, Path],
) -> None:
    record, _, folder = textvqa
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SAMPLES
    errors = sum(int(r["errors"]) for r in rows)
    words = sum(int(r["reference_words"]) for r in rows)
    assert record.report.wer_value.value == pytest.approx(errors / words)
    assert all(len(json.loads(r["references"])) == 10 for r in rows)
    assert record.quality is not None
    assert record.quality.vqa_accuracy is not None


def test_what_ran_is_recorded(textvqa: tuple[RunRecord, str, Path]) -> None:
    record, _, _ = textvqa
    assert not record.workload.synthetic
    assert record.workload.prompt == "Question: {question} Short answer:"
    assert len(record.workload.batches) == SAMPLES // BATCH
    assert record.memory is not None
    assert (record.memory.kv_cache_bytes or 0) > 0
    assert len(record.first_token) >= 5


def test_a_broken_sample_is_skipped_and_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [row("textvqa", i, image=stored(plain(30 + 8 * i))) for i in range(ROWS)]
    rows[2] = row("textvqa", 2, image=stored(b"no image at all"))
    write("textvqa", rows, data)
    record, shown = run(
        tmp_path / "runs", data, "textvqa", "--samples", str(ROWS - 2), "--no-trace"
    )
    assert len(record.workload.skipped) == 1
    assert "broken samples skipped" in shown
    assert record.account is None


def test_lettered_answers_are_scored_in_both_forms(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [row("scienceqa", i, image=stored(plain(30 + 8 * i))) for i in range(ROWS)]
    write("scienceqa", rows, data)
    record, _ = run(tmp_path / "runs", data, "scienceqa", "--answer-form", "letter", "--no-trace")
    assert set(record.quality_by_answer_form) == {"letter", "text"}
    assert record.quality == record.quality_by_answer_form["letter"]
