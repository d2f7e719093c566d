"""`layerscope doctor`: what this machine can measure, what it lacks, and how to get that."""

from __future__ import annotations

from pathlib import Path

import click

from layerscope.cli.verb import verb

_CANNOT_PROFILE = 3  # an environment problem, as EnvironmentProblem.exit_code


@verb(
    "doctor",
    "layerscope doctor --out /data/traces",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks for programs instead.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("traces"),
    help="Folder that run folders go to. Default: traces.",
)
def command(as_json: bool, out: Path) -> int:
    """Check what this machine can measure: devices, tracing, energy, packages, disks, the hub.

    Nothing is changed: no clock, power limit or mode. Ends with exit code 3 where not even the
    bundled model can be profiled on the CPU.
    """
    from rich.console import Console

    from layerscope.report.diagnosis import diagnosis_json, render_diagnosis
    from layerscope.report.progress import ProgressReporter
    from layerscope.run.diagnosis.examine import all_probes, diagnose

    probes = all_probes(out)
    progress = ProgressReporter(Console(stderr=True), quiet=as_json)
    with progress.task("doctor", len(probes)) as advance:
        diagnosis = diagnose(probes, advance)
    if as_json:
        click.echo(diagnosis_json(diagnosis))
    else:
        render_diagnosis(diagnosis, Console())
    return 0 if diagnosis.can_profile else _CANNOT_PROFILE
