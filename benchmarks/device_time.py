"""Equal runs in, how far their device time differs and how often two are told apart wrongly, out.

    python benchmarks/device_time.py runs --count 6 --out /tmp/equal    # on a GPU, a process a run
    python benchmarks/device_time.py judge /tmp/equal/*               # every pair of run folders
    python benchmarks/device_time.py simulate --out docs/results/statistics/device_time.csv

`runs` takes about 45 s a run of InstructBLIP-XL on an H200 (load 10 s, three traces 10 s).
"""

from __future__ import annotations

import csv
import subprocess
import sys
from itertools import combinations
from math import log
from pathlib import Path
from statistics import stdev

import click
import numpy as np

from layerscope.differences.device_noise import effect_of_device
from layerscope.records.kinds import device_sums
from layerscope.runs.run import Run

CHANGE = 0.03
HEADER = ("between_runs", "within_run", "alike", "traces", "pairs", "wrong", "seen_of_3_percent")
COMMAND = (
    "profile", "--model", "instructblip-flan-t5-xl", "--weights", "random", "--dataset",
    "synthetic-random", "--batch", "16", "--samples", "16", "--warmup", "1", "--measure-limit-s", "1",
)  # fmt: skip


@click.group()
def main() -> None:
    """Equal runs, their pairs, and simulated ones."""


@main.command()
@click.option("--count", default=6, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def runs(count: int, out: Path) -> None:
    """Profile the same thing several times, each in a process of its own."""
    for number in range(count):
        command = [sys.executable, "-m", "layerscope", *COMMAND, "--out", str(out)]
        subprocess.run(command, check=True)
        click.echo(f"{number + 1} of {count}")


@main.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def judge(folders: tuple[Path, ...]) -> None:
    """Compare every pair of equal runs."""
    sums = {folder: device_sums(Run.open(folder).kinds) for folder in folders}
    for folder, found in sums.items():
        inside = stdev(map(log, found)) if len(found) > 1 else float("nan")
        click.echo(
            f"{folder.name}: {', '.join(f'{ns / 1e6:.3f}' for ns in found)} ms, {inside:.4%}"
        )
    levels = [log(found[0]) for found in sums.values()]
    click.echo(f"between runs: {stdev(levels):.4%} (one sigma, first traces)")
    wrong = seen = pairs = 0
    for base, other in combinations(sums.values(), 2):
        pairs += 1
        wrong += _shown(base, other)
        seen += _shown(base, [round((1 + CHANGE) * ns) for ns in other])
    click.echo(f"{wrong} of {pairs} pairs told apart; {seen} with {CHANGE:.0%} more in one")


@main.command()
@click.option("--pairs", default=4000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def simulate(pairs: int, out: Path) -> None:
    """Seeded pairs of equal runs under noise of several sizes."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for between in (0.001, 0.003, 0.006):
            for within in (0.0005, 0.002, 0.005):
                for alike in (0.0, 0.7):
                    for traces in (1, 3):
                        line = _simulated(between, within, alike, traces, pairs)
                        writer.writerow([between, within, alike, traces, pairs, *line])


def _simulated(
    between: float, within: float, alike: float, traces: int, pairs: int
) -> tuple[str, str]:
    random = np.random.default_rng(20261128)
    wrong = seen = 0
    for _ in range(pairs):
        base, other = (_run(random, between, within, alike, traces) for _ in range(2))
        wrong += _shown(base, other)
        seen += _shown(base, [round((1 + CHANGE) * ns) for ns in other])
    return f"{wrong / pairs:.4f}", f"{seen / pairs:.4f}"


def _run(
    random: np.random.Generator, between: float, within: float, alike: float, traces: int
) -> list[int]:
    """Traces of one run: its own level, and noise whose neighbours are alike."""
    level, noise = random.normal(0, between), random.normal(0, within)
    found = []
    for _ in range(traces):
        found.append(round(2e8 * np.exp(level + noise)))
        noise = alike * noise + (1 - alike**2) ** 0.5 * random.normal(0, within)
    return found


def _shown(base: list[int] | tuple[int, ...], other: list[int] | tuple[int, ...]) -> bool:
    found = effect_of_device(base, other)
    return found is not None and found.shown


if __name__ == "__main__":
    main()
