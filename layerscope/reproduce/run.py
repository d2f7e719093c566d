"""What to run on in; the five tables, one after the other, and their bundle out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerscope.config.plan import plan
from layerscope.core.errors import LayerscopeError
from layerscope.core.files import PLAN_FILE
from layerscope.core.progress import Progress
from layerscope.published.derived import derive
from layerscope.records.run_record import Environment
from layerscope.records.sweep import Cell, SweepConfig
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.reproduce.bundle import write_bundle
from layerscope.reproduce.checks import CellCheck, check_cell
from layerscope.reproduce.page import reproduction_page
from layerscope.reproduce.paths import (
    Variant,
    Where,
    data_folders,
    datasets_of,
    placed,
    table_config,
)
from layerscope.reproduce.pins import Pins, kept_pins, sha256_of
from layerscope.reproduce.tables import TABLES
from layerscope.runs.sweep import Sweep
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.sweep.execute import execute
from layerscope.sweep.models import KeptModel
from layerscope.sweep.publish import publish
from layerscope.sweep.run import (
    PlannedSweep,
    Say,
    SweepResult,
    Watcher,
    cells_path,
    run_sweep,
    say_plan,
)
from layerscope.workload.checkpoint import weight_files
from layerscope.workload.data.layouts import LAYOUTS
from layerscope.workload.data.rows import resolve_revision
from layerscope.workload.hub import Hub, is_hub_id


@dataclass(frozen=True)
class Prepared:
    """A reproduction before its first cell: every table's sweep and cells, every commit fixed."""

    root: Path
    pins: Pins
    configs: Mapping[str, SweepConfig]
    cells: Mapping[str, tuple[Cell, ...]]


@dataclass(frozen=True)
class Reproduction:
    """A reproduction after one go.

    Attributes:
        problems: table -> why a cell of it has no run.
    """

    page: str
    bundle: Path
    sweeps: Mapping[str, SentSweep]
    checks: tuple[CellCheck, ...]
    problems: Mapping[str, LayerscopeError]


def prepare(
    root: Path, variant: Variant, tables: tuple[str, ...], where: Where, *, cuda: bool
) -> Prepared:
    """Fix the commits and plan every table; nothing is loaded or measured.

    Raises:
        UsageError: a folder that was started otherwise, or a value that no run can take.
        DataError: a data set without a folder.
        EnvironmentProblem: the hub is needed and cannot be reached.
    """
    shipped = {name: table_config(variant, name) for name in tables}
    used = datasets_of(shipped)
    folders = {} if where.data_dir is None else data_folders(where.data_dir, used)
    model = where.model
    if model is None and variant == "reference":
        model = str(shipped[tables[0]].base["model"])
    asked = Pins(
        variant=variant,
        model=model,
        data_dir=None if where.data_dir is None else str(where.data_dir),
        device=where.device,
        samples=where.samples,
    )
    pins = kept_pins(root, asked, _resolver(used if where.data_dir is None else ()))
    configs = {name: placed(config, where, pins, folders) for name, config in shipped.items()}
    cells = {
        name: plan(config, cuda=cuda, where=name, out=str(cells_path(root / name)))
        for name, config in configs.items()
    }
    return Prepared(root=root, pins=pins, configs=configs, cells=cells)


def say_plans(prepared: Prepared, say: Say) -> None:
    """Each table's plan and estimate."""
    for name, cells in prepared.cells.items():
        finished = SweepFolder(prepared.root / name).finished()
        missing = [cell for cell in cells if cell.id not in finished]
        say_plan(prepared.configs[name], cells, finished, missing, say)


def reproduce(
    prepared: Prepared,
    progress: Progress,
    say: Say,
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> Reproduction:
    """Run what is missing of every table, then write the page and the bundle.

    A table with a cell that cannot run is a table with a reason; the next one runs.

    Raises:
        EnvironmentProblem: a folder cannot be written, or another process writes to it.
        DataError: a file of a finished run is damaged.
    """
    # One model for all tables: four of the five load the same.
    models = KeptModel()
    problems: dict[str, LayerscopeError] = {}
    for name, cells in prepared.cells.items():
        result = run_sweep(
            PlannedSweep(prepared.configs[name], cells, prepared.root / name),
            Watcher(progress, say, interrupted),
            executor=functools.partial(execute, models=models),
            then=_publish,
        )
        if result.problem is not None:
            problems[name] = result.problem
            say(f"{name}: {result.problem}")
    models.drop()
    return gather(prepared, problems)


def gather(prepared: Prepared, problems: Mapping[str, LayerscopeError]) -> Reproduction:
    """Read what the tables' folders hold, of earlier goes too, and write the page and the bundle.

    Raises:
        DataError: a file of a finished run is damaged.
        EnvironmentProblem: the bundle cannot be written.
    """
    root, pins = prepared.root, prepared.pins
    begun = [name for name in TABLES if (root / name / PLAN_FILE).is_file()]
    sweeps = {name: Sweep.open(root / name).report for name in begun}
    for name, sweep in sweeps.items():
        # A table that an earlier go was stopped in has its cells, but no files of its own yet.
        if name not in prepared.cells:
            _publish(SweepResult(sweep.config, root / name, sweep.rows, None, 0))
    checks = tuple(
        check_cell(
            name,
            " ".join(f"{key}={value}" for key, value in row.settings.items()),
            sweep.records[row.cell],
            root / name / row.folder,
        )
        for name, sweep in sweeps.items()
        for row in sweep.rows
        if row.folder is not None and row.cell in sweep.records
    )
    environment = _environment(sweeps)
    repos = {name: layout.repo for name, layout in LAYOUTS.items()}
    page = reproduction_page(pins, repos, sweeps, checks, environment)
    bundle = write_bundle(root, page, pins, sweeps, checks, environment)
    return Reproduction(page, bundle, sweeps, checks, dict(problems))


def _resolver(datasets: tuple[str, ...]) -> Callable[[Pins], Pins]:
    def resolve(asked: Pins) -> Pins:
        commit, hashes = None, {}
        folder = Path(asked.model or "").expanduser()
        if asked.model is not None and folder.is_dir():
            hashes = {path.name: sha256_of(path) for path in weight_files(folder)}
        elif asked.model is not None and is_hub_id(asked.model):
            commit = Hub().locate(asked.model, None).commit
        return dataclasses.replace(
            asked,
            model_commit=commit,
            weights_sha256=hashes,
            datasets={name: resolve_revision(LAYOUTS[name]) for name in datasets},
            resolved_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    return resolve


def _publish(result: SweepResult) -> None:
    publish(result, derive(result.config, result.rows, beside_reference=True))


def _environment(sweeps: Mapping[str, SentSweep]) -> Environment | None:
    return next((s.first.environment for s in sweeps.values() if s.first is not None), None)
