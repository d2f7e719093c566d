"""A run folder in, all that a report of it is made from out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from layerscope.records import RunRecord, load
from layerscope.records.finding import Finding, NotJudged
from layerscope.report.figures import FOLDER, write_figures
from layerscope.report.findings import read_findings_json
from layerscope.report.html.pictures import read_pictures
from layerscope.report.html.sent_run import Picture, SentRun
from layerscope.run.tables import LAYERS_FILE, TRACE_FILE, SavedRun, read_saved
from layerscope.runs.judge import FINDINGS_FILE, findings_of

_Reasons = list[tuple[str, str]]


def read_sent_run(path: Path) -> SentRun:
    """Read a run folder, with or without its trace; what it lacks is said in the report.

    Raises:
        DataError: no run folder, or a file in it that is damaged.
    """
    record, absent = load(path), _Reasons()
    saved: SavedRun | None = None
    if record.trace is not None and any((path / n).exists() for n in (TRACE_FILE, LAYERS_FILE)):
        saved = read_saved(path)
    else:
        untraced = "the run was not traced"
        gone = f"neither {TRACE_FILE} nor {LAYERS_FILE} is in the folder"
        absent.append(("account", untraced if record.trace is None else gone))
    if saved is not None and saved.work is None:
        reason = "the folder holds no counted work (work.json)"
        absent.append(("use of the device by phase, floor", reason))
    if saved is not None and saved.record is not None:
        record = saved.record  # its ceilings were doubted
    findings, not_judged = _findings(path, saved, absent)
    return SentRun(
        record=record,
        account=saved.account if saved else None,
        work=saved.work if saved else None,
        findings=findings,
        not_judged=not_judged,
        pictures=_pictures(path, saved, record, absent),
        failures=_failures(saved, record),
        layer_energy=saved.layer_energy if saved else None,
        absent=tuple(absent),
    )


def _findings(
    folder: Path, saved: SavedRun | None, absent: _Reasons
) -> tuple[tuple[Finding, ...] | None, tuple[NotJudged, ...]]:
    """Judged again where the trace is there; else as the run wrote them down."""
    if saved is not None and (folder / TRACE_FILE).exists():
        found = findings_of(saved.account, saved.idle, saved.record, saved.layer_energy)
        return found.seen, found.not_judged
    if (folder / FINDINGS_FILE).exists():
        held = read_findings_json(folder / FINDINGS_FILE)
        return held.findings, held.not_judged
    absent.append(("findings", f"neither {TRACE_FILE} nor {FINDINGS_FILE} is in the folder"))
    return None, ()


def _pictures(
    folder: Path, saved: SavedRun | None, record: RunRecord, absent: _Reasons
) -> tuple[Picture, ...]:
    """The run's own figures; drawn again where the folder has none and its trace is there."""
    if (folder / FOLDER).exists() or saved is None or not (folder / TRACE_FILE).exists():
        pictures, missing = read_pictures(folder)
        absent.extend(missing)
        return pictures

    with TemporaryDirectory(prefix="layerscope-report-") as drawn:
        made = write_figures(
            saved.account,
            Path(drawn),
            idle=saved.idle,
            ceilings=record.ceilings,
            name=record.name,
            layer_energy=saved.layer_energy,
        )
        pictures, missing = read_pictures(Path(drawn))
    # Why a figure could not be drawn says more than that its file is not there.
    reasons = {f"figure {figure}": reason for figure, reason in made.absent.items()}
    absent.extend((label, reasons.get(label, reason)) for label, reason in missing)
    return pictures


def _failures(saved: SavedRun | None, record: RunRecord) -> tuple[str, ...]:
    """Every rule that does not hold, now or when the run was written; each once."""
    now = (*saved.account.table.failures(), *saved.failures) if saved else ()
    then = record.account.failures if record.account else ()
    return tuple(dict.fromkeys((*now, *then)))
