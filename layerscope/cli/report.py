"""`layerscope report`: a saved run as one HTML file to send, or as Markdown for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from layerscope.records import RunRecord
    from layerscope.records.finding import Finding, NotJudged
    from layerscope.report.html.sent_run import Picture, SentRun
    from layerscope.run.tables import SavedRun

_SCREEN = "-"
_MOST_BYTES = 3_000_000
_SWEEP_FILE = "sweep.json"
_Reasons = list[tuple[str, str]]


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one self-contained page here.",
)
@click.option(
    "--markdown",
    "markdown_file",
    is_flag=False,
    flag_value=_SCREEN,
    metavar="[FILE]",
    help="Markdown for a pull request comment, to FILE or, without one, to the screen. Stands after "
    "RUN.",
)
def command(run: Path, html_file: Path | None, markdown_file: str | None) -> None:
    """Report on RUN, a run folder, from its files alone.

    Ends with exit code 5, the report written, if the run's account does not add up.
    """
    from layerscope.errors import AccountingError, UsageError

    if html_file is None and markdown_file is None:
        raise UsageError("nothing to write: give --html FILE, --markdown, or both.")
    sent = read_sent_run(run)
    if html_file is not None:
        from layerscope.report.html import report_html

        page = report_html(sent)
        _write(html_file, page)
        click.echo(f"{html_file}: {len(page.encode()) / 1e6:.2f} MB, one file", err=True)
        _say_large(html_file)
    if markdown_file is not None:
        from layerscope.report.pull_request import pull_request_markdown

        text = pull_request_markdown(sent)
        if markdown_file == _SCREEN:
            click.echo(text, nl=False)
        else:
            _write(Path(markdown_file), text)
    if sent.failures:
        more = f" (and {len(sent.failures) - 1} more)" if len(sent.failures) > 1 else ""
        raise AccountingError(f"{run}: the account does not add up: {sent.failures[0]}{more}")


def read_sent_run(path: Path) -> SentRun:
    """Read a run folder, with or without its trace; what it lacks is said in the report.

    Raises:
        UsageError: a sweep, or a trace without a run.
        DataError: no run folder, or a file in it that is damaged.
    """
    from layerscope.records import load
    from layerscope.report.html.sent_run import SentRun
    from layerscope.run.tables import LAYERS_FILE, TRACE_FILE, read_saved

    _refuse_what_is_no_run(path)
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
    findings, not_judged = _findings(path, saved, absent)
    return SentRun(
        record=record,
        account=saved.account if saved else None,
        work=saved.work if saved else None,
        findings=findings,
        not_judged=not_judged,
        pictures=_pictures(path, saved, record, absent),
        failures=_failures(saved, record),
        absent=tuple(absent),
    )


def _refuse_what_is_no_run(path: Path) -> None:
    from layerscope.errors import DataError, UsageError
    from layerscope.records.run_record import RUN_FILE

    if not path.exists():
        raise DataError(f"{path}: no such folder.")
    if (path / _SWEEP_FILE).exists():
        raise UsageError(
            f"{path}: a sweep; report takes one run, such as a folder of one of its cells."
        )
    if not path.is_dir():
        raise UsageError(
            f"{path}: not a run folder; for a trace without one use `layerscope layers`."
        )
    if not (path / RUN_FILE).exists():
        raise DataError(f"{path}: no {RUN_FILE} in it, so it is no run folder.")


def _findings(
    folder: Path, saved: SavedRun | None, absent: _Reasons
) -> tuple[tuple[Finding, ...] | None, tuple[NotJudged, ...]]:
    """Judged again where the trace is there; else as the run wrote them down."""
    from layerscope.report.findings import read_findings_json
    from layerscope.run.findings import FINDINGS_FILE, findings_of
    from layerscope.run.tables import TRACE_FILE

    if saved is not None and (folder / TRACE_FILE).exists():
        found = findings_of(saved.account, saved.idle, saved.record)
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
    from layerscope.report.figures import FOLDER, write_figures
    from layerscope.report.html.pictures import read_pictures
    from layerscope.run.tables import TRACE_FILE

    if (folder / FOLDER).exists() or saved is None or not (folder / TRACE_FILE).exists():
        pictures, missing = read_pictures(folder)
        absent.extend(missing)
        return pictures
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="layerscope-report-") as drawn:
        made = write_figures(
            saved.account,
            Path(drawn),
            idle=saved.idle,
            ceilings=record.ceilings,
            name=record.name,
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


def _write(path: Path, text: str) -> None:
    from layerscope.errors import EnvironmentProblem

    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot write the report ({error.strerror}).") from None


def _say_large(path: Path) -> None:
    if path.stat().st_size > _MOST_BYTES:
        click.echo(
            f"{path}: larger than {_MOST_BYTES / 1e6:g} MB, which some mail servers refuse: the "
            "model has very many layers.",
            err=True,
        )
