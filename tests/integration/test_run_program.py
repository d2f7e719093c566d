"""`layerscope run` in front of programs as their authors wrote them: the same output, the same end."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from statistics import median

import pytest
import torch
from support.command import Done, layerscope

from layerscope.records import RunRecord, load
from layerscope.report.csv import read_layers_csv
from layerscope.run.program.asked import Asked
from layerscope.run.program.finish import finish
from layerscope.run.program.looking import Looking
from layerscope.run.program.meanwhile import Meanwhile
from layerscope.run.program.spool import Spool
from layerscope.runs.run import Run

PROGRAMS = Path(__file__).parents[1] / "programs"


def alone(name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(PROGRAMS / name)],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def under(name: str, out: Path, *options: str | int) -> Done:
    return layerscope(
        "run", *map(str, options), "--out", out, "--", sys.executable, PROGRAMS / name, fresh=True
    )


def folders(out: Path) -> list[Path]:
    return (
        sorted(path for path in out.iterdir() if (path / "run.json").exists())
        if out.exists()
        else []
    )


def the_record(out: Path) -> RunRecord:
    (folder,) = folders(out)
    assert Run.open(folder).account.table.check() is None
    record = load(folder)
    assert record.account is not None
    assert record.account.status == "ok"
    return record


def phases(out: Path) -> dict[str, int]:
    """Calls of the decoder's first layer by phase."""
    (folder,) = folders(out)
    rows = Run.open(folder).account.table.rows
    return {row.phase: row.calls for row in rows if row.layer == "model.layers.0"}


def test_a_chat_loop_that_streams_from_threads(tmp_path: Path) -> None:
    done = under("chat_loop.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(" ", 2)[:2] for line in done.stdout.splitlines()] == [
        ["turn", str(turn)] for turn in range(5)
    ]
    assert phases(tmp_path) == {"prefill": 1, "decode": 3}
    record = the_record(tmp_path)
    assert record.captured is not None
    program = record.captured.program
    assert program is not None
    assert (program.call, program.first_call, program.calls) == ("generate()", 3, 1)
    assert program.shapes == {"input_ids": (1, 6), "attention_mask": (1, 6)}
    assert program.name.endswith(" chat_loop.py")
    # The first call, which sets things up, and the traced one are none of those.
    assert len(program.untraced_s) == 3
    assert record.report.latency.value is not None
    assert record.trace is not None
    assert record.trace.unprofiled_ns is not None
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("layerscope: look at it with layerscope view ")
    assert not any("ERROR" in line or "Traceback" in line for line in lines)


@pytest.mark.slow
def test_a_program_that_fails_fails_the_same_way(tmp_path: Path) -> None:
    done, plain = under("raising.py", tmp_path), alone("raising.py")
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
    assert done.returncode == 1
    assert "SystemError: the disk of someone else" in done.stderr
    assert the_record(tmp_path).model.name == "Sequential"


@pytest.mark.slow
def test_what_was_not_traced_is_one_line(tmp_path: Path) -> None:
    for name, said in (
        ("no_torch.py", "no torch module was called"),
        (
            "few_calls.py",
            "Sequential had 2 calls (calls), and call 3 was to be traced; give --step 2",
        ),
    ):
        done = under(name, tmp_path)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert said in line
        assert not folders(tmp_path)


def test_what_cannot_be_started_is_one_line(tmp_path: Path) -> None:
    done = layerscope("run", "--", "no-such-program-here", cwd=tmp_path)
    assert done.returncode == 2
    assert "no-such-program-here: no such program" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model", "windows", "lines"),
    [
        ("training.py", "Sequential", 1, 8),
        ("compiled.py", "Sequential", 1, 5),
        pytest.param("asynchronous.py", "Sequential", 1, 6, marks=pytest.mark.long),
        pytest.param("spawned.py", "Sequential", 2, 1, marks=pytest.mark.long),
        pytest.param("two_models.py", "LlamaForCausalLM", 1, 6, marks=pytest.mark.long),
        ("profiles_itself.py", "", 0, 1),
    ],
)
def test_programs_of_many_kinds_say_what_they_say_and_are_accounted_for(
    name: str, model: str, windows: int, lines: int, tmp_path: Path
) -> None:
    done = under(name, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == lines
    if name == "training.py":
        assert done.stdout == alone(name).stdout
    found = folders(tmp_path / "out")
    assert len(found) == windows
    for folder in found:
        record = load(folder)
        assert record.model.name == model
        assert record.account is not None
        assert record.account.status == "ok"
    if not windows:
        assert len([line for line in done.stderr.splitlines() if "another profiler" in line]) == 1
    if name == "training.py":
        program = load(found[0]).captured.program  # type: ignore[union-attr]
        assert program is not None
        assert program.trains


@pytest.mark.slow
def test_a_signal_ends_both_and_keeps_what_was_traced(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PROGRAMS)!r}); import torch, time; "
        "from small import classifier; m = classifier()\n"
        "while True:\n m(torch.ones(1, 32)); print('.', flush=True); time.sleep(0.05)\n"
    )
    command = [sys.executable, "-m", "layerscope", "run", "--out", str(tmp_path), "--"]
    running = subprocess.Popen(
        [*command, sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    for _ in range(30):
        running.stdout.readline()
    time.sleep(2)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=120)
    assert running.returncode == -signal.SIGTERM
    assert "run folder" in said
    assert len(folders(tmp_path)) == 1


@pytest.mark.slow
@pytest.mark.long
def test_nothing_of_the_environment_or_the_arguments_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_user")
    done = layerscope(
        "run", "--out", tmp_path, "--", sys.executable, PROGRAMS / "raising.py", "--key", "sk-argument",
        fresh=True,
    )  # fmt: skip
    assert done.returncode == 1
    (folder,) = folders(tmp_path)
    kept = (folder / "run.json").read_text(encoding="utf-8")
    assert "hf_secret" not in kept
    assert "sk-argument" not in kept
    assert json.loads(kept)["captured"]["program"]["name"].endswith("raising.py")


@pytest.mark.slow
@pytest.mark.long
def test_the_user_s_own_sitecustomize_runs_and_a_service_is_traced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('of the user')\n", encoding="utf-8")
    service = tmp_path / "service.py"
    service.write_text(
        f"import sys; sys.path.insert(0, {str(PROGRAMS)!r})\n"
        "import torch\nfrom small import classifier\nmodel = classifier()\n"
        "with torch.no_grad():\n    for _ in range(12):\n        model(torch.ones(1, 32))\n"
        "print([p for p in sys.path if 'program/hook' in p], 'of the user' and 'done')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = layerscope(
        "run", "--step", 2, "--every", 3, "--keep", 2, "--out", tmp_path / "out", "--", service,
        fresh=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("of the user") >= 1
    assert lines[-1] == "[] done"
    traced = [load(folder).captured.program.first_call for folder in folders(tmp_path / "out")]  # type: ignore[union-attr]
    assert sorted(traced) == [8, 11]  # of 2, 5, 8 and 11 the newest two


@pytest.mark.slow
@pytest.mark.long
def test_a_service_that_is_traced_for_eight_hours_stays_as_large_as_it_is(tmp_path: Path) -> None:
    """240 windows stand for four hours at one a minute; the slope is that of the last three."""
    every, calls = 2, 480
    done = layerscope(
        "run", "--step", 3, "--every", every, "--keep", 4, "--out", tmp_path, "--",
        sys.executable, PROGRAMS / "service.py", calls, fresh=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    warm = [line for line in said if line[0] >= calls // 4]
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0]) * every
        for sooner, later in itertools.combinations(warm, 2)
    ]
    kib_an_hour = 60 * median(slopes)  # Theil and Sen
    assert kib_an_hour < 1024
    assert len({line[2:] for line in warm}) == 1  # neither files nor threads
    found = folders(tmp_path)
    assert len(found) == 4
    traced = [load(folder).captured.program.first_call for folder in found]  # type: ignore[union-attr]
    assert sorted(traced) == [473, 475, 477, 479]


@pytest.mark.slow
def test_a_counted_call_gives_the_folder_its_flops(tmp_path: Path) -> None:
    done = under("chat_loop.py", tmp_path, "--count")
    assert done.returncode == 0, done.stderr
    assert done.stdout == alone("chat_loop.py").stdout
    record = the_record(tmp_path)
    (folder,) = folders(tmp_path)
    run = Run.open(folder)
    assert run.work is not None
    whole = run.account.table.whole
    assert record.report.flops.value == whole.flops == run.work.flops
    # The head: a position in the prefill, one a decode step; 2 x 32 x 512 each.
    head = {row.phase: row.flops_self for row in run.account.table.rows if row.layer == "lm_head"}
    assert head == {"prefill": 2 * 32 * 512, "decode": 3 * 2 * 32 * 512}
    read = {
        row.phase: row.flops_self
        for row in read_layers_csv(folder / "layers.csv")
        if row.layer == "lm_head"
    }
    assert read == head
    assert record.captured is not None
    assert record.captured.program is not None
    # Five calls: the first sets things up, the third is traced, the last counted.
    assert len(record.captured.program.untraced_s) == 2


@pytest.mark.slow
def test_a_window_of_a_program_that_goes_on_is_a_run_folder_already(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "out"
    asked = Asked(spool=str(spool), step=1, every=8, keep=1)
    looking = Looking(asked, Spool(asked, 7))
    looking._every.put()
    model, x = torch.nn.Sequential(torch.nn.Linear(4, 4)), torch.ones(1, 4)
    spool.mkdir()
    try:
        with (
            torch.no_grad(),
            Meanwhile(spool, out, "serve.py", look_s=0.05, grace_s=0) as meanwhile,
        ):
            for _ in range(7):
                model(x)
            first = wait_for_folder(out, but=())
            for _ in range(8):
                model(x)  # another window, and the first is no longer kept
            second = wait_for_folder(out, but=(first,))
            wait_until(lambda: not first.exists())
    finally:
        looking.end()
        looking._every.give_up()
        looking._classes.put_back()
    assert list(meanwhile.saved.values()) == [second]
    assert load(second).captured.program.first_call == 9  # type: ignore[union-attr]
    found = finish(spool, out, "serve.py", 1, meanwhile.saved)
    assert found.folders == [second]
    assert folders(out) == [second]


def wait_until(come: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not come():
        assert time.monotonic() < until
        time.sleep(0.05)


def wait_for_folder(out: Path, but: Collection[Path]) -> Path:
    wait_until(lambda: set(folders(out)) - set(but))
    (folder,) = set(folders(out)) - set(but)
    return folder
