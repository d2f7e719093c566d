"""A run's record and its account in, the screen out: `layerscope profile` and `layerscope layers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from layerscope.account.ranks import Rank
from layerscope.core.errors import UsageError
from layerscope.core.microseconds import us_grouped
from layerscope.core.units import ms_grouped
from layerscope.records.finding import Findings
from layerscope.records.layer_table import LayerTable
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import Account
from layerscope.records.work import CountedWork
from layerscope.report.account_grids import (
    device_grid,
    group_grid,
    layer_grid,
    phase_grid,
    rank_grid,
)
from layerscope.report.accounting_line import accounting_line, energy_line
from layerscope.report.attention import attention_line
from layerscope.report.beside_batch import beside_grid
from layerscope.report.findings import render_findings
from layerscope.report.first_screen import first_screen, next_steps
from layerscope.report.layer_tree import tree_grid
from layerscope.report.page import Page
from layerscope.report.selection import EVERYTHING, Selection, select
from layerscope.report.what_ran import what_ran
from layerscope.stats.beside_batch import BesideBatch, beside_batch

if TYPE_CHECKING:
    from layerscope.joules.layer_energy import LayerEnergy

Form = Literal["layers", "groups", "tree"]


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What follows from a run's trace; None is what was not asked for, or could not be made.

    Attributes:
        work: with it the use of the device by phase and the run's floor are shown.
    """

    account: Account
    work: CountedWork | None = None
    findings: Findings | None = None
    layer_energy: LayerEnergy | None = None


def render_run(
    record: RunRecord,
    traced: Traced | None,
    console: Console,
    *,
    folder: Path | None = None,
    verbose: bool = False,
) -> None:
    """Print one run: the first screen, and with `verbose` all that is known behind it.

    `traced` is None when nothing was traced; the screen says so.
    """
    page = Page(console)
    table = traced.account.table if traced is not None else None
    first_screen(page, record, table, traced.findings if traced is not None else None, folder)
    if traced is not None and traced.layer_energy is not None:
        _energy(page, traced.layer_energy)  # it was asked for
    if folder is not None:
        next_steps(page, record, table, folder)
    if not verbose:
        return
    page.line()
    for label, value in what_ran(record):
        page.field(label, value)
    if traced is None:
        _beside(page, beside_batch(record))
    else:
        _by_part(page, traced.account, record)
    _slowdown(page, record)
    if traced is not None:
        _further(page, traced, record, console)
    _warnings(page, record.warnings, table.warnings if table is not None else ())
    _files(page, record)
    _results(page, record)


def _by_part(page: Page, account: Account, record: RunRecord) -> None:
    page.grid(phase_grid(account.table))
    _beside(page, beside_batch(record))
    page.grid(group_grid(account.table))
    page.line()
    _activity(page, account.table)
    _attention(page, account)
    _notes(page, account.table)


def _further(page: Page, traced: Traced, record: RunRecord, console: Console) -> None:
    if traced.work is not None:
        _use(page, traced.account, traced.work, record)
    if traced.findings is not None:
        render_findings(traced.findings.seen, traced.findings.not_judged, console)


def render_quiet(account: Account | None, console: Console, *, folder: Path) -> None:
    """Print the accounting line and the run's folder, nothing else."""
    page = Page(console)
    if account is not None:
        page.line(accounting_line(account.table))
    page.line(str(folder))


def render_account(
    account: Account,
    console: Console,
    selection: Selection = EVERYTHING,
    *,
    form: Form = "layers",
    ranks: Sequence[Rank] = (),
    beside: Sequence[BesideBatch] = (),
) -> None:
    """Print the layers of one trace, or its groups, and the accounting line.

    Args:
        form: layers, sums by group, or the tree.
        ranks: whose sum the account is.
        beside: what the host does before each batch, shown where all phases are.

    Groups are few and always all shown, so `top` does not apply to them.

    Raises:
        UsageError: a phase or a column that the table does not have; groups with depth or sort.
    """
    table = account.table
    if form == "groups" and (selection.depth is not None or selection.sort is not None):
        raise UsageError("--group shows sums by group: leave out --depth and --sort.")
    chosen = select(table, selection)
    page = Page(console)
    page.line(_headline(account), style="bold")
    if ranks:
        page.grid(rank_grid(ranks))
    if len(account.devices) > 1 or account.rank:
        page.grid(device_grid(account.devices, account.rank))
    if form == "groups":
        page.grid(group_grid(table, selection.phase))
    elif form == "tree":
        page.grid(tree_grid(table, selection))
    else:
        page.grid(layer_grid(table, chosen, selection))
    _beside(page, beside if selection.phase is None else ())
    _accounting(page, table)
    _attention(page, account)
    _notes(page, table)
    _warnings(page, table.warnings)


_LAYERS_ARE = {
    "ranges": "layers are layerscope's ranges",
    "modules": "layers are the nn.Module events of the Python tracer",
    "annotations": "layers are the record_function ranges of the user",
    "operators": "no layers in it: each operator name stands for one",
}


def _headline(account: Account) -> str:
    found = f"{account.source}: {_extent(account.table)}{_threads(account.table)}"
    source = account.layer_source
    return found if source is None else f"{found}; {_LAYERS_ARE[source]}"


def _threads(table: LayerTable) -> str:
    """Each thread's window, where more than one is accounted for."""
    threads = table.whole.host_threads
    if len(threads) < 2:
        return ""
    named = ", ".join(f"{one.thread} {us_grouped(one.window_ns)} us" for one in threads)
    return f"; host time is the sum over {len(threads)} threads: {named}"


def _extent(table: LayerTable) -> str:
    if table.whole.device_sum_ns is None:
        return "no device events, host time only"
    return f"{table.whole.device_events:,} device events"


def _beside(page: Page, rows: Sequence[BesideBatch]) -> None:
    if rows:
        page.grid(beside_grid(rows))


def _accounting(page: Page, table: LayerTable) -> None:
    page.line()
    failed = bool(table.failures())
    page.line(accounting_line(table), style="bold red" if failed else "bold green")
    if table.whole.energy_nj is not None:
        page.line(energy_line(table))
    _activity(page, table)
    _failures(page, table)


def _activity(page: Page, table: LayerTable) -> None:
    active, span = table.whole.device_active_ns, table.whole.window_span_ns
    if active is not None and span:
        page.line(
            f"device active {us_grouped(active)} us of the window's {us_grouped(span)} us: "
            f"idle {100 * (span - active) / span:.2f} %"
        )


def _failures(page: Page, table: LayerTable) -> None:
    for failure in table.failures():
        page.line(f"accounting: failed: {failure}", style="bold red")


def _slowdown(page: Page, record: RunRecord) -> None:
    trace = record.trace
    if trace is None:
        return
    profiled = f"profiled run {ms_grouped(trace.profiled_ns)} ms"
    if not trace.unprofiled_ns:
        page.line(f"{profiled}; slowdown unknown: the batch was not timed without the profiler")
        return
    page.line(
        f"{profiled}, the same batch unprofiled {ms_grouped(trace.unprofiled_ns)} ms: "
        f"{trace.profiled_ns / trace.unprofiled_ns:.2f} times as long "
        "(latency and energy come from unprofiled batches alone)"
    )


def _use(page: Page, account: Account, work: CountedWork, record: RunRecord) -> None:
    # Statistics and rooflines need numpy, which the screen of a bare trace does without.
    from layerscope.report.use import floor_lines, use_grid, use_of

    use = use_of(account, work, record)
    if use is not None:
        page.grid(use_grid(use))
        page.line()
        for label, text in floor_lines(use, record):
            page.field(label, text)


def _attention(page: Page, account: Account) -> None:
    line = attention_line(account)
    if line:
        page.line(f"attention that ran: {line}")


def _energy(page: Page, found: LayerEnergy) -> None:
    from layerscope.report.layer_energy import energy_lines, kind_grid

    if found.reason is None:
        page.grid(kind_grid(found))
    page.line()
    for line in energy_lines(found):
        page.line(line)


def _notes(page: Page, table: LayerTable) -> None:
    for note in table.notes:
        page.line(f"note: {note}")


def _warnings(page: Page, *sources: tuple[str, ...]) -> None:
    # The run's record may repeat what the table says; each is said once.
    for warning in dict.fromkeys(text for source in sources for text in source):
        page.line(f"warning: {warning}", style="yellow")


def _files(page: Page, record: RunRecord) -> None:
    page.line()
    for role, name in record.files.items():
        page.field(role, name)


def _results(page: Page, record: RunRecord) -> None:
    # Its statistics need numpy, which the screen of a bare trace does without.
    from layerscope.report.end_to_end import end_to_end

    report = record.report
    page.line()
    for label, text in end_to_end(record):
        page.field(label, text)
    page.line(
        f"latency: {report.latency.definition}; energy: {report.energy.definition}; "
        f"FLOPs: {report.flops.definition}; WER: {report.wer_value.definition}"
    )
