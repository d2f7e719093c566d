"""Runs that the tab keeps open: a slow one keeps nobody waiting, small ones push no large one out."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from layerscope.tab import open_runs
from layerscope.tab.open_runs import OpenRuns

SAMPLE = Path(__file__).resolve().parents[3] / "traces" / "sample-tiny-b2"


def runs(root: Path, count: int) -> list[Path]:
    return [Path(shutil.copytree(SAMPLE, root / f"run{number}")) for number in range(count)]


def test_a_slow_run_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, other, new = runs(tmp_path, 3)
    begun, go_on = threading.Event(), threading.Event()
    really = open_runs.Run.open

    def slowly(folder: Path) -> Any:
        if folder == slow:
            begun.set()
            assert go_on.wait(20)
        return really(folder)

    monkeypatch.setattr(open_runs.Run, "open", slowly)
    opened = OpenRuns()
    before = opened.window(other, {})
    said: list[bytes] = []
    thread = threading.Thread(target=lambda: said.append(opened.window(slow, {})))
    thread.start()
    try:
        assert begun.wait(20)
        assert opened.window(other, {}) == before  # one that was read
        assert opened.file(new, "layers")  # and one that was not
        assert not said
    finally:
        go_on.set()
        thread.join(20)
    assert said == [before]


def test_whoever_asks_for_the_same_run_gets_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = runs(tmp_path, 1)
    opens = []
    really = open_runs.Run.open
    monkeypatch.setattr(
        open_runs.Run, "open", lambda folder: opens.append(folder) or really(folder)
    )
    opened, said = OpenRuns(), []
    threads = [
        threading.Thread(target=lambda: said.append(opened.window(run, {}))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(said) == 8
    assert len(set(said)) == 1
    assert opens == [run]


def test_small_runs_push_no_large_one_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, *small = runs(tmp_path, 5)
    monkeypatch.setattr(open_runs, "_KEPT_SMALL", 2)
    monkeypatch.setattr(open_runs, "_SMALL_BYTES", (SAMPLE / "trace.json.gz").stat().st_size + 1)
    with (large / "trace.json.gz").open("ab") as file:
        file.write(b"\0")  # gzip's padding
    opened = OpenRuns()
    for folder in (large, *small):
        opened._opened(folder)
    kept = {folder for folder, _ in opened._kept}
    assert kept == {large, *small[-2:]}
