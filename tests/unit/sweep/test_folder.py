"""What a killed process leaves in a sweep's folder, and what is damaged in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.records.sweep import CellFailure
from layerscope.runs.sweep_folder import SweepFolder, write_part

REASON = CellFailure(
    id="0123456789ab", reason="no room", exit_code=3, when_utc="2026-11-28T00:00:00", settings={}
)


def test_a_reason_comes_back_and_goes(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_failure(REASON, "Traceback\n  µ")
    assert folder.failures() == {REASON.id: REASON}
    assert (tmp_path / "failed" / f"{REASON.id}.txt").read_text() == "Traceback\n  µ\n"
    folder.forget_failure(REASON.id)
    assert os.listdir(tmp_path / "failed") == []


def test_a_reason_left_half_written_is_none_and_is_cleared(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_failure(REASON)
    half = tmp_path / "failed" / f".partial-1-{REASON.id}.json"
    half.write_text('{"id":')
    assert folder.failures() == {REASON.id: REASON}
    assert folder.clear_partial() == 1
    assert not half.exists()
    assert folder.failures() == {REASON.id: REASON}


def test_damage_is_named(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert folder.previous() is None
    (tmp_path / "sweep.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"sweep\.json: not a plan of a sweep"):
        folder.previous()
    folder.write_failure(REASON)
    (tmp_path / "failed" / f"{REASON.id}.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"json: not a failure of a cell"):
        folder.failures()


def test_a_place_that_takes_no_file_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "failed").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="finished cells are kept"):
        write_part(tmp_path / "failed" / "a.json", REASON)
