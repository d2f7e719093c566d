"""`layerscope run` in pieces: what travels to the program, what is started, what it is called."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from layerscope.core.errors import UsageError
from layerscope.run.program.asked import Asked
from layerscope.run.program.finish import finish
from layerscope.run.program.spool import BLOCK, CALLS, CALLS_BEFORE, COUNTS, NOTES, Spool
from layerscope.run.program.started import command_of, name_of


def test_what_is_asked_arrives_whole_and_the_spool_stands_first() -> None:
    asked = Asked(spool="/tmp/a b", step=7, every=100, model="Llama")
    assert Asked.read(asked.text()) == asked
    assert asked.text().partition(os.pathsep)[0] == "/tmp/a b"


def test_a_python_file_goes_through_this_python(tmp_path: Path) -> None:
    script = tmp_path / "serve.py"
    script.write_text("")
    assert command_of([str(script), "--port", "1"]) == [sys.executable, str(script), "--port", "1"]
    assert command_of(["sh", "-c", "true"])[1:] == ["-c", "true"]
    with pytest.raises(UsageError, match=r"nothing-of-this-name: no such program"):
        command_of(["nothing-of-this-name"])


def test_a_program_is_named_without_its_arguments() -> None:
    assert name_of(["python", "/home/me/serve.py", "--key", "sk-1"]) == "python serve.py"
    assert name_of(["/usr/bin/python3", "-m", "http.server", "80"]) == "python3 -m http.server"
    assert name_of(["torchrun", "--nproc-per-node", "2", "train.py"]) == "torchrun train.py"
    assert name_of(["jupyter", "nbconvert", "--execute", "a/b.ipynb"]) == "jupyter b.ipynb"
    launcher = ["python", "-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"]
    assert name_of(launcher) == "python -m torch.distributed.run train.py"
    assert name_of(["serve", "--token", "secret"]) == "serve"


def test_a_spool_is_bounded_and_loses_at_most_a_moment(tmp_path: Path) -> None:
    spool = Spool(Asked(spool=str(tmp_path), keep=2), 41)
    assert not list(tmp_path.iterdir())  # a process with nothing to say leaves nothing
    for number in range(5000):
        spool.timed("Model", False, number, 0.5)
    spool.flush()
    lines = [
        line
        for name in (CALLS_BEFORE, CALLS)
        for line in (spool.folder / name).read_text().splitlines()
    ]
    numbers = [json.loads(line)[2] for line in lines]
    assert 1000 <= len(numbers) <= 2000
    assert numbers == list(range(5000 - len(numbers), 5000))  # the newest
    assert json.loads(lines[-1]) == ["Model", False, 4999, 0.5]
    for number in range(100):
        spool.note(f"note {number}")
    assert len((spool.folder / NOTES).read_text().splitlines()) == 20
    for number in range(5):
        (spool.new_window(number) / BLOCK).write_text("{}")
    assert [path.name for path in sorted(spool.folder.glob("window-*"))] == [
        "window-000003", "window-000004",
    ]  # fmt: skip


def test_what_happened_is_said_where_nothing_was_traced(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "out"
    spool.mkdir()
    assert finish(spool, out, "serve.py", 3).notes == [
        "no torch module was called by a Python that layerscope follows: nothing was traced"
    ]
    process = Spool(Asked(spool=str(spool)), 7)
    process.counted("Small", False, 90, 10, 0)
    process.counted("Large", True, 1, 1000, 0)
    assert (process.folder / COUNTS).exists()
    (note,) = finish(spool, out, "serve.py", 3).notes
    assert (
        note == "Large had 1 call (generate()), and call 3 was to be traced; give --step 1 or less"
    )
    (spool / "8.note").write_text("ImportError: No module named 'msgspec'\n")
    process.new_window(0)
    found = finish(spool, out, "serve.py", 3)
    assert not found.folders
    assert found.notes == [
        "the program ended inside window-000000: no trace",
        "ImportError: No module named 'msgspec'",
    ]
    assert not out.exists()
