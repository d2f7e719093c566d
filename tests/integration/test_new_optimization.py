"""Two new files in a copy of the package are a new optimization, with nothing else changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.small_model import small_yaml

ROOT = Path(__file__).resolve().parents[2]

PAGE = ROOT / "docs" / "add-an-optimization.md"
# One process, for torch is imported once: each command's exit code, what it said, and torch's state.
PROGRAM = """
import contextlib, io, json, sys
from layerscope.cli.main import run
import layerscope, torch
from layerscope.passes import order
seen = []

def look(session, draft):
    seen.append((torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()))
    if draft.trace is None and INTERRUPT:
        raise KeyboardInterrupt

INTERRUPT = False
order.PASSES = (order.Pass(look, order.always), *order.PASSES)
done = []
for arguments in json.loads(sys.argv[1]):
    INTERRUPT = arguments[:1] == ["INTERRUPTED"]
    seen.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments[1:] if INTERRUPT else arguments)
    after = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    done.append([code, out.getvalue(), err.getvalue(), list(seen), after])
from layerscope.run.diagnosis.optimizations import optimizations
print(json.dumps({"home": layerscope.__file__, "done": done, "doctor": optimizations().found}))
"""


def digests(package: Path) -> dict[str, str]:
    return {
        str(path.relative_to(package)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    made = shutil.copytree(
        ROOT / "layerscope", root / "layerscope", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(ROOT / "configs", root / "configs")
    # The two files that the documentation shows.
    remedy, optimization = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    (made / "remedies" / "same_bits.py").write_text(remedy)
    (made / "optimizations" / "same_bits.py").write_text(optimization)
    return made


@pytest.fixture(scope="module")
def said(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each of the commands below gave."""
    folder = tmp_path_factory.mktemp("runs")
    small = str(small_yaml(folder))
    given = ["--model", small, "--weights", "random", "--dataset", "synthetic-random", "--device", "cpu",
             "--batch", "1", "--samples", "1", "--image-size", "28", "--max-input-len", "8",
             "--max-new-tokens", "2", "--warmup", "1", "--measure-limit-s", "0.1",
             "--no-trace"]  # fmt: skip
    sweep = folder / "bits.yaml"
    sweep.write_text(
        "base: {model: tiny}\ngrid: {optimize: [eager, same-bits, 'tf32,same-bits']}\n"
    )
    commands = {
        "help": ["profile", "--help"],
        "misspelt": ["profile", "--optimize", "samebits"],
        "with compile": ["profile", "--optimize", "compile,same-bits"],
        "with flash": ["profile", "--optimize", "same-bits,flash"],
        "beams": ["profile", *given, "--optimize", "same-bits", "--num-beams", "2"],
        "run": ["profile", *given, "--optimize", "tf32,same-bits", "--out", str(folder / "run")],
        "eager": ["profile", *given, "--out", str(folder / "eager")],
        "stopped": ["INTERRUPTED", "profile", *given, "--optimize", "same-bits,tf32",
                    "--out", str(folder / "stopped")],
        "plan": ["sweep", str(sweep), "--plan-only", "--out", str(folder / "sweep")],
        "compare": ["compare", "{eager}", "{run}", "--json"],
    }  # fmt: skip
    known = {"run": folder / "run", "eager": folder / "eager"}
    names = [name for name in commands if name != "compare"]
    found = _asked(package, [commands[name] for name in names])
    answers = dict(zip(names, found["done"], strict=True))
    folders = {name: next(place.iterdir()) for name, place in known.items()}
    compared = [word.format(**folders) for word in commands["compare"]]
    return {**answers, "compared": compared, "folders": folders, "doctor": found["doctor"],
            "left": (folder / "stopped").exists() and os.listdir(folder / "stopped"),
            "home": found["home"]}  # fmt: skip


def _asked(package: Path, commands: list[list[str]]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, json.dumps(commands)],
        env={
            **os.environ,
            "PYTHONPATH": str(package.parent),
            "COLUMNS": "120",
            "HF_HUB_OFFLINE": "1",
        },
        cwd=package.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_nothing_but_two_files_was_added(package: Path, said: dict[str, Any]) -> None:
    assert said["home"] == str(package / "__init__.py")
    ours, theirs = digests(ROOT / "layerscope"), digests(package)
    assert theirs.keys() - ours.keys() == {"remedies/same_bits.py", "optimizations/same_bits.py"}
    assert {name: theirs[name] for name in ours} == ours


def test_it_is_listed_suggested_planned_and_judged_by_doctor(said: dict[str, Any]) -> None:
    code, shown, *_ = said["help"]
    assert code == 0
    assert "compile, cudagraphs, flash, same-bits, tf32, tuned" in " ".join(shown.split())
    code, _, error, *_ = said["misspelt"]
    assert code == 2
    assert "`optimize` has no 'samebits'; did you mean `same-bits`?" in error
    code, plan, *_ = said["plan"]
    assert code == 0
    assert "3 cells" in plan
    assert "optimize=same-bits:" in plan
    assert "same-bits, tf32 and tuned can run here" in said["doctor"]


def test_it_is_refused_by_itself_and_beside_what_it_does_not_go_with(said: dict[str, Any]) -> None:
    code, _, error, *_ = said["beams"]
    assert code == 3
    assert "--optimize same-bits: it was tried with greedy search alone." in error
    code, _, error, *_ = said["with compile"]
    assert code == 2
    assert "compile and same-bits cannot go together: its kernels add as they like" in error
    code, _, error, *_ = said["with flash"]
    assert code == 2
    assert "flash and same-bits cannot go together: nobody has tried them together" in error


def test_it_is_applied_recorded_and_taken_back(said: dict[str, Any]) -> None:
    code, shown, _, seen, after = said["run"]
    assert code == 0
    assert seen == [[True, "high"]]
    assert after == [False, "highest"]
    assert said["eager"][3] == [[False, "highest"]]
    record = json.loads((said["folders"]["run"] / "run.json").read_text())
    config = record["config"]
    assert (config["optimize"], config["optimization"], config["fp32_matmul"]) == (
        "same-bits,tf32", "eager", "high",
    )  # fmt: skip
    assert set(record["model"]["attention"].values()) == {"eager"}  # its plan
    assert said["folders"]["run"].name.endswith("-random-same-bits")
    assert "eager, fp32 matmul high (TF32), same-bits" in " ".join(shown.split())


def test_it_is_taken_back_after_ctrl_c(said: dict[str, Any]) -> None:
    code, _, error, seen, after = said["stopped"]
    assert code == 130
    assert seen == [[True, "high"]]
    assert after == [False, "highest"]
    assert not said["left"]
    assert "Traceback" not in error


def test_the_difference_is_named_also_by_a_layerscope_without_it(
    package: Path, said: dict[str, Any]
) -> None:
    """The last command runs in the package as it is: the record's name is unknown there."""
    done = subprocess.run(
        [sys.executable, "-m", "layerscope", *said["compared"]],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    unlike = {item["name"]: item for item in json.loads(done.stdout)["differences"]}
    assert (unlike["optimize"]["base"], unlike["optimize"]["other"]) == ("eager", "same-bits,tf32")
