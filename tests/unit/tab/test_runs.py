"""Which folders are runs, in which order, and what may be read of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from layerscope.tab.runs import FILES, RunList


def write_run(folder: Path, created: str = "2026-01-01T00:00:00+00:00", **fields: object) -> Path:
    folder.mkdir(parents=True)
    record = {"schema_version": 1, "name": folder.name, "created_utc": created, **fields}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "layers.csv").write_text("phase,layer\n", encoding="utf-8")
    return folder


def ids(runs: RunList) -> list[str]:
    return [run.id for run in runs.all()]


def test_runs_are_listed_newest_first_at_any_depth(tmp_path: Path) -> None:
    write_run(tmp_path / "old", "2026-01-01T00:00:00+00:00")
    write_run(tmp_path / "sweep" / "cells" / "new", "2026-03-01T00:00:00+00:00")
    write_run(tmp_path / "middle", "2026-02-01T00:00:00+00:00")
    assert ids(RunList(tmp_path)) == ["sweep/cells/new", "middle", "old"]


def test_a_run_that_comes_later_is_seen_and_one_being_written_is_not(tmp_path: Path) -> None:
    runs = RunList(tmp_path / "traces")  # does not exist yet
    assert not runs.any()
    write_run(tmp_path / "traces" / ".partial-a")
    assert (runs.any(), ids(runs)) == (False, [])
    (tmp_path / "traces" / ".partial-a").rename(tmp_path / "traces" / "a")
    assert (runs.any(), ids(runs)) == (True, ["a"])


def test_the_log_folder_may_itself_be_a_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "only")
    runs = RunList(folder)
    assert ids(runs) == ["."]
    assert runs.file(".", "layers") == folder / "layers.csv"


def test_a_record_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    record = write_run(tmp_path / "a", account={"device_sum_us": 1.0}) / "run.json"
    runs = RunList(tmp_path)
    assert runs.all()[0].summary["account"] == {"device_sum_us": 1.0}
    stat = record.stat()
    text = record.read_text(encoding="utf-8")
    record.write_text(text.replace("1.0", "2.0"), encoding="utf-8")
    os.utime(record, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert runs.all()[0].summary["account"] == {"device_sum_us": 1.0}  # same size, same time
    os.utime(record, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert runs.all()[0].summary["account"] == {"device_sum_us": 2.0}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"config": 3}', '{"name": "\\ud800"}', "\xff"])
def test_a_broken_record_lists_with_its_problem(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path / "a")
    (folder / "run.json").write_bytes(text.encode("latin-1"))
    summary = RunList(tmp_path).all()[0].summary
    assert summary["name"] == "a"
    assert summary["problem"].startswith("run.json is not a run record")


@pytest.mark.parametrize(
    "run_id", ["..", "../outside", "a/..", "a/../../outside", "/etc", "", "a\x00", "./a", "A"]
)
def test_only_a_listed_id_names_a_run(tmp_path: Path, run_id: str) -> None:
    write_run(tmp_path / "outside")
    write_run(tmp_path / "log" / "a")
    runs = RunList(tmp_path / "log")
    assert runs.file("a", "layers")
    assert runs.file(run_id, "layers") is None


@pytest.mark.parametrize("name", ["run.json", "../run.json", "layers.csv", "", "events"])
def test_only_known_names_are_files(tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "a")
    assert RunList(tmp_path).file("a", name) is None


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    outside = write_run(tmp_path / "outside")
    (outside / "trace.json.gz").write_bytes(b"secret")
    inside = write_run(tmp_path / "log" / "a")
    (inside / "trace.json.gz").symlink_to(outside / "trace.json.gz")
    (tmp_path / "log" / "linked").symlink_to(outside, target_is_directory=True)
    half = tmp_path / "log" / "half"
    half.mkdir()
    (half / "run.json").symlink_to(outside / "run.json")
    runs = RunList(tmp_path / "log")
    assert ids(runs) == ["a"]
    assert runs.all()[0].summary["files"] == ["layers"]
    assert runs.file("a", "trace") is None
    assert runs.file("linked", "layers") is None


def test_a_log_folder_reached_by_a_link_works(tmp_path: Path) -> None:
    write_run(tmp_path / "real" / "a")
    (tmp_path / "log").symlink_to(tmp_path / "real", target_is_directory=True)
    assert ids(RunList(tmp_path / "log")) == ["a"]
    file = RunList(tmp_path / "log").file("a", "layers")
    assert file is not None
    assert file.samefile(tmp_path / "real" / "a" / "layers.csv")
    # Below it no link is followed, wherever it leads.
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real" / "a", target_is_directory=True)
    (tmp_path / "real" / "a" / "steps.csv").symlink_to(tmp_path / "real" / "a" / "layers.csv")
    assert ids(RunList(tmp_path / "log")) == ["a"]
    assert RunList(tmp_path / "log").file("a", "steps") is None


def test_what_is_handed_out_has_no_environment_variables_nor_event_files() -> None:
    assert set(FILES.values()) == {"layers.csv", "steps.csv", "findings.json", "trace.json.gz"}
