"""Ctrl-C at each stage of the real command: exit 130, one line, and no folder left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
from support.command import Running, started

from layerscope.cli.interrupt import Interrupt

INTERRUPTED = 130
# Each stage is made long enough to be met, the others short.
STAGES = {
    "load tiny: started": [],
    "warm up: started": ["--warmup", "500"],
    "measure, unprofiled: started": ["--samples", "500"],
    "time to first token: started": [],
    "trace one batch: started": ["--max-new-tokens", "12"],
    "count FLOPs and bytes: started": [],
    "account: started": [],
}
SMALL = {
    "--warmup": "0", "--samples": "1", "--max-new-tokens": "1", "--image-size": "56",
    "--measure-limit-s": "0.1",
}  # fmt: skip
LINE = "layerscope: interrupted; nothing was kept."


Process = Running | subprocess.Popen[str]


def flags(out: Path, options: list[str]) -> list[str]:
    """The command's arguments: small but for these options."""
    given = SMALL | dict(zip(options[::2], options[1::2], strict=True))
    pairs = [part for pair in given.items() for part in pair]
    return [
        "profile", "--model", "tiny", "--device", "cpu", "--batch", "1", *pairs, "--out", str(out),
    ]  # fmt: skip


def start(out: Path, options: list[str]) -> Process:
    """The command in a process group of its own, as a shell starts it on a terminal."""
    return started(*flags(out, options))


def read_until(stream: IO[str] | None, beginning: str) -> list[str]:
    """Lines up to the one with this in it."""
    assert stream is not None
    lines: list[str] = []
    while not (lines and beginning in lines[-1]):
        line = stream.readline()
        assert line, "".join(lines)
        lines.append(line)
    return lines


def ended(process: Process, out: Path) -> None:
    """It left with 130 and one line, which is its last, and nothing in `out`."""
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == INTERRUPTED, stderr
    lines = stderr.splitlines()
    assert lines[-1] == LINE, stderr
    assert [line for line in lines if line.startswith("layerscope:")] == [LINE]
    assert "Traceback" not in stderr
    assert "ignored" not in stderr
    assert stdout == ""
    assert not out.exists()


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(stage: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, STAGES[stage])
    read_until(process.stderr, stage)
    if stage.startswith(("warm", "measure", "trace")):
        time.sleep(0.1)  # into the model, not between two steps
    os.killpg(process.pid, signal.SIGINT)
    ended(process, out)


def test_a_scheduler_that_ends_the_command(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(out, STAGES["measure, unprofiled: started"])
    read_until(process.stderr, "measure, unprofiled: started")
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended(process, out)


def test_an_impatient_user(tmp_path: Path) -> None:
    """Ctrl-C again and again, while the first one is still being cleaned up."""
    out = tmp_path / "out"
    process = start(out, STAGES["trace one batch: started"])
    read_until(process.stderr, "trace one batch: started")
    time.sleep(0.1)
    with contextlib.suppress(ProcessLookupError):  # ended: nobody left to be impatient with
        for _ in range(20):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.02)
    ended(process, out)


def test_while_torch_is_being_imported(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "layerscope", *flags(out, [])],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Its libraries are in the process long before the import is done.
    maps = Path(f"/proc/{process.pid}/maps")
    while maps.exists() and "libtorch" not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    if not maps.exists():  # no Linux
        time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    ended(process, out)


def test_runs_kept_before_stay(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "earlier"
    kept.mkdir(parents=True)
    (kept / "run.json").write_text("{}")
    process = start(tmp_path / "out", [])
    read_until(process.stderr, "load tiny: started")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert os.listdir(tmp_path / "out") == ["earlier"]
    assert (kept / "run.json").read_text() == "{}"


def test_an_interrupt_dropped_where_nothing_can_be_raised_comes_again() -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def drop() -> None:
        with Interrupt() as interrupt:
            try:
                held: Finalised | None = Finalised()
                held = None  # KeyboardInterrupt inside __del__, which Python can only report
                for _ in range(1000):
                    time.sleep(0.001)
                assert held
            finally:
                assert interrupt.pressed

    with pytest.raises(KeyboardInterrupt):
        drop()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_background_command_keeps_ignoring_ctrl_c() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert not interrupt.pressed
            interrupt.silence()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
