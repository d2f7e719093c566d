"""What `layerscope view` shows torch-tb-profiler: the newest runs, since each costs a process."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from layerscope.tab.server import narrowed, newest


def run_of(logdir: Path, name: str, ms: int | None, mtime: int = 0) -> Path:
    folder = logdir / name
    folder.mkdir(parents=True, exist_ok=True)
    stamp = "" if ms is None else f".{ms}"
    path = folder / f"layerscope{stamp}.pt.trace.json.gz"
    path.write_bytes(b"")
    os.utime(path, (mtime, mtime))
    return folder


def test_the_newest_by_the_time_in_the_name(tmp_path: Path) -> None:
    second = 1_700_000_000
    for day in range(30):
        # Copied in the other order: the disk's times say nothing.
        run_of(tmp_path, f"run{day}", (second + day) * 1000, mtime=second - day)
    assert [folder.name for folder in newest(tmp_path)] == ["run29", "run28", "run27"]
    run_of(tmp_path, "of/a/sweep", (second + 99) * 1_000_000_000)  # nanoseconds
    run_of(tmp_path, "untimed", None, mtime=second + 98)
    assert [folder.name for folder in newest(tmp_path)] == ["sweep", "untimed", "run29"]
    (tmp_path / "trace.json.gz").write_bytes(b"")  # no file for that plugin
    assert tmp_path not in newest(tmp_path, 99)


def test_the_plugin_sees_no_others(tmp_path: Path) -> None:
    module = pytest.importorskip("torch_tb_profiler.plugin")
    for day in range(5):
        run_of(tmp_path, f"run{day}", 1_700_000_000_000 + day)
    held = SimpleNamespace(logdir=str(tmp_path))
    everything = module.TorchProfilerPlugin
    assert len(list(everything._get_run_dirs(held))) == 5
    plugin = narrowed(everything)
    assert issubclass(plugin, everything)
    assert [Path(p).name for p in plugin._get_run_dirs(held)] == ["run4", "run3", "run2"]


def test_other_plugins_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    other = type("Other", (), {"plugin_name": "scalars"})
    assert narrowed(other) is other
    changed = type("Newer", (), {"plugin_name": "pytorch_profiler"})
    assert narrowed(changed) is changed
    assert "a process for each" in capsys.readouterr().err
