"""`Sweep`: a sweep's folder in, its plan, its runs, its rows and what follows from them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from layerscope.core.cached import cached_property
from layerscope.core.errors import DataError
from layerscope.core.files import FIGURES_FOLDER, FINDINGS_FILE, LAYERS_FILE, PLAN_FILE
from layerscope.core.folder_file import is_there
from layerscope.core.microseconds import us_grouped
from layerscope.published.derived import derive
from layerscope.published.reference_tables import reference_tables
from layerscope.records import LayerRow
from layerscope.records.finding import Finding
from layerscope.records.sweep import Cell, SweepFile, SweepRow
from layerscope.report.csv import read_layers_csv
from layerscope.report.findings import read_findings_json
from layerscope.report.html.pictures import read_pictures
from layerscope.report.html.sent_run import Picture
from layerscope.report.sums import total_of
from layerscope.report.sweep.figures import write_sweep_figures
from layerscope.report.sweep.phase_figures import write_phase_figures
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.runs.run import Run
from layerscope.runs.sweep_folder import Finished, SweepFolder, check_same
from layerscope.runs.sweep_places import read_places
from layerscope.runs.sweep_rows import rows_of


class Sweep:
    """A sweep's folder, whole or stopped on the way; made with `Sweep.open`.

    Nothing is written to the folder, so a sweep that still runs can be read.

    Attributes:
        root: the folder.
        plan: what was to run.
    """

    def __init__(self, root: Path, plan: SweepFile) -> None:
        self.root, self.plan = root, plan

    @classmethod
    def open(cls, path: str | Path) -> Sweep:
        """Open a sweep's folder.

        Raises:
            DataError: no sweep's folder, or a damaged plan.
        """
        root = Path(path)
        plan = SweepFolder(root).previous()
        if plan is None:
            raise DataError(f"{root}: no {PLAN_FILE} in it, so it is no sweep's folder.")
        return cls(root, plan)

    @cached_property
    def finished(self) -> dict[str, Finished]:
        """The finished cells of this plan, in its order.

        Raises:
            DataError: a cell's folder is damaged, or of another run.
        """
        return _of_plan(self.plan.cells, SweepFolder(self.root).finished())

    @cached_property
    def runs(self) -> dict[str, Run]:
        """The finished cells as runs; each is read when something is asked of it."""
        return {cell: Run.open(done.folder) for cell, done in self.finished.items()}

    @cached_property
    def rows(self) -> tuple[SweepRow, ...]:
        """One row a cell of the plan, whether it ran or not."""
        return rows_of(
            self.plan.cells,
            self.finished,
            SweepFolder(self.root).failures(),
            read_places(self.root).cells,
            root=self.root,
        )

    @cached_property
    def report(self) -> SentSweep:
        """All that a report of the sweep is made from; what it lacks is said in it.

        Its layers are the cells' tables as they were written: a sweep may hold more traces than anyone
        waits for.
        """
        plan, finished, rows = self.plan, self.finished, self.rows
        derived = derive(plan.config, rows, beside_reference=plan.config.reference is not None)
        layers = _layers(finished)
        pictures, absent = _pictures(self.root, rows, plan.config.axes, plan.config.name)
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
        cell: read_layers_csv(done.folder / LAYERS_FILE)
        for cell, done in finished.items()
        if is_there(done.folder / LAYERS_FILE)
    }


def _findings(finished: Mapping[str, Finished]) -> dict[str, tuple[Finding, ...]]:
    return {
        cell: read_findings_json(done.folder / FINDINGS_FILE).findings
        for cell, done in finished.items()
        if is_there(done.folder / FINDINGS_FILE)
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
                    f"{done.folder.name}: {LAYERS_FILE} sums to {us_grouped(found or 0)} us, the "
                    f"{what} is {whole_us:,.3f} us"
                )


def _without_layers(
    finished: Mapping[str, Finished], layers: Mapping[str, object]
) -> tuple[tuple[str, str], ...]:
    lacking = [done.folder.name for cell, done in finished.items() if cell not in layers]
    return (("layers", f"no {LAYERS_FILE} in {', '.join(lacking)}"),) if lacking else ()


def _pictures(
    root: Path, rows: Sequence[SweepRow], axes: Sequence[str], name: str
) -> tuple[tuple[Picture, ...], tuple[tuple[str, str], ...]]:
    """The sweep's own figures; drawn again where its command did not end."""
    roles = [f"{of}against_{axis}" for axis in axes for of in ("", "phases_")]
    if is_there(root / FIGURES_FOLDER):
        pictures, missing = read_pictures(root, roles)
    else:
        with TemporaryDirectory(prefix="layerscope-report-") as drawn:
            write_sweep_figures(rows, axes, Path(drawn), name)
            write_phase_figures(rows, axes, root, Path(drawn), name)
            pictures, missing = read_pictures(Path(drawn), roles)
    # An axis along which nothing was measured twice has no figure: that is no loss to speak of.
    said = tuple(item for item in missing if "is not in the folder" not in item[1])
    return pictures, said
