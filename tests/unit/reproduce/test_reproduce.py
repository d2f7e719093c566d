"""What a reproduction puts into the shipped sweeps, what it keeps, and what it can prove."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from layerscope.config.plan import plan
from layerscope.config.sweep import settings_of
from layerscope.core.errors import DataError, UsageError
from layerscope.core.files import PINS_FILE
from layerscope.reproduce.checks import CellCheck, all_hold, jiwer_wer
from layerscope.reproduce.page import status_line
from layerscope.reproduce.paths import (
    Where,
    data_folders,
    datasets_of,
    placed,
    table_config,
)
from layerscope.reproduce.pins import Pins, kept_pins, read_pins
from layerscope.reproduce.tables import TABLES

COMMITS = {"coco": "c" * 40, "scienceqa": "5" * 40, "textvqa": "7" * 40}


def resolved(asked: Pins) -> Pins:
    return dataclasses.replace(asked, model_commit="a" * 40, datasets=COMMITS)


@pytest.mark.parametrize("table", TABLES)
def test_every_cell_reads_the_hub_at_the_pinned_commits(table: str) -> None:
    pins = resolved(Pins(variant="reference"))
    config = placed(table_config("reference", table), Where(), pins, {})
    for cell in plan(config, cuda=True, where=table, out="out"):
        assert cell.config.revision == "a" * 40
        assert cell.config.data_revision == COMMITS[cell.config.dataset]
        assert cell.config.data_dir is None
        assert cell.config.samples == 300


@pytest.mark.parametrize("table", TABLES)
def test_folders_take_the_place_of_the_hub_and_nothing_else_changes(table: str) -> None:
    shipped = table_config("reference", table)
    folders = {name: Path("/data") / name for name in COMMITS}
    config = placed(shipped, Where(model="/model"), Pins(variant="reference"), folders)
    ours = plan(config, cuda=True, where=table, out="out")
    theirs = plan(shipped, cuda=True, where=table, out="out")
    assert len(ours) == len(theirs)
    for mine, original in zip(ours, theirs, strict=True):
        assert mine.config.data_dir == f"/data/{original.config.dataset}"
        back = dataclasses.replace(mine.config, model=original.config.model, data_dir=None)
        assert back == original.config
        assert mine.settings == original.settings


def test_a_cpu_takes_the_place_of_the_gpu_but_in_the_table_that_compares_them() -> None:
    where = Where(device="cpu")
    batch = placed(table_config("reference", "batch_size"), where, Pins(variant="reference"), {})
    cells = plan(batch, cuda=False, where="batch", out="out")
    assert {(cell.config.device, cell.config.dtype) for cell in cells} == {("cpu", "fp32")}
    both = placed(table_config("reference", "device"), where, Pins(variant="reference"), {})
    assert [given["device"] for _, given in settings_of(both, where="")] == ["cuda", "cpu"]


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="give 16 or more"):
        placed(
            table_config("reference", "batch_size"),
            Where(samples=8),
            Pins(variant="reference"),
            {},
        )


def test_a_data_set_is_found_under_its_own_name_or_its_repository_s(tmp_path: Path) -> None:
    (tmp_path / "textvqa").mkdir()
    (tmp_path / "derek-thomas" / "ScienceQA").mkdir(parents=True)
    (tmp_path / "COCO-Caption").mkdir()
    used = datasets_of({name: table_config("reference", name) for name in TABLES})
    assert sorted(used) == ["coco", "scienceqa", "textvqa"]
    found = data_folders(tmp_path, used)
    assert found["coco"] == tmp_path / "COCO-Caption"
    assert found["scienceqa"] == tmp_path / "derek-thomas" / "ScienceQA"
    (tmp_path / "COCO-Caption").rmdir()
    with pytest.raises(DataError, match=r"no folder coco \(or lmms-lab/COCO-Caption\)"):
        data_folders(tmp_path, used)


def test_commits_are_asked_for_once_and_kept(tmp_path: Path) -> None:
    asked = Pins(variant="reference", model="owner/name")
    calls = []

    def resolve(pins: Pins) -> Pins:
        calls.append(pins)
        return resolved(pins)

    first = kept_pins(tmp_path, asked, resolve)
    assert kept_pins(tmp_path, asked, resolve) == first == read_pins(tmp_path)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "other/name"}, "--model other/name"),
        ({"samples": 32}, "--samples 32"),
        ({"device": "cpu"}, "--device cpu"),
        ({"data_dir": "/data"}, "--data-dir /data"),
        ({"variant": "tiny"}, "--variant tiny"),
    ],
)
def test_a_folder_started_otherwise_is_refused(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    asked = Pins(variant="reference", model="owner/name")
    kept_pins(tmp_path, asked, resolved)
    with pytest.raises(UsageError) as refused:
        kept_pins(tmp_path, dataclasses.replace(asked, **change), resolved)
    assert said in str(refused.value)
    assert "another --out" in str(refused.value)


def test_damaged_pins_are_named(tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).write_text("{")
    with pytest.raises(DataError, match="not the pins of a reproduction"):
        read_pins(tmp_path)


def predictions(path: Path, pairs: list[tuple[str, list[str]]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample_id", "prediction", "references"])
        writer.writerows([f"s{i}", p, json.dumps(r)] for i, (p, r) in enumerate(pairs))
    return path


def test_the_rate_of_a_predictions_file_by_hand(tmp_path: Path) -> None:
    """One substitution, one deletion, two insertions into 5 words: 4/5."""
    path = predictions(
        tmp_path / "predictions.csv",
        [("a red cat", ["a red dog", "cat"]), ("", ["stop"]), ("go on now", ["go"])],
    )
    assert jiwer_wer(path, "none") == pytest.approx(4 / 5, abs=0)


def test_words_said_where_there_are_none_to_say_are_errors(tmp_path: Path) -> None:
    path = predictions(tmp_path / "predictions.csv", [("two words", ["."]), ("yes", ["yes"])])
    assert jiwer_wer(path, "lower-punct") == 2.0


CHECK = CellCheck(
    table="batch_size",
    cell="batch_size=1",
    status="ok",
    difference_ns=0,
    wer_value=0.5,
    wer_jiwer=0.5,
    answers=4,
    load_s=1.0,
    host_peak_bytes=1,
)


@pytest.mark.parametrize(
    "change",
    [{"difference_ns": 1}, {"wer_jiwer": 0.25}, {"wer_jiwer": None}, {"status": "failed"}],
)
def test_a_check_fails_where_two_files_disagree(change: dict[str, object]) -> None:
    assert CHECK.holds
    assert not dataclasses.replace(CHECK, **change).holds  # type: ignore[arg-type]
    assert not all_hold([CHECK, dataclasses.replace(CHECK, **change)])  # type: ignore[arg-type]


def test_nothing_checked_is_nothing_proven() -> None:
    assert not all_hold([])


def test_the_page_says_whose_weights_ran() -> None:
    assert status_line(Pins(variant="reference"), {}).startswith("On the published weights")
    folder = status_line(Pins(variant="reference", model="/folder"), {})
    assert folder.startswith("**Not known to be the published weights**")
    assert status_line(Pins(variant="tiny"), {}).startswith("**A rehearsal**")


def test_the_hash_of_a_weight_file_is_the_one_the_hub_lists(tmp_path: Path) -> None:
    from layerscope.reproduce.pins import sha256_of

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    assert sha256_of(path) == hashlib.sha256(b"weights").hexdigest()
