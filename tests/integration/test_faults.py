"""The command with a fault at its writes: nothing damaged under a final name, one line, the right code.

A few writes are struck, by each fault other ones; LAYERSCOPE_ALL_FAULTS=1 strikes them all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import layerscope
from support.disks import mounted

from layerscope.records import load
from layerscope.report.csv import read_layers_csv
from layerscope.trace.columns import read_trace

TESTS = Path(__file__).resolve().parents[1]
ALL = os.environ.get("LAYERSCOPE_ALL_FAULTS") == "1"
PROFILE = (
    "profile", "--model", "tiny", "--device", "cpu", "--batch", "1", "--samples", "1", "--warmup", "0",
    "--max-new-tokens", "1", "--measure-limit-s", "0.1", "--image-size", "56", "--quiet",
)  # fmt: skip
SWEEP = (
    "base: {model: tiny, weights: random, device: cpu, dtype: fp32, dataset: synthetic-textvqa, "
    "samples: 1, warmup: 0, max_new_tokens: 1, measure_limit_s: 0.1, image_size: 56, trace: false}\n"
    "grid: {batch_size: [1]}\n"
)
ENVIRONMENT, INTERRUPTED, KILLED = 3, 130, -9
Found = list[dict[str, Any]]


def struck(faults: dict[str, Path], stride: int, *arguments: str) -> dict[str, Found]:
    """The runs of `support.faulted_runs` by fault; "" is the one without."""
    given = ",".join(f"{fault}={base}" for fault, base in faults.items())
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "support.faulted_runs",
            given,
            str(1 if ALL else stride),
            *arguments,
        ],
        cwd=TESTS,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Found] = {}
    for line in done.stdout.splitlines():
        run = json.loads(line)
        found.setdefault(run["fault"], []).append(run)
    assert found[""][0]["code"] == 0, found[""][0]["stderr"]
    assert all(len(runs) > 1 for fault, runs in found.items() if fault)
    return found


def only_whole_runs(out: Path) -> list[Path]:
    """The run folders under final names, each of them read in full."""
    runs = [p for p in out.iterdir() if not p.name.startswith(".")] if out.is_dir() else []
    for run in runs:
        record = load(run)
        assert {role for role, name in record.files.items() if not (run / name).exists()} == set()
        assert read_layers_csv(run / "layers.csv")
        read_trace(run / "trace.json.gz")
        assert not list(run.rglob(".partial*"))
    return runs


def one_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line]  # click ends the line of a ^C
    assert len(lines) == 1, stderr
    assert lines[0].startswith("layerscope: "), stderr
    return lines[0]


def names_the_run(run: dict[str, Any]) -> bool:
    """What was struck is the last write, where the finished folder gets its name."""
    event, _, path = run["writes"][0].partition(" ")
    return event == "os.rename" and "/" not in path


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    try:
        with mounted(tmp_path_factory.mktemp("disk") / "disk", "size=64m") as folder:
            yield folder
    except pytest.skip.Exception:
        yield None


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory, disk: Path | None) -> dict[str, Found]:
    base = tmp_path_factory.mktemp("profiles")
    faults = dict.fromkeys(("kill", "interrupt", "full"), base)
    return struck(faults | ({"readonly": disk} if disk else {}), 45, *PROFILE)


def test_a_profile_killed_at_a_write(profiles: dict[str, Found]) -> None:
    assert len(only_whole_runs(Path(profiles[""][0]["out"]))) == 1
    for run in profiles["kill"]:
        assert run["code"] == KILLED
        assert only_whole_runs(Path(run["out"])) == [], run["writes"]
    # The next run into the same folder does not mind what the killed one left.
    out = Path(profiles["kill"][-1]["out"])
    assert [p.name[:9] for p in out.iterdir()] == [".partial-"]
    assert layerscope(*PROFILE, "--out", out).returncode == 0
    assert len(only_whole_runs(out)) == 1


def test_a_profile_interrupted_at_a_write(profiles: dict[str, Found]) -> None:
    for run in profiles["interrupt"]:
        out = Path(run["out"])
        if names_the_run(run):  # whole, so it is kept
            assert (run["code"], len(only_whole_runs(out))) == (0, 1)
            continue
        assert run["code"] == INTERRUPTED
        assert one_line(run["stderr"]) == "layerscope: interrupted; nothing was kept."
        assert not out.exists(), run["writes"]


def test_a_disk_that_is_full_at_a_write(profiles: dict[str, Found]) -> None:
    for run in profiles["full"]:
        out = Path(run["out"])
        if names_the_run(run):  # all is written by then
            assert (run["code"], len(only_whole_runs(out))) == (0, 1)
            continue
        assert run["code"] == ENVIRONMENT
        assert str(out) in one_line(run["stderr"])
        assert not out.exists(), run["writes"]


def test_a_disk_that_turns_read_only_at_a_write(profiles: dict[str, Found]) -> None:
    if "readonly" not in profiles:
        pytest.skip("needs the right to mount a tmpfs")
    for run in profiles["readonly"]:
        assert run["code"] == ENVIRONMENT
        assert "Read-only file system" in one_line(run["stderr"])
        # What was written before cannot be removed any more, but has no final name.
        assert only_whole_runs(Path(run["out"])) == []


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    base = tmp_path_factory.mktemp("sweeps")
    (base / "s.yaml").write_text(SWEEP)
    return struck({"kill": base, "full": base}, 45, "sweep", str(base / "s.yaml"))


@pytest.mark.parametrize("fault", ["kill", "full"])
def test_a_sweep_struck_at_a_write_goes_on(sweeps: dict[str, Found], fault: str) -> None:
    for run in sweeps[fault]:
        out = Path(run["out"])
        if fault == "kill":
            assert run["code"] == KILLED
        else:
            assert run["code"] == ENVIRONMENT, run["stderr"]
            assert "Traceback" not in run["stderr"]
            assert run["stderr"].splitlines()[-1].startswith("layerscope: "), run["stderr"]
            assert not [name for name in run["left"] if ".partial-" in name]
        # The same command finishes, and all is there as in the sweep that nothing happened to.
        assert run["again"]["code"] == 0, run["again"]["stderr"]
        assert kinds(out) == kinds(Path(sweeps[""][0]["out"])), run["writes"]
        assert all(path.read_text().endswith("\n") for path in out.glob("*.csv"))


def kinds(out: Path) -> set[str]:
    """The files of a sweep, without the times in their names."""
    names = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    visible = {name for name in names if "/." not in f"/{name}"}
    return {"".join(c for c in name if not c.isdigit()) for name in visible}


def test_screen_output_that_has_no_room_is_one_line() -> None:
    sample = TESTS.parent / "traces" / "sample-tiny-b2"
    for arguments in (["layers", str(sample)], ["--help"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "layerscope", *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == ENVIRONMENT
        assert "No space left on device" in one_line(done.stderr.splitlines()[-1])
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["layers", "--csv"], ["report", "--html"]])
def test_a_file_that_has_no_room_leaves_the_one_before(tmp_path: Path, command: list[str]) -> None:
    verb, option = command
    sample, target = TESTS.parent / "traces" / "sample-tiny-b2", tmp_path / "made"
    target.write_text("from before")
    code = (
        "import resource as r, layerscope.cli.main as m\n"
        "r.setrlimit(r.RLIMIT_FSIZE, (1000, 1000))\nm.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, verb, str(sample), option, str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ENVIRONMENT
    assert "File too large" in one_line(done.stderr)
    assert target.read_text() == "from before"
    assert os.listdir(tmp_path) == ["made"]
