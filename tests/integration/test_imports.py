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
HEAVY = {"torch", "transformers", "datasets", "pandas", "polars"}
# The house, floor by floor; on a floor, in the order data flows. A room may import itself, what stands
# on a lower floor, and on its own floor what stands before it.
BASE = ("core", "records")
# Pure arithmetic and configuration, for readers and passes alike.
COMMON = ("stats", "scores", "published", "config")
READ = (
    "trace", "account", "timeline", "work", "joules", "remedies", "findings", "differences", "report",
    "web", "runs", "tab",
)  # fmt: skip
DO = (
    "private", "models", "workload", "instrument", "measure", "optimizations", "write", "passes",
    "run",
)  # fmt: skip
BOTH = ("sweep", "reproduce", "cli")
FLOORS = (BASE, COMMON, READ, DO, BOTH)
ORDER = [room for floor in FLOORS for room in floor]
# What runs a model and what reads a run meet here alone: where an account is made of what was just
# recorded, and in the room where a run's folder is written.
BRIDGES = {"passes.account", "run.capture", "run.diagnosis.tracing"}
BRIDGE_ROOMS = {"write"}


def modules() -> dict[str, Path]:
    """Name below the package -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path) -> set[str]:
    """Every module that a file names anywhere, inside functions too; not for the type checker alone."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        pending.extend(ast.iter_child_nodes(node))
    return found


MODULES = modules()
ROOMS = {name: name.partition(".")[0] for name in MODULES}


def ours(path: Path) -> set[str]:
    """The package's own modules among what a file imports."""
    found = set()
    for name in imported(path):
        below = name.removeprefix("layerscope.") if name.startswith("layerscope.") else ""
        while below and below not in MODULES:
            below = below.rpartition(".")[0]  # what is imported is a name in this module
        if below:
            found.add(below)
    return found


IMPORTS = {name: ours(path) for name, path in MODULES.items()}


def closure(name: str) -> set[str]:
    """A module and everything that it, or anything it imports, imports; the packages around them too."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        now = pending.pop()
        if now and now not in seen:
            seen.add(now)
            pending += [*IMPORTS[now], now.rpartition(".")[0]]
    return seen


def test_every_room_stands_on_a_floor() -> None:
    rooms = {p.stem for p in PACKAGE.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert rooms - {"__init__", "__main__", "__pycache__", "configs", "py"} == set(ORDER)


def test_every_bridge_has_a_bank_on_either_side() -> None:
    for name in BRIDGES:
        assert any(ROOMS[other] in READ for other in IMPORTS[name]), name


@pytest.mark.parametrize("room", ORDER)
def test_a_room_knows_only_what_stands_before_it(room: str) -> None:
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for name in (name for name in MODULES if ROOMS[name] == room):
        bridge = name in BRIDGES or room in BRIDGE_ROOMS
        known = allowed - set(READ) if room in DO and not bridge else allowed
        beyond = {other for other in IMPORTS[name] if ROOMS[other] not in known}
        assert not beyond, f"{name} imports {beyond}"


@pytest.mark.parametrize("room", [*BASE, *COMMON, *READ])
def test_reading_never_reaches_what_runs_a_model(room: str) -> None:
    """By everything that is imported on the way, wherever the statement stands."""
    for name in (name for name in MODULES if ROOMS[name] == room):
        for reached in closure(name):
            assert ROOMS[reached] not in DO, f"{name} reaches {reached}"
            heavy = {other.split(".")[0] for other in imported(MODULES[reached])} & HEAVY
            assert not heavy, f"{name} reaches {reached}, which imports {heavy}"


@pytest.mark.parametrize("room", BASE)
def test_the_base_does_without_numpy(room: str) -> None:
    for name in (name for name in MODULES if ROOMS[name] == room):
        for reached in closure(name):
            named = {other.split(".")[0] for other in imported(MODULES[reached])}
            assert "numpy" not in named, f"{name} reaches {reached}, which imports numpy"


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
        "from layerscope.runs.run import Run\n"
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
