"""Rooms know only the rooms before them, and a saved run can be read without torch."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "layerscope"
# The house, in the order data flows. A room may import itself and what stands before it.
ORDER = [
    "errors",
    "taxonomy",
    "records",
    "config",
    "workload",
    "instrument",
    "measure",
    "trace",
    "analysis",
    "report",
    "run",
    "tensorboard",
    "sweep",
    "reproduce",
    "cli",
]
READERS = ("records", "trace", "analysis", "report")
HEAVY = {"torch", "transformers", "datasets", "pandas", "polars"}


def imported(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute here"
            found.append(node.module)
    return found


def files(room: str) -> list[Path]:
    single = PACKAGE / f"{room}.py"
    return [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ORDER)
def test_a_room_knows_only_the_rooms_before_it(room: str) -> None:
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for path in files(room):
        for name in imported(path):
            top, _, rest = name.partition(".")
            if top == "layerscope" and rest:
                assert rest.split(".")[0] in allowed, f"{path} imports {name}"


def test_every_room_stands_in_the_order() -> None:
    rooms = {p.stem for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert rooms - set(ORDER) <= {"__init__", "__main__", "__pycache__", "configs", "py"}


@pytest.mark.parametrize("room", READERS)
def test_the_readers_never_name_torch(room: str) -> None:
    for path in files(room):
        heavy = {name.split(".")[0] for name in imported(path)} & HEAVY
        assert not heavy, f"{path} imports {heavy}"


def test_help_costs_under_a_third_of_a_second_of_cpu() -> None:
    used = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "layerscope", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # The best of three: the limit is about our imports, not about the neighbours on this machine.
    assert min(used) < 0.3


def test_help_and_layers_load_no_heavy_package(tmp_path: Path) -> None:
    code = (
        "import sys; from layerscope.cli.main import run\n"
        "run(['--help']); run(['layers', 'nothing.json'])\n"
        "from layerscope.run.tables import read_account\n"
        f"bad = {HEAVY | {'pyarrow', 'matplotlib', 'tensorboard'}!r} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
    )
