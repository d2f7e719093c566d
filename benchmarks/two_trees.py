"""Two trees of layerscope and the options of a run in; what their runs, made in turns, differ in out.

A change that should move no number on a device is judged by this: device time within a per cent, tokens,
FLOPs and bytes identical, rows the same. What the commands took, with the intervals they reached and the
least that their batches needed, stands beside it.

    git worktree add before OLD_COMMIT
    python benchmarks/two_trees.py before . --rounds 2 --out two_trees.json -- \\
        --weights random --dataset synthetic-random --batch 16
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

# Of the tree that this program belongs to: one reader for the runs of both.
from layerscope.records import Interval, load
from layerscope.stats.energy_summary import summarise_energy
from layerscope.stats.latency import latency_summary

_NEAR = 0.01
_SAME = ("tokens", "flops", "bytes", "rows", "calls")


def run(tree: Path, options: list[str], out: Path) -> dict[str, Any]:
    """One run of a tree, and what it is judged by."""
    out.mkdir()
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "layerscope", "profile", *options, "--out", str(out), "--quiet"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), *_others()])},
        cwd=out,
        check=True,
    )
    wall_s = time.perf_counter() - began
    (folder,) = [path for path in out.iterdir() if (path / "run.json").exists()]
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    account = record["account"]
    return {
        "device_sum_us": account["device_sum_us"] or account["host_window_us"],
        "difference_ns": account["device_difference_ns"],
        "wall_s": wall_s,
        "least_s": _least_s(record),
        "command": record.get("command", []),
        "half_widths": _half_widths(folder),
        "latency_s": record["report"]["latency"]["value"],
        "tokens": [sample["decoder_steps"] for sample in record["latency"][:1]]
        + [answer["prediction"] for answer in record.get("predictions", [])],
        "flops": sum(int(row["flops_self"]) for row in rows if row["flops_self"]),
        "bytes": sum(int(row["bytes_self"]) for row in rows if row["bytes_self"]),
        "rows": sorted((row["layer"], row["phase"], row["group"]) for row in rows),
        "calls": sum(int(row["calls"]) for row in rows),
        "environment": {
            "gpu_name": record["environment"]["gpu_name"],
            **{name: record["environment"]["packages"][name] for name in ("torch", "transformers")},
        },
    }


def _half_widths(folder: Path) -> dict[str, float | None]:
    """Half of the intervals of latency and energy, as shares of the numbers; None without one."""
    record = load(folder)
    latency = latency_summary(record)
    energy = summarise_energy(record.energy, seed=record.seed) if record.energy else None
    return {
        "latency": None if latency is None else _half(latency.median_ns, latency.interval),
        "energy": None if energy is None else _half(energy.joules_per_sample, energy.interval),
    }


def _half(value: float | None, interval: Interval | None) -> float | None:
    return None if not value or interval is None else (interval.high - interval.low) / 2 / value


def _least_s(record: dict[str, Any]) -> float | None:
    """Start, load, and the batches that were run, each in the median's time; None from older trees."""
    parts = record.get("command", [])
    latency_s = record["report"]["latency"]["value"]
    if not parts or latency_s is None:
        return None
    fixed = sum(part["wall_s"] for part in parts if part["name"] in ("start", "load"))
    return float(fixed + sum(part["batches"] for part in parts) * latency_s)


def _others() -> list[str]:
    """The paths that this process was given, without a tree of layerscope."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in given if path and not (Path(path) / "layerscope").is_dir()]


def _without(rows: list[Any], others: list[Any]) -> list[Any]:
    return sorted(set(rows) - set(others))


def main() -> int:
    """Run both in turns, print and write what differs; 1 where more does than may."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = sys.argv[1:]
    at = given.index("--") if "--" in given else len(given)
    asked, options = parser.parse_args(given[:at]), given[at + 1 :]
    found: dict[str, list[dict[str, Any]]] = {"old": [], "new": []}
    with tempfile.TemporaryDirectory(prefix="two-trees-") as name:
        for number in range(asked.rounds):
            for side, tree in (("old", asked.old), ("new", asked.new)):
                runs = Path(name) / f"{side}-{number}"
                found[side].append(run(tree.resolve(), options, runs))
    old, new = found["old"], found["new"]
    ratio = median(r["device_sum_us"] for r in new) / median(r["device_sum_us"] for r in old)
    unlike = [what for what in _SAME if any(r[what] != old[0][what] for r in (*old, *new))]
    result = {
        "options": options,
        "environment": new[0]["environment"],
        "time_us": {side: [r["device_sum_us"] for r in runs] for side, runs in found.items()},
        **{
            name: {side: [r[name] for r in runs] for side, runs in found.items()}
            for name in ("wall_s", "least_s", "half_widths")
        },
        "command": {side: runs[-1]["command"] for side, runs in found.items()},
        "latency_s": {side: [r["latency_s"] for r in runs] for side, runs in found.items()},
        "difference_ns": {side: [r["difference_ns"] for r in runs] for side, runs in found.items()},
        "new_over_old": round(ratio, 5),
        "flops": old[0]["flops"],
        "bytes": old[0]["bytes"],
        "rows": len(old[0]["rows"]),
        "unlike": unlike,
        "rows_of_old_alone": _without(old[0]["rows"], new[0]["rows"]),
        "rows_of_new_alone": _without(new[0]["rows"], old[0]["rows"]),
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 1 if unlike or abs(ratio - 1) > _NEAR else 0


if __name__ == "__main__":
    sys.exit(main())
