"""A sweep's folder in, all that a report of it is made from out: rows and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from layerscope.core.errors import DataError
from layerscope.core.microseconds import us_grouped
from layerscope.published.reference_tables import reference_tables
from layerscope.records import LayerRow
from layerscope.records.finding import Finding
from layerscope.records.sweep import Cell, SweepRow
from layerscope.report.csv import read_layers_csv
from layerscope.report.findings import read_findings_json
from layerscope.report.html.pictures import read_pictures
from layerscope.report.html.sent_run import Picture
from layerscope.report.sums import total_of
from layerscope.report.sweep.figures import FOLDER, write_sweep_figures
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.runs.judge import FINDINGS_FILE
from layerscope.sweep.folder import PLAN_FILE, Finished, SweepFolder, check_same
from layerscope.sweep.places import read_places
from layerscope.sweep.publish import derive
from layerscope.sweep.rows import rows_of

_LAYERS = "layers.csv"


def read_sent_sweep(root: Path) -> SentSweep:
    """Read a sweep's folder, whole or stopped on the way; what it lacks is said in the report.

    Nothing is written to the folder, so a sweep that still runs can be reported.

    Raises:
        DataError: no sweep's folder, or a file in it that is damaged or of another run.
    """
    folder = SweepFolder(root)
    plan = folder.previous()
    if plan is None:
        raise DataError(f"{root}: no {PLAN_FILE} in it, so it is no sweep's folder.")
    finished = _of_plan(plan.cells, folder.finished())
    rows = rows_of(plan.cells, finished, folder.failures(), read_places(root).cells, root=root)
    derived = derive(plan.config, rows, beside_reference=plan.config.reference is not None)
    layers = _layers(finished)
    pictures, absent = _pictures(root, rows, plan.config.axes, plan.config.name)
    return SentSweep(
        config=plan.config,
        layerscope=plan.layerscope,
        rows=rows,
        exponents=derived.exponents,
        front=derived.front,
        beside=derived.beside,
        inferred=reference_tables()["inferred"] if derived.beside else {},
        records={cell: done.record for cell, done in finished.items()},
        findings=_findings(finished),
        layers=layers,
        pictures=pictures,
        unequal=tuple(_unequal(finished, layers)),
        absent=(*absent, *_without_layers(finished, layers)),
    )


def _of_plan(cells: Sequence[Cell], finished: Mapping[str, Finished]) -> dict[str, Finished]:
    """The finished cells of this plan, in its order; a run of another configuration is refused."""
    found = {}
    for cell in cells:
        if cell.id in finished:
            check_same(cell, finished[cell.id])
            found[cell.id] = finished[cell.id]
    return found


def _layers(finished: Mapping[str, Finished]) -> dict[str, tuple[LayerRow, ...]]:
    return {
        cell: read_layers_csv(done.folder / _LAYERS)
        for cell, done in finished.items()
        if (done.folder / _LAYERS).exists()
    }


def _findings(finished: Mapping[str, Finished]) -> dict[str, tuple[Finding, ...]]:
    return {
        cell: read_findings_json(done.folder / FINDINGS_FILE).findings
        for cell, done in finished.items()
        if (done.folder / FINDINGS_FILE).exists()
    }


def _unequal(
    finished: Mapping[str, Finished], layers: Mapping[str, Sequence[LayerRow]]
) -> Iterator[str]:
    """Layer tables that do not sum, to the nanosecond, to what their run measured as a whole."""
    for cell, rows in layers.items():
        done = finished[cell]
        account = done.record.account
        if account is None:
            continue
        for what, whole_us, found in (
            ("device time", account.device_sum_us, total_of(row.gpu_self_ns for row in rows)),
            ("host window", account.host_window_us, total_of(row.cpu_self_ns for row in rows)),
        ):
            if whole_us is not None and found != round(whole_us * 1000):
                yield (
                    f"{done.folder.name}: {_LAYERS} sums to {us_grouped(found or 0)} us, the "
                    f"{what} is {whole_us:,.3f} us"
                )


def _without_layers(
    finished: Mapping[str, Finished], layers: Mapping[str, object]
) -> tuple[tuple[str, str], ...]:
    lacking = [done.folder.name for cell, done in finished.items() if cell not in layers]
    return (("layers", f"no {_LAYERS} in {', '.join(lacking)}"),) if lacking else ()


def _pictures(
    root: Path, rows: Sequence[SweepRow], axes: Sequence[str], name: str
) -> tuple[tuple[Picture, ...], tuple[tuple[str, str], ...]]:
    """The sweep's own figures; drawn again where its command did not end."""
    roles = [f"against_{axis}" for axis in axes]
    if (root / FOLDER).exists():
        pictures, missing = read_pictures(root, roles)
    else:
        with TemporaryDirectory(prefix="layerscope-report-") as drawn:
            write_sweep_figures(rows, axes, Path(drawn), name)
            pictures, missing = read_pictures(Path(drawn), roles)
    # An axis along which nothing was measured twice has no figure: that is no loss to speak of.
    said = tuple(item for item in missing if "is not in the folder" not in item[1])
    return pictures, said
