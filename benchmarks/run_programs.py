"""`layerscope run` in front of two programs of Qwen2.5-VL's shape, with and without, in turns.

A chat that streams out of a thread, and a server whose worker answers what waits as one batch
(`benchmarks/programs`). Printed and packed: how much longer their calls take outside the traced one,
phases and steps of the traced call, and what its account differs by.

    python benchmarks/run_programs.py --out programs         # on CUDA, bf16, under 150 s
    python benchmarks/run_programs.py --tiny --out programs  # a small model of its kind, on the CPU
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "configs" / "models" / "qwen2.5-vl-7b-instruct.yaml"
QUESTIONS = "".join(f"w{20 + turn} w3 w4 w5 w6\n" for turn in range(24))
_TOOK = re.compile(r" \[(\d+\.\d+) s\]$", re.MULTILINE)
_KEPT = ("run.json", "layers.csv", "steps.csv")
_TINY = {
    "text_config": {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 2048,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    },
    "vision_config": {
        "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Program:
    """A program of `benchmarks/programs`, and which of its calls is traced."""

    name: str
    file: str
    step: int


PROGRAMS = (
    Program("chat", "qwen_chat.py", 12),
    Program("batch-server", "qwen_batch_server.py", 14),
)


@dataclass(frozen=True)
class Ran:
    """What a program printed and how it ended."""

    code: int
    out: str
    err: str
    wall_s: float

    @property
    def times_s(self) -> list[float]:
        """What each of its calls took, by its own clock."""
        return [float(took) for took in _TOOK.findall(self.out)]

    @property
    def text(self) -> str:
        """Its output without times."""
        return re.sub(r"loaded in .*", "", _TOOK.sub("", self.out))


def run(command: list[str], limit_s: float) -> Ran:
    """Run it; killed with all its children when the time is over (code -9)."""
    began = time.monotonic()
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=HERE.parent, start_new_session=True,
    )  # fmt: skip
    try:
        out, err = started.communicate(QUESTIONS, timeout=max(limit_s, 1))
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        out, err = started.communicate()
    return Ran(started.returncode, out, err, time.monotonic() - began)


def slowdown(plain: list[float], under: list[float], step: int) -> dict[str, Any]:
    """Calls with layerscope over the same calls without: medians before the traced one and behind it.

    Two processes differ by themselves. Before the traced call its calls are timed; behind it energy is
    read, too, and one call may be counted.
    """
    seen, behind = slice(1, step - 1), slice(step + 1, None)
    both = min(len(plain), len(under))
    over = [one / other for one, other in zip(under[:both], plain[:both], strict=True)]

    def middle(values: list[float]) -> float | None:
        return median(values) if values else None

    return {
        "calls": both,
        "plain_median_s": middle(plain[seen]),
        "before_the_traced_call": middle(over[seen]),
        "behind_the_traced_call": middle(over[behind]),
        "traced_call": over[step - 1] if len(over) >= step else None,
    }


def account_of(folder: Path) -> dict[str, Any]:
    """What the run folder says of the traced call."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "steps.csv").open(encoding="utf-8", newline="") as file:
        steps = Counter(row["phase"] for row in csv.DictReader(file))
    account, program = record["account"], record["captured"]["program"]
    return {
        "model": record["model"]["cls"],
        "parameters": record["model"]["params"],
        "gpu": record["environment"]["gpu_name"],
        "torch": record["environment"]["packages"].get("torch"),
        "transformers": record["environment"]["packages"].get("transformers"),
        "call": program["call"],
        "first_call": program["first_call"],
        "shapes": program["shapes"],
        "status": account["status"],
        "device_difference_ns": account["device_difference_ns"],
        "host_difference_ns": account["host_difference_ns"],
        "events": account["events"],
        "calls_by_phase": {
            row["layer"] + " " + row["phase"]: int(row["calls"])
            for row in rows
            if re.search(r"\.(layers|blocks)\.0$", row["layer"])
        },
        "steps": dict(steps),
        "traced_s": program["traced_s"],
        "untraced_calls": len(program["untraced_s"]),
        "report": record["report"],
    }


def judged(account: dict[str, Any], new_tokens: int) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if account["steps"] != {"prefill": 1, "decode": new_tokens - 1}:
        wrong.append(f"steps are {account['steps']}")
    for name, calls in account["calls_by_phase"].items():
        wanted = new_tokens - 1 if name.endswith(" decode") else 1
        if calls != wanted:
            wrong.append(f"{name} has {calls} calls, not {wanted}")
    phases = {name.rpartition(" ")[2] for name in account["calls_by_phase"]}
    if phases != {"vision", "prefill", "decode"}:
        wrong.append(f"phases are {sorted(phases)}")
    if (
        account["status"] != "ok"
        or account["device_difference_ns"]
        or account["host_difference_ns"]
    ):
        wrong.append("the account does not add up")
    return wrong


def measured(program: Program, asked: argparse.Namespace, config: Path, out: Path, end: float,
             turn: int) -> dict[str, Any]:  # fmt: skip
    """One program without and with layerscope; what was kept of it lies in `out`."""
    own = [sys.executable, str(HERE / "programs" / program.file), "--config", str(config)]
    own += ["--device", asked.device, "--new-tokens", str(asked.new_tokens)]
    with tempfile.TemporaryDirectory(prefix="run-programs-") as name:
        traces = Path(name) / "traces"
        options = ["--step", str(program.step), "--out", str(traces), *asked.option]
        under = [sys.executable, "-m", "layerscope", "run", *options, "--", *own]
        ran = {}
        for what in (("plain", "under"), ("under", "plain"))[turn % 2]:
            ran[what] = run(own if what == "plain" else under, end - time.monotonic())
            print(
                f"{program.name} {what}: exit {ran[what].code}, {ran[what].wall_s:.1f} s",
                flush=True,
            )
        out.mkdir(parents=True, exist_ok=True)
        (out / "screen.txt").write_text(ran["under"].err, encoding="utf-8")
        found: dict[str, Any] = {
            "exit": {what: one.code for what, one in ran.items()},
            "wall_s": {what: round(one.wall_s, 2) for what, one in ran.items()},
            "same_output": ran["plain"].text == ran["under"].text,
            "slowdown": slowdown(ran["plain"].times_s, ran["under"].times_s, program.step),
            "times_s": {what: one.times_s for what, one in ran.items()},
        }
        folders = sorted(traces.glob("*/run.json")) if traces.exists() else []
        if folders:
            for kept in _KEPT:
                shutil.copy(folders[-1].parent / kept, out / kept)
            found["account"] = account_of(out)
        wrong = judged(found["account"], asked.new_tokens) if folders else ["no run folder"]
        if any(one.code for one in ran.values()):
            wrong.append("a program did not end well")
            for what, one in ran.items():
                (out / f"{what}-failed.txt").write_text(one.out + one.err, encoding="utf-8")
        found["wrong"] = wrong
        return found


def told(name: str, found: dict[str, Any]) -> str:
    """Some lines for a person."""
    slow, account = found["slowdown"], found.get("account")
    shown = {what: None if v is None else round(v, 4) for what, v in slow.items()}
    lines = [
        f"{name}: {'; '.join(found['wrong']) or 'right'}; same output {found['same_output']}",
        f"  with over without: {shown}",
    ]
    if account is not None:
        lines += [
            f"  {account['model']}, {account['parameters']:,} parameters, {account['call']}, call "
            f"{account['first_call']}, {account['shapes']}",
            f"  steps {account['steps']}, calls {account['calls_by_phase']}",
            f"  difference: device {account['device_difference_ns']} ns, host "
            f"{account['host_difference_ns']} ns, {account['events']} device events",
            *(f"  {what}: {account['report'][what]}" for what in ("latency", "energy", "flops")),
        ]
    return "\n".join(lines)


def main() -> int:
    """Run both, print and write what was seen; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="a small model on the CPU")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--new-tokens", type=int, default=12)
    parser.add_argument("--limit-s", type=float, default=145.0, help="for all of it")
    parser.add_argument("--only", choices=[program.name for program in PROGRAMS])
    parser.add_argument("--option", action="append", default=[], help="further, of layerscope run")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="run-programs-") as name:
        config = CONFIG
        if asked.tiny:
            asked.device, config = "cpu", Path(name) / "tiny.yaml"
            raw = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
            for part, changes in _TINY.items():
                raw[part] |= changes
            config.write_text(yaml.safe_dump(raw), encoding="utf-8")
        results = {}
        for turn, program in enumerate(PROGRAMS):
            if asked.only in (None, program.name):
                found = measured(
                    program, asked, config, asked.out / program.name, began + asked.limit_s, turn
                )
                results[program.name] = found
                print(told(program.name, found), flush=True)
    said = "\n".join(told(name, found) for name, found in results.items())
    (asked.out / "summary.txt").write_text(said + "\n", encoding="utf-8")
    results["wall_s"] = round(time.monotonic() - began, 1)
    (asked.out / "summary.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"all of it took {results['wall_s']} s")
    return 1 if any(found["wrong"] for found in results.values() if isinstance(found, dict)) else 0


if __name__ == "__main__":
    sys.exit(main())
