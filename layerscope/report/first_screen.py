"""A run in, what stands first on the screen out: four numbers, findings, kinds of layers, proof, next.

It fits in 30 lines of 100 columns; all else is in the files, and behind it with -v.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.core.units import NS_PER_S, ms_three
from layerscope.core.words import counted
from layerscope.records.finding import Findings
from layerscope.records.interval import Interval
from layerscope.records.run_record import Reported, RunRecord
from layerscope.report.account_grids import top_grid
from layerscope.report.accounting_line import accounting_line, energy_line
from layerscope.report.page import Page
from layerscope.report.quantities import per_batch, per_sample
from layerscope.report.what_ran import in_short

if TYPE_CHECKING:
    from layerscope.records.layer_table import LayerTable

KINDS = 10
FINDINGS = 3
_ABSENT = "yellow"


def first_screen(
    page: Page,
    record: RunRecord,
    table: LayerTable | None,
    findings: Findings | None,
    folder: Path | None,
) -> None:
    """Print it; `table` is None where nothing was traced, `findings` where nothing was judged."""
    name = record.name if folder is None else str(folder)
    page.line(f"layerscope {record.environment.layerscope}: {name}", style="bold")
    page.line(" · ".join([_model(record), *in_short(record)]), shorten=True)
    for label, text, style in four_numbers(record):
        page.field(label, text, style=style, shorten=style == _ABSENT)
    if findings is not None:
        _findings(page, findings)
    if table is None:
        page.line("no account by layer: the run was not traced", style=_ABSENT)
    else:
        whole = table.whole
        time = whole.device_sum_ns if whole.device_sum_ns is not None else whole.host_window_ns
        what = "device" if whole.device_sum_ns is not None else "host"
        grid = top_grid(table, KINDS)
        of = "" if time is None else f"; {ms_three(time)} ms of {what} time in all"
        page.grid(grid, title=f"{grid.title}{of}", ruled=False)
        page.line(accounting_line(table), style="green" if not table.failures() else "")
        if whole.energy_nj is not None:
            page.line(energy_line(table))
        for failure in table.failures():
            page.line(f"accounting: failed: {failure}", style="bold red")


def _model(record: RunRecord) -> str:
    model = Path(record.model.name).name or record.model.name
    config = record.config
    if config is None:
        return f"{model}, captured"
    return f"{model} · batch {config.batch_size} · {config.size_words}"


def four_numbers(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    """(label, text, style) of latency, energy, FLOPs and WER: interval, or why it is absent."""
    # Statistics need numpy, which a screen without them does without.
    from layerscope.stats.energy_summary import summarise_energy
    from layerscope.stats.latency import latency_summary

    report, size = record.report, record.batch_size
    latency = latency_summary(record)
    unstable = latency is not None and bool(latency.unstable)
    interval = _between(latency.interval, NS_PER_S) if latency is not None else ""
    if unstable:
        interval = f"{interval.removesuffix(']')}; unstable]"
    text, style = _number(report.latency, size, interval)
    yield "latency", text, _ABSENT if unstable else style
    energy = summarise_energy(record.energy, seed=record.seed) if record.energy else None
    # The interval is of one sample's joules.
    scale = 1 / size if size and report.energy.unit.endswith("/batch") else 1.0
    interval = _between(energy.interval, scale) if energy is not None else ""
    yield "energy", *_number(report.energy, size, interval)
    yield "FLOPs", *_number(report.flops, size, "")
    interval = _between(record.quality.wer_interval, 1) if record.quality is not None else ""
    yield "WER", *_number(report.wer_value, size, interval)


def _number(reported: Reported, size: int | None, interval: str) -> tuple[str, str]:
    if reported.value is None:
        return f"not measured: {reported.reason or 'no reason recorded'}", _ABSENT
    base, _, of = reported.unit.rpartition("/")
    if of not in ("batch", "sample"):
        return f"{_amount(reported.value, reported.unit)}{interval}", ""
    said = [f"{_amount(reported.value, base)}{interval} per {of}"]
    if of == "batch":
        said[0] += f" of {size}"
        if (sample := per_sample(reported, size)) is not None:
            said.append(f"{_amount(sample, base)} per sample")
    elif (batch := per_batch(reported, size)) is not None:
        said.append(f"{_amount(batch, base)} per batch of {size}")
    return ", ".join(said), ""


def _amount(value: float, unit: str) -> str:
    """Three digits: 20,297 GFLOP, 0.674 s, 10.6 J."""
    if unit.upper().startswith("FLOP"):
        return f"{ms_three(value / 1e3)} G{unit}"
    return f"{ms_three(value * 1e6)} {unit}".rstrip()


def _between(interval: Interval | None, scale: float) -> str:
    """The interval in brackets; "range" where no coverage is claimed."""
    if interval is None:
        return " [too few for an interval]"
    word = "" if interval.confidence is not None else "range "
    low, high = (ms_three(end / scale * 1e6) for end in (interval.low, interval.high))
    return f" [{word}{low}, {high}]"


def _findings(page: Page, findings: Findings) -> None:
    shown = findings.seen[:FINDINGS]
    more = f", the first {len(shown)} of {len(findings.seen)}" if shown != findings.seen else ""
    page.line(f"findings{more}" if shown else "findings: none", style="bold")
    for number, finding in enumerate(shown, 1):
        page.line(f"{number}. {finding.sentence}", shorten=True)


def next_steps(page: Page, record: RunRecord, table: LayerTable | None, folder: Path) -> None:
    """Three commands to go on with, and what -v would have shown."""
    said = len(dict.fromkeys((*record.warnings, *(table.warnings if table is not None else ()))))
    more = [counted(said, "warning")] if said else []
    run = shlex.quote(str(folder))
    forms = ["layerscope report {run} --html report.html --open", "layerscope compare {run} OTHER"]
    if table is not None:
        forms.insert(0, "layerscope layers {run} --tree")
    lines = [form.format(run=run) for form in forms]
    if max(map(len, lines)) + 6 > page.width:
        # A long name once; the lines work in a shell as they stand.
        lines = [f"RUN={run}", *(form.format(run="$RUN") for form in forms)]
    for place, line in enumerate(lines):
        page.line(f"{'' if place else 'next:':<6}{line}")
    hidden = ", ".join(["phases, groups, how it was measured", *more])
    text = f"-v shows more: {hidden}; the folder has every number"
    if record.config is None:  # by somebody's own program, which has no -v of ours
        text = ", ".join([*more, "the folder has every number"])
    page.line(text, style="dim", shorten=True)
