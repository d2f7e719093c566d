"""`layerscope report`: a saved run or sweep as one HTML file to send, or as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.browser import open_file
from layerscope.cli.verb import verb

_SCREEN = "-"
_MOST_BYTES = 3_000_000


@verb(
    "report",
    "layerscope report traces/RUN --html report.html --open",
    "layerscope report traces/RUN --markdown comment.md",
)
@click.argument("run", metavar="RUN_OR_SWEEP", type=click.Path(path_type=Path))
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
    "RUN_OR_SWEEP.",
)
@click.option("--open", "opens", is_flag=True, help="With --html: open the page in the browser.")
def command(run: Path, html_file: Path | None, markdown_file: str | None, *, opens: bool) -> None:
    """Report on RUN_OR_SWEEP, the folder of a run or of a sweep, from its files alone.

    Ends with exit code 5, the report written, if an account does not add up.
    """
    from layerscope.core.errors import AccountingError, UsageError
    from layerscope.core.files import PLAN_FILE
    from layerscope.core.folder_file import is_there

    if html_file is None and markdown_file is None:
        raise UsageError("nothing to write: give --html FILE, --markdown, or both.")
    if opens and html_file is None:
        raise UsageError("--open: give --html FILE, the page to open.")
    _refuse_what_is_neither(run)
    sweep = is_there(run / PLAN_FILE)
    page, comment, failures = (_of_sweep if sweep else _of_run)(
        run, html=html_file is not None, markdown=markdown_file is not None
    )
    if html_file is not None:
        _write(html_file, page)
        click.echo(f"{html_file}: {len(page.encode()) / 1e6:.2f} MB, one file", err=True)
        _say_large(html_file)
        if opens:
            open_file(html_file)
    if markdown_file == _SCREEN:
        click.echo(comment, nl=False)
    elif markdown_file is not None:
        _write(Path(markdown_file), comment)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise AccountingError(f"{run}: the account does not add up: {failures[0]}{more}")


def _of_run(path: Path, *, html: bool, markdown: bool) -> tuple[str, str, tuple[str, ...]]:
    """The page, the comment (each empty where it is not wanted) and what does not add up."""
    from layerscope.report.html import report_html
    from layerscope.report.pull_request import pull_request_markdown
    from layerscope.runs.report_of import report_of
    from layerscope.runs.run import Run

    sent = report_of(Run.open(path))
    page = report_html(sent) if html else ""
    return page, pull_request_markdown(sent) if markdown else "", sent.failures


def _of_sweep(path: Path, *, html: bool, markdown: bool) -> tuple[str, str, tuple[str, ...]]:
    from layerscope.report.html.sweep_page import sweep_html
    from layerscope.report.sweep.pull_request import sweep_comment
    from layerscope.runs.sweep import Sweep

    sent = Sweep.open(path).report
    return sweep_html(sent) if html else "", sweep_comment(sent) if markdown else "", sent.failures


def _refuse_what_is_neither(path: Path) -> None:
    from layerscope.core.errors import DataError, UsageError
    from layerscope.core.files import PLAN_FILE, RUN_FILE
    from layerscope.core.folder_file import is_there

    if not path.exists():
        raise DataError(f"{path}: no such folder.")
    if not path.is_dir():
        raise UsageError(
            f"{path}: not a run folder; for a trace without one use `layerscope layers`."
        )
    if not is_there(path / RUN_FILE) and not is_there(path / PLAN_FILE):
        raise DataError(
            f"{path}: neither {RUN_FILE} nor {PLAN_FILE} in it, so it is no run folder and no sweep."
        )


def _write(path: Path, text: str) -> None:
    from layerscope.core.errors import EnvironmentProblem
    from layerscope.core.whole_file import whole_file

    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot write the report ({error.strerror}).") from None


def _say_large(path: Path) -> None:
    if path.stat().st_size > _MOST_BYTES:
        click.echo(
            f"{path}: larger than {_MOST_BYTES / 1e6:g} MB, which some mail servers refuse: the "
            "model has very many layers.",
            err=True,
        )
