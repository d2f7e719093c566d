"""A sweep's result in; its tables, figures and page in the sweep's folder out."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.files import (
    SWEEP_GROUPS_FILE,
    SWEEP_LAYERS_FILE,
    SWEEP_PAGE_FILE,
    SWEEP_PARQUET_FILE,
    SWEEP_REFERENCE_FILE,
    SWEEP_TABLE_FILE,
)
from layerscope.published.derived import Derived
from layerscope.published.reference_tables import reference_tables
from layerscope.report.sweep.beside import beside_markdown, write_beside_csv
from layerscope.report.sweep.figures import write_sweep_figures
from layerscope.report.sweep.files import (
    write_sweep_csv,
    write_sweep_layers_csv,
    write_sweep_parquet,
)
from layerscope.report.sweep.groups import write_sweep_groups_csv
from layerscope.report.sweep.markdown import sweep_markdown, write_markdown
from layerscope.report.sweep.phase_figures import write_phase_figures
from layerscope.report.tensorboard import write_sweep_events
from layerscope.sweep.run import SweepResult


def publish(result: SweepResult, derived: Derived) -> dict[str, Path]:
    """Write every table and figure of a sweep; role -> file.

    Raises:
        EnvironmentProblem: a file cannot be written.
        DataError: a cell's layer table is damaged.
    """
    root, rows, axes = result.root, result.rows, result.config.axes
    files = {
        "table": root / SWEEP_TABLE_FILE,
        "table_parquet": root / SWEEP_PARQUET_FILE,
        "layers": root / SWEEP_LAYERS_FILE,
        "groups": root / SWEEP_GROUPS_FILE,
        "page": root / SWEEP_PAGE_FILE,
    }
    write_sweep_csv(rows, axes, files["table"])
    write_sweep_parquet(rows, axes, files["table_parquet"])
    write_sweep_layers_csv(rows, root, files["layers"])
    write_sweep_groups_csv(rows, root, files["groups"])
    more: tuple[str, ...] = ()
    if derived.beside:
        files["beside"] = root / SWEEP_REFERENCE_FILE
        write_beside_csv(derived.beside, rows, axes, files["beside"])
        inferred = reference_tables()["inferred"]
        more = (beside_markdown(derived.beside, rows, axes, inferred),)
    files |= write_sweep_figures(rows, axes, root, result.config.name)
    files |= write_phase_figures(rows, axes, root, root, result.config.name)
    page = sweep_markdown(result.config.name, rows, axes, derived.exponents, derived.front, more)
    write_markdown(page, files["page"])
    files["tensorboard"] = write_sweep_events(rows, axes, root, result.config.name, page)
    return files
