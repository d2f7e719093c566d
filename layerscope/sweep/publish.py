"""A sweep's result in; its tables, figures and page in the sweep's folder out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope.core.files import (
    SWEEP_GROUPS_FILE,
    SWEEP_LAYERS_FILE,
    SWEEP_PAGE_FILE,
    SWEEP_PARQUET_FILE,
    SWEEP_REFERENCE_FILE,
    SWEEP_TABLE_FILE,
)
from layerscope.published.reference import Judgement, judge
from layerscope.published.reference_tables import reference_tables
from layerscope.records.sweep import SweepConfig, SweepRow
from layerscope.report.sweep.beside import beside_markdown, write_beside_csv
from layerscope.report.sweep.figures import write_sweep_figures
from layerscope.report.sweep.files import (
    write_sweep_csv,
    write_sweep_layers_csv,
    write_sweep_parquet,
)
from layerscope.report.sweep.groups import write_sweep_groups_csv
from layerscope.report.sweep.markdown import sweep_markdown, write_markdown
from layerscope.report.tensorboard import write_sweep_events
from layerscope.stats.sweep_tables import Exponent, Front, exponents, pareto
from layerscope.sweep.run import SweepResult


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What follows from a sweep's rows."""

    exponents: tuple[Exponent, ...]
    front: Front
    beside: tuple[Judgement, ...]


def derive(config: SweepConfig, rows: Sequence[SweepRow], *, beside_reference: bool) -> Derived:
    """Scaling exponents, the Pareto front and, on request, the judgement beside the reference.

    A sweep whose file names no published table has no judgement.
    """
    axes, link = config.axes, config.reference
    beside: tuple[Judgement, ...] = ()
    if beside_reference and link is not None:
        beside = judge(rows, axes, link, reference_tables())
    return Derived(exponents=exponents(rows, axes), front=pareto(rows), beside=beside)


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
    page = sweep_markdown(result.config.name, rows, axes, derived.exponents, derived.front, more)
    write_markdown(page, files["page"])
    files["tensorboard"] = write_sweep_events(rows, axes, root, result.config.name, page)
    return files
