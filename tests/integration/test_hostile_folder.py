"""A run's folder from a stranger: what stands in place of a file costs a line, no time, no memory."""

from __future__ import annotations

import ast
import gzip
import os
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from layerscope.cli.main import run as run_command
from layerscope.core.errors import DataError
from layerscope.core.files import RUN_FILE
from layerscope.core.units import MIB
from layerscope.tab.plugin import LayersPlugin
from layerscope.tab.runs import READ_FILES

PACKAGE = Path(__file__).resolve().parents[2] / "layerscope"
SAMPLE = PACKAGE.parent / "traces" / "sample-tiny-b2"
SECRET = "correct-horse-battery-staple"
GIB = 1 << 30


def zeros(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 * GIB)


def zeros_below_the_limit(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(30 * MIB)


def bomb(path: Path) -> None:
    """Values that take thirty times their text; packed where the file may be packed."""
    data = b'{"schema_version":1,"rows":[' + b"[],{}," * 3_000_000 + b"[]]}"
    path.write_bytes(gzip.compress(data, 9) if path.suffix == ".gz" else data)


def link(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_text(SECRET)
    path.symlink_to(secret)


KINDS: dict[str, Callable[[Path], object]] = {
    "zeros": zeros,
    "zeros below the limit": zeros_below_the_limit,
    "bomb": bomb,
    "pipe": os.mkfifo,
    "link": link,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
}


@pytest.fixture
def hostile(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(name: str, kind: str) -> Path:
        folder = Path(shutil.copytree(SAMPLE, tmp_path / "log" / "run"))
        (folder / name).unlink(missing_ok=True)
        if name in ("layers.csv", "findings.json"):
            (folder / "trace.json.gz").unlink()  # they are read where the trace is gone
        KINDS[kind](folder / name)
        return folder

    return make


class Bounded:
    """At most a second of CPU and 200 MiB more than before, as the tests' own process has it."""

    def __enter__(self) -> None:
        self._peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self._began = time.process_time()

    def __exit__(self, *_: object) -> None:
        assert time.process_time() - self._began < 1.5  # the sample itself takes half of it
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._peak
        assert more * 1024 < 200 * MIB


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in READ_FILES if n != "steps.csv"])
def test_each_file_in_turn(
    name: str,
    kind: str,
    hostile: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = hostile(name, kind)
    with Bounded():
        code = run_command(["layers", str(folder)])
    said = capsys.readouterr()
    assert code == DataError.exit_code, said.out
    assert len(said.err.splitlines()) == 1
    assert name in said.err
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", [RUN_FILE, "trace.json.gz", "layers.csv", "work.json", "steps.csv"]
)
def test_the_tab_lists_and_refuses(
    name: str, kind: str, hostile: Callable[[str, str], Path]
) -> None:
    folder = hostile(name, kind)
    apps = LayersPlugin(base_plugin.TBContext(logdir=str(folder.parent))).get_plugin_apps()
    query = {"run": "run", "name": "layers" if name != "steps.csv" else "steps"}
    for route in ("/runs", "/file", "/trace", "/window"):
        with Bounded():
            answer = Client(apps[route]).get("/", query_string=query, buffered=name == RUN_FILE)
        assert answer.status_code in (200, 404, 422), route
        if answer.status_code != 200:
            assert SECRET.encode() not in answer.data
        answer.close()


def test_a_figure_that_is_a_link_is_in_no_report(
    hostile: Callable[[str, str], Path], tmp_path: Path
) -> None:
    folder = hostile("figures/phases.svg", "link")
    assert run_command(["report", str(folder), "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert SECRET not in page
    assert "figures/phases.svg cannot be read (a link" in page


def test_a_linked_cell_is_no_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from layerscope.runs.sweep_folder import SweepFolder

    sweep = tmp_path / "sweep"
    (sweep / "cells").mkdir(parents=True)
    name = "a-0123456789ab"
    shutil.copytree(SAMPLE, tmp_path / name)
    (sweep / "cells" / name).symlink_to(tmp_path / name, target_is_directory=True)
    with pytest.raises(DataError, match="may not be links"):
        SweepFolder(sweep).finished()


# Modules of reading that open files which are no folder's from somebody, and what they open.
OPENING = {
    "core/folder_file.py": "the one way",
    "config/resolve.py": "the user's own YAML",
    "published/reference_tables.py": "the package's own tables",
    "scores/vqa_answers.py": "the package's own tables",
    "report/html/render.py": "the package's own page",
    "report/csv_lines.py": "writes",
    "report/trace_file.py": "writes",
    "report/tensorboard/event_file.py": "writes",
    "tab/plugin.py": "the package's own page, by `importlib.resources`",
    "tab/open_runs.py": "what it wrote itself a moment before",
    "reproduce/pins.py": "weights, which a hub's cache links to",
    "sweep/lock.py": "writes",
    "core/shipped.py": "the package's own configurations",
    "core/process_age.py": "the kernel's book of this process",
    "sweep/cluster/connect.py": "the cluster's own token",
    "sweep/cluster/transfer.py": "the cluster's own token, and archives in memory",
}
ROOMS = (
    "core", "records", "stats", "scores", "published", "config", "trace", "account", "timeline", "work",
    "joules", "remedies", "findings", "differences", "report", "runs", "tab", "sweep", "reproduce",
)  # fmt: skip
READING = {"open", "read_bytes", "read_text", "memory_map", "read_table", "fromfile", "loadtxt"}


def opens(path: Path) -> set[int]:
    """Lines where a module opens or reads a file by its name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "open":
            found.add(node.lineno)
        if isinstance(called, ast.Attribute) and called.attr in READING:
            owner = called.value.id if isinstance(called.value, ast.Name) else ""
            # Doors of our own that go through the one way.
            if not owner.lstrip("_")[:1].isupper() and owner != "archive":
                if ast.unparse(called.value) in ("self._log", "self._runs", "self._sweeps"):
                    continue
                found.add(node.lineno)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_every_reader_goes_the_one_way(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in OPENING:
            assert not opens(path), f"{name} opens a file by itself; use core.folder_file"


def test_every_exception_to_it_is_needed() -> None:
    assert {name for name in OPENING if not opens(PACKAGE / name)} == set()
