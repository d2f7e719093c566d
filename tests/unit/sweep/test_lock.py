"""The lock with two real processes: refused while one lives, free as soon as it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from layerscope.core.errors import EnvironmentProblem
from layerscope.sweep.lock import LOCK_FILE, SweepLock

HOLD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from layerscope.sweep.lock import SweepLock\n"
    "with SweepLock(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)
ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_second_process_is_refused_and_told_who(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(EnvironmentProblem, match=f"process {first.pid} on ") as caught:
            SweepLock(tmp_path).__enter__()
        assert "--out" in str(caught.value)


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {first.pid} ")
        with SweepLock(tmp_path):
            assert (tmp_path / LOCK_FILE).read_text().startswith(f"process {os.getpid()} ")


def test_a_lock_given_back_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with SweepLock(tmp_path):
            pass
    assert (tmp_path / LOCK_FILE).read_text() == ""


def test_an_exception_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), SweepLock(tmp_path):
        raise RuntimeError
    with SweepLock(tmp_path):
        pass


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="--out"):
        SweepLock(tmp_path / "file" / "sweep").__enter__()
