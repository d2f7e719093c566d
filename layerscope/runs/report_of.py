"""A run in, all that a report of it is made from out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from layerscope.core.errors import DataError
from layerscope.core.files import FIGURES_FOLDER
from layerscope.core.folder_file import is_there
from layerscope.report.figures import write_figures
from layerscope.report.html.pictures import read_pictures
from layerscope.report.html.sent_run import Picture, SentRun
from layerscope.runs.run import Run
from layerscope.runs.verified import verify


def report_of(run: Run) -> SentRun:
    """Gather what a report shows; what the run lacks is said in it.

    Raises:
        DataError: no run folder, or a file in it that is damaged.
    """
    record = run.record
    if record is None or run.folder is None:
        raise DataError(f"{run.place.shown}: a trace without a run; there is no report of it.")
    account = run.account if run.has_account else None
    findings = run.findings
    pictures, missing = _pictures(run, run.folder)
    return SentRun(
        record=record,
        account=account,
        work=run.work if account is not None else None,
        findings=findings.seen if findings is not None else None,
        not_judged=findings.not_judged if findings is not None else (),
        pictures=pictures,
        failures=_failures(run),
        layer_energy=run.layer_energy,
        verified=verify(run).words,
        # What the run itself says of a figure says more than that its file is not there.
        absent=(*run.absent, *(item for item in missing if item[0] not in dict(run.absent))),
    )


def _pictures(run: Run, folder: Path) -> tuple[tuple[Picture, ...], tuple[tuple[str, str], ...]]:
    """The run's own figures; drawn again where the folder has none and its trace is there."""
    record = run.record
    if is_there(folder / FIGURES_FOLDER) or run.trace is None or record is None:
        return read_pictures(folder)
    with TemporaryDirectory(prefix="layerscope-report-") as drawn:
        made = write_figures(
            run.account,
            Path(drawn),
            idle=run.idle,
            ceilings=record.ceilings,
            name=record.name,
            layer_energy=run.layer_energy,
        )
        pictures, missing = read_pictures(Path(drawn))
    # Why a figure could not be drawn says more than that its file is not there.
    reasons = {f"figure {figure}": reason for figure, reason in made.absent.items()}
    return pictures, tuple((label, reasons.get(label, reason)) for label, reason in missing)


def _failures(run: Run) -> tuple[str, ...]:
    """Every rule that does not hold, now or when the run was written; each once."""
    now = (*run.account.table.failures(), *run.failures) if run.has_account else ()
    written = run.written
    then = written.account.failures if written is not None and written.account else ()
    return tuple(dict.fromkeys((*now, *then)))
