"""Reading as on Windows: without the modules that POSIX alone has, with its line ends and file names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from layerscope.config.plan import plan
from layerscope.config.sweep import find_sweep, read_sweep
from layerscope.core.files import RUN_FILES
from layerscope.core.run_name import run_name
from layerscope.report.csv import read_layers_csv
from layerscope.runs.run import Run
from layerscope.runs.verified import verify

SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"
POSIX_ALONE = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline")
# What Windows has no flag and no call for.
LACKING = ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY", "fork", "mkfifo")
BLOCKED = f"""
import os, sys
for name in {POSIX_ALONE}: sys.modules[name] = None
for name in {LACKING}: delattr(os, name)
os.supports_dir_fd = set()
from layerscope.cli.main import run
"""
TABLES = ("layers.csv", "kernels.csv", "operators.csv", "steps.csv", "attention.csv")
UNTAKEN = re.compile(
    r'[<>:"/\\|?*\x00-\x1f]|[ .]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE
)


@pytest.mark.parametrize(
    "verbs",
    [
        ("layers RUN", "verify RUN"),
        ("report RUN --markdown", "compare RUN RUN --json", "export RUN --perfetto --out OUT"),
    ],
)
def test_every_reading_verb_runs_without_posix(verbs: tuple[str, ...], tmp_path: Path) -> None:
    run = shutil.copytree(SAMPLE, tmp_path / "run")
    code = BLOCKED
    for verb in verbs:
        words = verb.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")).split(" ")
        code += f"assert run({words!r}) == 0, {verb!r}\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "vision_model" in done.stdout


def test_the_tab_loads_without_posix() -> None:
    pytest.importorskip("tensorboard")
    code = BLOCKED + "import layerscope.tab.plugin, layerscope.runs.sweep"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_tables_with_the_line_ends_of_windows(tmp_path: Path) -> None:
    run = Path(shutil.copytree(SAMPLE, tmp_path / "run"))
    before = read_layers_csv(run / "layers.csv")
    for name in (*TABLES, "findings.json", "run.json"):
        text = (run / name).read_bytes().replace(b"\r\n", b"\n")
        (run / name).write_bytes(text.replace(b"\n", b"\r\n"))
    assert read_layers_csv(run / "layers.csv") == before
    assert verify(Run.open(run)).differences == ()


@pytest.mark.parametrize("name", ["tiny/batch_size", "input_length", "optimization"])
def test_names_of_runs_and_files_are_taken_by_ntfs(name: str) -> None:
    config = read_sweep(find_sweep(name))
    created = datetime(2026, 11, 28, 12, 34, 56, tzinfo=UTC)
    cells = plan(config, cuda=False, where="here", out="out")
    names = {run_name(cell.config, created) for cell in cells}
    assert len(names) > 1
    for found in (*names, *RUN_FILES.values()):
        assert not UNTAKEN.search(found), found
