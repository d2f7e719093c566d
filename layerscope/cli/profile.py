"""`layerscope profile`: one run, from the options to the run folder and the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from layerscope.cli.options import read_options, run_options
from layerscope.cli.verb import under, verb

if TYPE_CHECKING:
    from layerscope.passes.profile import FinishedRun

Form = Literal["first", "verbose", "quiet", "json"]


@verb(
    "profile",
    "layerscope profile --model tiny --device cpu --batch 2 --samples 4",
    "layerscope profile --model Qwen/Qwen2.5-VL-3B-Instruct --batch 4 --optimize tf32",
)
@run_options()
@under(
    "Output",
    click.option(
        "--strict",
        is_flag=True,
        help="Exit 3 where an optimization fell back without being told to.",
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Print all that is known, not only what matters first.",
    ),
    click.option("--quiet", is_flag=True, help="Print only the accounting line and the folder."),
    click.option(
        "--json", "as_json", is_flag=True, help="Print a machine-readable summary instead."
    ),
)
def command(
    config_file: str | None,
    strict: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Run a model on batches of samples and account for its time, layer by layer."""
    from layerscope.config.resolve import resolve
    from layerscope.core.errors import UsageError
    from layerscope.core.words import listed

    forms = {"--quiet": quiet, "--json": as_json, "--verbose": verbose}
    asked = [name for name, wanted in forms.items() if wanted]
    if len(asked) > 1:
        raise UsageError(f"{listed(asked)}: choose one.")
    form: Form = "quiet" if quiet else "json" if as_json else "verbose" if verbose else "first"
    said, where = read_options(config_file, given)
    # Once without torch: a wrong value must not cost the seconds that importing torch takes.
    resolve(said, cuda=said.get("device") == "cuda", where=where)
    _run(said, where, form, strict=strict)


def _run(said: dict[str, Any], where: str, form: Form, *, strict: bool) -> None:
    import torch
    from rich.console import Console

    from layerscope.config.resolve import resolve
    from layerscope.core.errors import AccountingError, EnvironmentProblem
    from layerscope.passes.profile import profile
    from layerscope.report.progress import ProgressReporter

    resolved = resolve(said, cuda=torch.cuda.is_available(), where=where)
    silent = form in ("quiet", "json")
    # Progress goes to stderr, so that stdout holds the result alone.
    beside = Console(stderr=True)

    def announce(line: str) -> None:
        if not silent:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    if resolved.choices:
        # The first line says which model and why; the screen repeats all choices at the end.
        announce("; ".join(resolved.choices))
    finished = profile(resolved, ProgressReporter(beside, quiet=silent), announce)
    _show(finished, form)
    verdict = finished.record.account
    if verdict is not None and verdict.status == "failed":
        raise AccountingError(
            f"{_shown(finished.folder)}: accounting failed: {'; '.join(verdict.failures[:3])}. "
            "The folder is kept."
        )
    fell_back = finished.record.optimization.fell_back if finished.record.optimization else ()
    if strict and fell_back:
        config = finished.record.profiled
        asked = f"--optimization {config.optimization}"
        if resolved.spelled:
            asked = f"--optimize {config.optimize}"
        raise EnvironmentProblem(
            f"--strict: {asked} fell back: "
            f"{'; '.join(fell_back)}. The run in {_shown(finished.folder)} is kept."
        )


def _show(finished: FinishedRun, form: Form) -> None:
    from rich.console import Console

    from layerscope.report.console import Traced, render_quiet, render_run
    from layerscope.report.summary import summary_json

    account, screen = finished.account, Console()
    if form == "json":
        click.echo(
            summary_json(
                finished.record,
                account,
                folder=finished.folder,
                layer_energy=finished.layer_energy,
                work=finished.work,
            )
        )
    elif form == "quiet":
        render_quiet(account, screen, folder=finished.folder)
    else:
        traced = None
        if account is not None:
            traced = Traced(
                account=account,
                work=finished.work,
                findings=finished.findings,
                layer_energy=finished.layer_energy,
            )
        verbose = form == "verbose"
        render_run(finished.record, traced, screen, folder=_near(finished.folder), verbose=verbose)


def _shown(path: Path) -> str:
    return str(_near(path))


def _near(path: Path) -> Path:
    """As seen from here, where it lies below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
