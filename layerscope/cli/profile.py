"""`layerscope profile`: one run, from the options to the run folder and the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from layerscope.cli.options import read_options, run_options
from layerscope.cli.verb import under, verb

if TYPE_CHECKING:
    from layerscope.config.resolve import Resolved
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
    click.option("--timings", is_flag=True, help="Print where the command's own time went, too."),
)
@under(
    "Measuring",
    click.option(
        "--complete",
        "quick_run",
        metavar="RUN",
        type=click.Path(path_type=Path),
        help="Measure a run of --quick whole, with its configuration, in its place.",
    ),
)
def command(
    config_file: str | None,
    strict: bool,
    quick_run: Path | None,
    **given: Any,
) -> None:
    """Run a model on batches of samples and account for its time, layer by layer."""
    from layerscope.config.resolve import resolve

    form, timings = _form(given), given.pop("timings")
    if quick_run is not None:
        whole = _to_complete(quick_run, config_file, given)
        finished, resolved = _run(lambda cuda: whole, form, instead=quick_run.resolve())
    else:
        said, where = read_options(config_file, given)
        # Once without torch: a wrong value must not cost the seconds that importing torch takes.
        resolve(said, cuda=said.get("device") == "cuda", where=where)
        finished, resolved = _run(lambda cuda: resolve(said, cuda=cuda, where=where), form)
    _show(finished, form)
    if timings and form != "json":
        _show_timings(finished)
    _judge(finished, resolved, strict=strict)


def _form(given: dict[str, Any]) -> Form:
    """How the result is shown; takes the options that say so out of those of the run."""
    from layerscope.core.errors import UsageError
    from layerscope.core.words import listed

    shown: dict[str, tuple[str, Form]] = {
        "--quiet": ("quiet", "quiet"),
        "--json": ("as_json", "json"),
        "--verbose": ("verbose", "verbose"),
    }
    asked = {option: form for option, (name, form) in shown.items() if given.pop(name)}
    if len(asked) > 1:
        raise UsageError(f"{listed(list(asked))}: choose one.")
    return next(iter(asked.values()), "first")


def _to_complete(quick_run: Path, config_file: str | None, given: dict[str, Any]) -> Resolved:
    """The configuration of a quick run without what made it quick; refused before torch is imported.

    Raises:
        UsageError: other options of a run, or a run that is no quick one.
        DataError: no run, or a damaged one.
    """
    from layerscope.config.complete import completion
    from layerscope.core.errors import UsageError
    from layerscope.records import load

    others = [name for name, value in given.items() if value is not None]
    if config_file is not None or others:
        named = "--config" if config_file is not None else f"--{others[0].replace('_', '-')}"
        raise UsageError(
            f"--complete {quick_run}: the run has its configuration; leave out {named}."
        )
    return completion(load(quick_run), quick_run.resolve())


def _run(
    resolved_with: Callable[[bool], Resolved], form: Form, *, instead: Path | None = None
) -> tuple[FinishedRun, Resolved]:
    """Profile what `resolved_with` gives once it is known whether there is a CUDA device.

    Args:
        instead: the folder of the run whose place this one takes.
    """
    import torch
    from rich.console import Console

    from layerscope.core.process_age import process_age_s
    from layerscope.passes.profile import Place, profile
    from layerscope.report.progress import ProgressReporter
    from layerscope.write.folder import RunFolder

    resolved = resolved_with(torch.cuda.is_available())
    place = Place()
    if instead is not None:
        place = Place(folder=RunFolder(instead.parent, instead.name, instead=True))
    silent = form in ("quiet", "json")
    # Progress goes to stderr, so that stdout holds the result alone.
    beside = Console(stderr=True)

    def announce(line: str) -> None:
        if not silent:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    if resolved.choices:
        # The first line says which model and why; the screen repeats all choices at the end.
        announce("; ".join(resolved.choices))
    reporter = ProgressReporter(beside, quiet=silent)
    return profile(resolved, reporter, announce, place=place, age_s=process_age_s()), resolved


def _judge(finished: FinishedRun, resolved: Resolved, *, strict: bool) -> None:
    """End with the exit code of an account that does not add up, or of what fell back.

    Raises:
        AccountingError: the account failed.
        EnvironmentProblem: with `--strict`, an optimization fell back.
    """
    from layerscope.core.errors import AccountingError, EnvironmentProblem

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


def _show_timings(finished: FinishedRun) -> None:
    from rich.console import Console

    from layerscope.report.timings import render_timings

    render_timings(finished.record, Console())


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
