"""A sweep's folder as `layerscope sweep` leaves it, made from a run that is there already."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec

from layerscope.records import Interval, load
from layerscope.records.sweep import Cell, CellFailure, Estimate, SweepConfig, SweepFile, SweepRow
from layerscope.report.sweep.figures import write_sweep_figures
from layerscope.report.sweep.files import write_sweep_csv
from layerscope.report.sweep.groups import write_sweep_groups_csv
from layerscope.report.tensorboard import write_events, write_sweep_events
from layerscope.runs.run import Run
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.runs.sweep_rows import group_times

AXES = ("batch_size", "image_size")
BATCHES, SIZES = (1, 2, 4), (224, 448)
FAILED = {"batch_size": 4, "image_size": 448}
REASON = "CUDA out of memory: <b>448 px</b>"


def latency_s(settings: dict[str, int]) -> float:
    """What the imagined cell took: by hand, so that a test knows it."""
    return 0.1 * settings["batch_size"] * (settings["image_size"] / 224)


def write_sweep(root: Path, run: Path, *, tables: bool = True) -> tuple[SweepRow, ...]:
    """Six cells, each `run` at another place of the grid; the last one failed."""
    record, account = load(run), Run.open(run).account
    groups = group_times(run / "layers.csv")
    rows, plan = [], []
    places = [{"batch_size": b, "image_size": s} for b in BATCHES for s in SIZES]
    for number, settings in enumerate(places):
        config = replace(record.config, **settings)
        cell = f"{number:012x}"
        plan.append(Cell(id=cell, settings=dict(settings), config=config))
        row = SweepRow(cell=cell, settings=dict(settings), config=config, status="failed")
        if settings == FAILED:
            rows.append(replace(row, reason=REASON))
            SweepFolder(root).write_failure(
                CellFailure(
                    id=cell, reason=REASON, exit_code=3, when_utc="2026-01-01T00:00:00+00:00"
                )
            )
            continue
        folder = root / "cells" / f"20260101T0000{number:02}Z-tiny-{cell}"
        shutil.copytree(run, folder, ignore=shutil.ignore_patterns("figures", "events.*", "*.gz"))
        of_cell = replace(record, name=folder.name, config=config)
        (folder / "run.json").write_bytes(msgspec.json.encode(of_cell))
        write_events(folder, of_cell, account, step=settings["batch_size"], in_sweep=True)
        took = latency_s(settings)
        interval = Interval(low=0.9 * took, high=1.1 * took, method="by hand")
        rows.append(
            replace(
                row,
                status="done",
                folder=str(folder.relative_to(root)),
                latency_s=Estimate(value=took, interval=interval),
                energy_j=Estimate(reason="no counter on this machine"),
                flops=int(record.report.flops.value or 0),
                group_ns=groups,
            )
        )
    grid = {"batch_size": BATCHES, "image_size": SIZES}
    config_of = SweepConfig(name="mine", grid=grid)
    held = SweepFile(layerscope="0", config=config_of, cells=tuple(plan))
    (root / "sweep.json").write_bytes(msgspec.json.encode(held))
    if tables:
        write_sweep_csv(rows, AXES, root / "sweep.csv")
        write_sweep_groups_csv(rows, root, root / "sweep_groups.csv")
        write_sweep_figures(rows, AXES, root, "mine")
        write_sweep_events(rows, AXES, root, "mine", "# mine")
    return tuple(rows)
