"""What reading a trace costs: layerscope beside loading the JSON, side by side.

Every way is a process of its own, in turn, in every round. Timed is the whole process: CPU seconds
(user + system), wall seconds and peak resident memory. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ORJSON = "gunzip + orjson.loads"
LAYERSCOPE = "layerscope layers --csv"

_ORJSON = """
import gzip, sys, orjson
orjson.loads((gzip.open if sys.argv[1].endswith(".gz") else open)(sys.argv[1], "rb").read())
"""
_HTA = """
import sys
from hta.common.trace_parser import parse_trace_dataframe
from hta.configs.parser_config import ParserConfig
parse_trace_dataframe(sys.argv[1], ParserConfig.get_default_cfg())
"""
_TB = """
import sys, tempfile
from torch_tb_profiler.profiler.data import RunProfileData
with tempfile.TemporaryDirectory() as cache:
    RunProfileData.parse("w", 0, sys.argv[1], cache)
"""
_CODE = {ORJSON: _ORJSON, "HolisticTraceAnalysis parse": _HTA, "torch-tb-profiler parse": _TB}
_FIRST = b'"traceEvents"'
_TIME = re.compile(rb'("ts": )([0-9.]+)')


@dataclass(frozen=True)
class Sample:
    """One process."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def repeated(trace: Path, least_bytes: int, out: Path) -> int:
    """Write the events of a Kineto trace again and again, later each time, until the text is this long.

    Correlation ids repeat with the events, so each copy's are moved beyond those of the one before.
    Returns the bytes of uncompressed text.
    """
    with (gzip.open if trace.suffix == ".gz" else open)(trace, "rb") as file:
        text = file.read()
    start = text.index(b"[", text.index(_FIRST)) + 1
    end = text.rindex(b"\n  ]")
    events = text[start:end]
    times = [float(m.group(2)) for m in _TIME.finditer(events)]
    length_us = int(max(times) - min(times)) + 1_000_000
    ids = re.compile(rb'("correlation": )(\d+)')
    most = max((int(m.group(2)) for m in ids.finditer(events)), default=0) + 1
    written = len(text[:start])
    with gzip.open(out, "wb", 3) as file:
        file.write(text[:start])
        copy = 0
        while copy == 0 or written < least_bytes:
            later, further = copy * length_us, copy * most
            moved = _TIME.sub(lambda m, by=later: m[1] + _later(m[2], by), events)
            moved = ids.sub(lambda m, by=further: m[1] + b"%d" % (int(m[2]) + by), moved)
            file.write((b"," if copy else b"") + moved)
            written += len(moved)
            copy += 1
        file.write(text[end:])
    return written + len(text[end:])


def _later(stamp: bytes, by_us: int) -> bytes:
    whole, dot, part = stamp.partition(b".")
    return b"%d" % (int(whole) + by_us) + dot + part


def run_once(command: list[str]) -> Sample:
    """Run a process to its end."""
    began = time.perf_counter()
    # Installed packages are compiled; a checkout would be compiled anew by every process under this.
    written = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=written)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command[:3])}: exit code {child.returncode}")
    return Sample(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1000)


def commands(trace: Path, pythons: dict[str, str], csv: Path) -> dict[str, list[str]]:
    """Way -> command, for each way whose Python was given."""
    found = {
        name: [python, "-c", _CODE[name], str(trace)]
        for name, python in pythons.items()
        if name in _CODE
    }
    layers = [sys.executable, "-m", "layerscope", "layers", str(trace), "--csv", str(csv)]
    return found | {LAYERSCOPE: layers}


def table(samples: dict[str, list[Sample]]) -> str:
    """Medians, and ratios to the first way: of the medians' CPU and memory, and of each round's CPU."""
    lines = [
        f"{'way':<30}{'cpu s':>8}{'wall s':>8}{'peak MB':>9}{'cpu ratio':>11}{'memory ratio':>14}"
    ]
    base = samples[ORJSON]
    for name, runs in samples.items():
        cpu = statistics.median(run.cpu_s for run in runs)
        wall = statistics.median(run.wall_s for run in runs)
        peak = max(run.peak_mb for run in runs)
        ratio = statistics.median(r.cpu_s / b.cpu_s for r, b in zip(runs, base, strict=True))
        memory = peak / max(run.peak_mb for run in base)
        lines.append(f"{name:<30}{cpu:>8.2f}{wall:>8.2f}{peak:>9.0f}{ratio:>11.2f}{memory:>14.2f}")
    return "\n".join(lines)


def main() -> None:
    """See benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat-to-gb", type=float, help="also the first trace repeated to this")
    parser.add_argument("--orjson", default=sys.executable, help="a Python that has orjson")
    parser.add_argument("--hta", help="a Python that has HolisticTraceAnalysis")
    parser.add_argument("--tb", help="a Python that has torch-tb-profiler")
    parser.add_argument("--json", type=Path, help="also write every sample here")
    given = parser.parse_args()
    pythons = {ORJSON: given.orjson}
    if given.hta:
        pythons["HolisticTraceAnalysis parse"] = given.hta
    if given.tb:
        pythons["torch-tb-profiler parse"] = given.tb
    kept: dict[str, dict[str, list[dict[str, float]]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        traces = list(given.traces)
        if given.repeat_to_gb:
            large = Path(folder) / f"{traces[0].name.split('.')[0]}-repeated.json.gz"
            # In a process of its own: what this one has held counts as its children's peak, too.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                size = pool.submit(
                    repeated, traces[0], int(given.repeat_to_gb * 1e9), large
                ).result()
            print(f"{large.name}: {size / 1e6:,.0f} MB of text\n")
            traces.append(large)
        for trace in traces:
            ways = commands(trace, pythons, Path(folder) / "layers.csv")
            samples: dict[str, list[Sample]] = {name: [] for name in ways}
            for _ in range(given.rounds):
                for name, command in ways.items():
                    samples[name].append(run_once(command))
            print(f"{trace.name}, {given.rounds} rounds\n{table(samples)}\n", flush=True)
            kept[trace.name] = {n: [vars(run) for run in runs] for n, runs in samples.items()}
    if given.json:
        given.json.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
