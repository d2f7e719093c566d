"""What a sweep of many cells costs TensorBoard's server: CPU seconds until the tab shows it.

    python benchmarks/sweep_in_tensorboard.py [--cells 200] [--run docs/results/h200/xl-b16-eager]

Copies one run folder into as many cells of an imagined sweep, with event files as layerscope writes
them, starts the real `tensorboard` over them and asks what the tab asks when it opens. CPU time is
that of the server and of all its children, read from /proc (Linux).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import msgspec

from layerscope.records import load
from layerscope.records.sweep import Cell, Estimate, SweepConfig, SweepFile, SweepRow
from layerscope.report.sweep.files import write_sweep_csv
from layerscope.report.sweep.groups import write_sweep_groups_csv
from layerscope.report.tensorboard import write_events, write_sweep_events
from layerscope.runs.run import Run

AXES = ("batch_size", "image_size")
SIDE = 10  # cells along the first axis
REPOSITORY = Path(__file__).resolve().parents[1]


def make_sweep(root: Path, run: Path, cells: int) -> None:
    """A sweep's folder as `layerscope sweep` leaves it, every cell the same run at another place."""
    record, account = load(run), Run.open(run).account
    rows, plan = [], []
    for number in range(cells):
        settings = {"batch_size": 1 + number % SIDE, "image_size": 224 + 14 * (number // SIDE)}
        config = dataclasses.replace(record.config, **settings)
        cell = f"{number:012x}"
        folder = root / "cells" / f"20260101T000000Z-{cell}"
        folder.mkdir(parents=True)
        for name in ("layers.csv", "steps.csv", "findings.json"):
            # Linked where that works: 200 tables of the XL model without 200 copies.
            try:
                os.link(run / name, folder / name)
            except OSError:
                shutil.copyfile(run / name, folder / name)
        of_cell = dataclasses.replace(record, name=folder.name, config=config)
        (folder / "run.json").write_bytes(msgspec.json.encode(of_cell))
        write_events(folder, of_cell, account, step=settings["batch_size"], in_sweep=True)
        plan.append(Cell(id=cell, settings=settings, config=config))
        rows.append(
            SweepRow(
                cell=cell,
                settings=settings,
                config=config,
                status="done",
                folder=str(folder.relative_to(root)),
                flops=1 + number,
                latency_s=Estimate(value=0.1 * (1 + number)),
                group_ns={"norm": 1_000 * (1 + number)},
                device_sum_us=account.table.whole.device_sum_ns / 1000,
            )
        )
    grid = {axis: tuple(dict.fromkeys(row.settings[axis] for row in rows)) for axis in AXES}
    config = SweepConfig(name="many", grid=grid)
    plan_file = SweepFile(layerscope="0", config=config, cells=tuple(plan))
    (root / "sweep.json").write_bytes(msgspec.json.encode(plan_file))
    write_sweep_csv(rows, AXES, root / "sweep.csv")
    _write_groups(rows, root)
    write_sweep_events(rows, AXES, root, "many", "# many")


def _write_groups(rows: list[SweepRow], root: Path) -> None:
    """The first cell's lines for every cell: all are the same run, and reading one table is enough."""
    path = root / "sweep_groups.csv"
    write_sweep_groups_csv(rows[:1], root, path)
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    first = rows[0].cell
    every = (line.replace(first, row.cell, 1) for row in rows for line in lines)
    path.write_text(header + "".join(every), encoding="utf-8")


def cpu_s(process: int) -> float:
    """CPU seconds of a process and of all that it started, those that ended included."""
    total, tick = 0.0, os.sysconf("SC_CLK_TCK")
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        parents[int(path.parent.name)] = (int(fields[1]), [int(f) for f in fields[11:15]])
    wanted = {process}
    while more := {p for p, (parent, _) in parents.items() if parent in wanted} - wanted:
        wanted |= more
    for one in wanted & set(parents):
        total += sum(parents[one][1]) / tick
    return total


class Server:
    """The real `tensorboard` over a folder, in a process of its own."""

    def __init__(self, logdir: Path) -> None:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", "0"], stderr=self._log, text=True
        )
        self.address = self._address()

    def _address(self) -> str:
        for _ in range(600):
            self._log.seek(0)
            if found := re.search(r"TensorBoard \S+ at (http://\S+)", self._log.read()):
                return found[1].rstrip("/")
            time.sleep(0.1)
        raise SystemExit("TensorBoard named no address within a minute")

    def get(self, route: str, **query: str) -> bytes:
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        with urllib.request.urlopen(f"{self.address}/data/{route}{text}") as answer:  # noqa: S310
            return answer.read()

    def cpu_s(self) -> float:
        return cpu_s(self.process.pid)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self._log.close()


def wait_until_still(server: Server) -> None:
    """Until TensorBoard has read all event files: its CPU time stands still for two seconds."""
    before = -1.0
    while (now := server.cpu_s()) - before > 0.03:
        before = now
        time.sleep(2)


def measure(logdir: Path, *, settle: bool = True) -> dict[str, float]:
    """CPU seconds of each part of opening the tab, and of the whole.

    `settle`: wait too until TensorBoard has read every event file, which takes many seconds.
    """
    server = Server(logdir)
    try:
        started = server.cpu_s()
        plugin = "plugin/layerscope"
        runs = json.loads(server.get(f"{plugin}/runs"))
        sweeps = json.loads(server.get(f"{plugin}/sweeps"))
        tables = [server.get(f"{plugin}/sweep_file", sweep=one["id"], name=name)
                  for one in sweeps for name in one["files"]]  # fmt: skip
        for one in runs[:1]:
            for name in ("layers", "steps", "findings"):
                server.get(f"{plugin}/file", run=one["id"], name=name)
        opened = server.cpu_s()
        for _ in range(5):
            server.get(f"{plugin}/runs")
            server.get(f"{plugin}/sweeps")
        looked = server.cpu_s()
        if settle:
            wait_until_still(server)
        return {
            "runs": len(runs),
            "bytes_of_tables": sum(map(len, tables)),
            "start_s": started,
            "opening_the_tab_s": opened - started,
            "start_and_opening_s": opened,
            "looking_again_s": (looked - opened) / 5,
            **({"all_event_files_read_s": server.cpu_s()} if settle else {}),
        }
    finally:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--run", type=Path, default=REPOSITORY / "docs/results/h200/xl-b16-eager")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="layerscope-bench-", dir=arguments.run.parent))
    try:
        (folder / "none").mkdir()
        make_sweep(folder / "many" / "sweep", arguments.run, arguments.cells)
        for name in ("none", "many"):
            print(name, json.dumps(measure(folder / name), indent=2))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
