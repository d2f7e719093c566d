"""A run folder gets its final name when whole, and nothing else ever carries one."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.run_name import run_name
from layerscope.write.folder import RunFolder


def test_the_name_says_when_what_and_how() -> None:
    config = resolve({"model": "Salesforce/instructblip-flan-t5-xl"}, cuda=True).config
    at = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
    assert run_name(config, at) == "20261124T010203Z-instructblip-flan-t5-xl-b16-224px-textvqa"
    odd = resolve({"model": "/a b/../evil name/"}, cuda=False).config
    assert run_name(odd, at) == "20261124T010203Z-evil-name-b16-224px-textvqa"


def test_renamed_when_whole(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "new" / "out", "run") as folder:
        (folder.path / "file").write_text("x")
        assert folder.path.name.startswith(".")
    assert folder.path == tmp_path / "new" / "out" / "run"
    assert (folder.path / "file").read_text() == "x"
    assert os.listdir(tmp_path / "new" / "out") == ["run"]


def test_one_takes_another_s_place_when_whole_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("old")
    with RunFolder(tmp_path, "run", instead=True) as folder:
        (folder.path / "new").write_text("new")
        assert os.listdir(tmp_path / "run") == ["old"]
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == ["new"]

    def fail() -> None:
        with RunFolder(tmp_path, "run", instead=True) as folder:
            (folder.path / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_stays_after_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with RunFolder(tmp_path, "run") as folder:
            (folder.path / "file").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(EnvironmentProblem, match=r"No space left on device.*--out"),
        RunFolder(tmp_path, "run"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert os.listdir(tmp_path) == []


def test_two_runs_of_one_second_get_two_names(tmp_path: Path) -> None:
    with RunFolder(tmp_path, "run") as first:
        with RunFolder(tmp_path, "run") as second:
            (second.path / "second").touch()
        (first.path / "first").touch()
    with RunFolder(tmp_path, "run"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["run", "run-2", "run-3"]
    assert (tmp_path / "run" / "first").exists()
    assert (tmp_path / "run-2" / "second").exists()


def test_a_place_that_takes_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match="cannot be written there"):
        RunFolder(tmp_path / "file" / "out", "run").__enter__()


def test_a_folder_takes_another_name_with_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()  # taken
    with RunFolder(tmp_path, "first") as folder:
        (folder.path / "file").write_text("x")
        folder.rename("second")
        assert folder.name == "second-2"
        assert [p.name for p in tmp_path.glob(".*")] == [folder.path.name]
    assert (tmp_path / "second-2" / "file").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["second", "second-2"]
