"""A sweep by each executor in turn in, what an executor costs beside its cells out.

Every go runs the same cells in a fresh sweep folder, all on one seat. Timed is what lies between the
cells: from the start of a go to its first cell (`start`), and from the end of one cell to the start of
the next (`between`). `ray, by bytes` is Ray as if no node saw the driver's folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec
from rich.console import Console

from layerscope.config.plan import plan
from layerscope.instrument.environment import read_environment
from layerscope.records.sweep import SweepConfig
from layerscope.report.progress import ProgressReporter
from layerscope.runs.sweep_places import read_places
from layerscope.sweep import execute
from layerscope.sweep.cluster import go
from layerscope.sweep.cluster.executor import RayExecutor
from layerscope.sweep.cluster.transfer import Meeting
from layerscope.sweep.run import cells_path, run_sweep

LOCAL, SHARED, BYTES = "local", "ray", "ray, by bytes"
Span = tuple[datetime, datetime]


@dataclass
class Times:
    """Seconds of one executor: before a go's first cell, that cell, the later ones, the gaps."""

    start_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    cell_s: list[float] = field(default_factory=list)
    between_s: list[float] = field(default_factory=list)
    folder_bytes: int = 0

    def add(self, began: datetime, spans: list[Span]) -> None:
        """One go: when it was started, and its cells in order."""
        self.start_s.append((spans[0][0] - began).total_seconds())
        first, *later = [(end - start).total_seconds() for start, end in spans]
        self.first_s.append(first)
        self.cell_s += later
        self.between_s += [(b[0] - a[1]).total_seconds() for a, b in pairwise(spans)]


def sweep_of(count: int, *, trace: bool) -> SweepConfig:
    """Cells that differ in their seed alone, on the bundled model."""
    return SweepConfig(
        name="overhead",
        base={
            "model": "tiny", "device": "cpu", "dataset": "synthetic-random", "samples": 2,
            "batch_size": 1, "image_size": 56, "max_input_len": 20, "max_new_tokens": 2,
            "warmup": 0, "measure_limit_s": 0.1, "trace": trace,
        },
        grid={"seed": tuple(range(count))},
    )  # fmt: skip


def one_go(config: SweepConfig, ray: RayExecutor | None, into: Times) -> None:
    """All cells of a sweep in a new folder, which is removed."""
    root = Path(tempfile.mkdtemp(prefix="layerscope-overhead-"))
    try:
        cells = plan(config, cuda=False, where="overhead", out=str(cells_path(root)))
        quiet = ProgressReporter(Console(stderr=True), quiet=True)
        with timed_attempts() as spans:
            began = datetime.now(UTC)
            result = run_sweep(config, cells, root, quiet, lambda line: None, executor=ray)
        if result.problem is not None:
            raise result.problem
        if ray is not None:
            spans += [
                (datetime.fromisoformat(place.began_utc), datetime.fromisoformat(place.ended_utc))
                for place in read_places(root).cells.values()
            ]
        assert len(spans) == len(cells)
        into.add(began, sorted(spans))
        first = next(cells_path(root).iterdir())
        into.folder_bytes = sum(path.stat().st_size for path in first.iterdir())
    finally:
        shutil.rmtree(root)


@contextlib.contextmanager
def timed_attempts() -> Iterator[list[Span]]:
    """When each cell of the local executor began and ended. Ray's seats note it themselves."""
    spans: list[Span] = []
    attempt: Callable[..., Any] = execute.attempt

    def timed(*given: Any, **options: Any) -> Any:
        began = datetime.now(UTC)
        outcome = attempt(*given, **options)
        spans.append((began, datetime.now(UTC)))
        return outcome

    execute.attempt = timed
    try:
        yield spans
    finally:
        execute.attempt = attempt


@contextlib.contextmanager
def nothing_shared() -> Iterator[None]:
    """As if no node saw the driver's folder: the token that they are told is another's."""
    honest: Callable[[Path], Meeting] = go.open_meeting
    go.open_meeting = lambda folder: Meeting(folder=honest(folder).folder, token="another")  # noqa: S106
    try:
        yield
    finally:
        go.open_meeting = honest


@click.command()
@click.option("--cells", default=6, show_default=True, type=click.IntRange(min=2))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--trace/--no-trace", default=True, show_default=True)
@click.option("--address", default="local", show_default=True, help="As in layerscope sweep.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Raw samples, to here.")
def main(cells: int, rounds: int, trace: bool, address: str, json_file: Path | None) -> None:
    """Run the same cells by every executor, taking turns, in one process; one seat at a time."""
    config = sweep_of(cells, trace=trace)
    found = {name: Times() for name in (LOCAL, SHARED, BYTES)}
    with RayExecutor(address) as ray:
        ray.has_cuda()  # connects: seconds that a command pays once, counted apart
        one_go(config, None, Times())
        for number in range(rounds):
            turn, names = number % len(found), list(found)
            for name in (*names[turn:], *names[:turn]):
                with nothing_shared() if name == BYTES else contextlib.nullcontext():
                    one_go(config, None if name == LOCAL else ray, found[name])
                print(".", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    environment = read_environment(cuda=False)
    print(
        f"tiny, {environment.cpu_model}, {environment.torch_threads} threads: {rounds} goes of {cells} "
        f"cells by each, run folders of {found[LOCAL].folder_bytes / 1e6:.2f} MB; medians"
    )
    print("\n".join(table(found)))
    print("\nCompare within this table; the times of another machine or hour are no measure.")
    if json_file is not None:
        record = msgspec.to_builtins({"environment": environment, "times": found})
        json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(found: dict[str, Times]) -> list[str]:
    """A line an executor: what a go pays once, a cell's own time, and what lies between two."""
    lines = [
        f"{'':<14}{'start':>9}{'first cell':>12}{'later cell':>12}{'between cells':>15}"
        f"{'of a cell':>11}{'over local':>12}"
    ]
    base = median(found[LOCAL].between_s)
    for name, times in found.items():
        cell, between = median(times.cell_s), median(times.between_s)
        lines.append(
            f"{name:<14}{median(times.start_s):>7.2f} s{median(times.first_s):>10.2f} s"
            f"{cell:>10.2f} s{between * 1000:>12.1f} ms{between / cell:>11.2%}"
            f"{between / base:>11.0f}×"
        )
    return lines


if __name__ == "__main__":
    main()
