"""The tables of a reproduction in, the one page that says how far it got and what it found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from layerscope.core.files import (
    LAYERS_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    SWEEP_REFERENCE_FILE,
    SWEEP_TABLE_FILE,
)
from layerscope.published.model import PUBLISHED_MODEL
from layerscope.published.reference import VERDICTS
from layerscope.records.run_record import Environment
from layerscope.report.markdown import escape
from layerscope.report.page import Grid
from layerscope.report.sweep.markdown import grid_markdown
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.reproduce.checks import CellCheck
from layerscope.reproduce.pins import Pins, pinned_words


def reproduction_page(
    pins: Pins,
    repos: Mapping[str, str],
    sweeps: Mapping[str, SentSweep],
    checks: Sequence[CellCheck],
    environment: Environment | None,
) -> str:
    """Markdown: what ran, each table's state and verdicts, the checks, what is missing.

    Args:
        repos: data set -> its repository on the hub.
        sweeps: table -> its sweep, whole or stopped on the way.
    """
    parts = [
        "# Reproduction of the published tables",
        status_line(pins, sweeps),
        "\n".join(f"- {escape(line)}" for line in _what_ran(pins, repos, environment)),
        grid_markdown(state_grid(sweeps)),
        f"The verdict on each published row stands in `tables/<name>/{SWEEP_REFERENCE_FILE}`, with its "
        f"reason; every cell's own numbers in `tables/<name>/{SWEEP_TABLE_FILE}`.",
        "## Checks",
        f"Recomputed from the files of each run: the sum of `{LAYERS_FILE}` minus the whole in "
        f"`{RUN_FILE}`, and jiwer's WER over the texts of `{PREDICTIONS_FILE}` beside the WER reported.",
        grid_markdown(check_grid(checks)),
    ]
    missing = list(_missing(sweeps))
    if missing:
        parts += ["## Cells without numbers", "\n".join(f"- {escape(line)}" for line in missing)]
    return "\n\n".join(parts) + "\n"


def status_line(pins: Pins, sweeps: Mapping[str, SentSweep]) -> str:
    """Whether the published weights ran, and how much of the tables is there."""
    cells = [row for sweep in sweeps.values() for row in sweep.rows]
    done = sum(row.measured for row in cells)
    state = f"{done} of {len(cells)} cells measured."
    if pins.variant == "reference" and pins.model in (None, PUBLISHED_MODEL):
        return f"On the published weights, {PUBLISHED_MODEL}. {state}"
    if pins.variant == "reference":
        return (
            f"**Not known to be the published weights**: the model is {pins.model}. On other weights "
            f"the verdicts on WER, and on all that follows from answers' lengths, mean nothing. {state}"
        )
    return f"**A rehearsal**: the {pins.variant} variant, not the published model. {state}"


def state_grid(sweeps: Mapping[str, SentSweep]) -> Grid:
    """A line a table: cells done, and how many published numbers agree."""
    rows = []
    for name, sweep in sweeps.items():
        counts = Counter(item.verdict for item in sweep.beside)
        rows.append(
            (
                name,
                f"{len(sweep.measured)} of {len(sweep.rows)}",
                *(str(counts[verdict]) for verdict in VERDICTS),
            )
        )
    return Grid(title="tables", header=("table", "cells measured", *VERDICTS), rows=tuple(rows))


def check_grid(checks: Sequence[CellCheck]) -> Grid:
    """A line a cell: what another file of its run says of the same number."""
    return Grid(
        title="checks",
        header=(
            "cell",
            "account",
            "difference, ns",
            "WER",
            "WER by jiwer",
            "answers",
            "load, s",
            "host peak, GB",
            "holds",
        ),
        rows=tuple(
            (
                f"{check.table}: {check.cell}",
                check.status,
                _text(check.difference_ns, "d"),
                _text(check.wer_value, ".6f"),
                _text(check.wer_jiwer, ".6f"),
                str(check.answers),
                _text(check.load_s, ".1f"),
                _text(
                    None if check.host_peak_bytes is None else check.host_peak_bytes / 1e9, ".2f"
                ),
                "yes" if check.holds else "no",
            )
            for check in checks
        ),
        text=frozenset({"account", "holds"}),
    )


def _what_ran(
    pins: Pins, repos: Mapping[str, str], environment: Environment | None
) -> Iterator[str]:
    yield from pinned_words(pins, repos)
    if pins.data_dir is not None:
        yield f"data read from {pins.data_dir}"
    if pins.samples is not None:
        yield f"{pins.samples} samples a cell; the published tables have 300"
    if environment is None:
        return
    packages = environment.packages
    versions = ", ".join(
        f"{name} {packages[name]}" for name in ("transformers",) if name in packages
    )
    yield (
        f"{environment.gpu_name or environment.cpu_model}; torch {environment.torch}, {versions}, "
        f"Python {environment.python}, driver {environment.driver or 'none'}; layerscope "
        f"{environment.layerscope}"
    )


def _missing(sweeps: Mapping[str, SentSweep]) -> Iterator[str]:
    for name, sweep in sweeps.items():
        for row in sweep.rows:
            if not row.measured:
                said = " ".join(f"{key}={value}" for key, value in row.settings.items())
                yield f"{name}: {said}: {row.reason}"


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
