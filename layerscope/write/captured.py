"""A captured block in, its run folder out: as far as a capture knows what a run's folder holds."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Literal

import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.files import RUN_FILE, TRACE_FILE
from layerscope.core.units import NS_PER_S
from layerscope.core.words import counted
from layerscope.instrument.environment import read_environment
from layerscope.instrument.profiler import compress
from layerscope.measure.ceilings import Board, kept_ceilings
from layerscope.records import Ceilings, Environment, ModelRecord, Report, Reported, RunRecord
from layerscope.records.heavy import HeavyCount
from layerscope.records.provenance import Provenance, save_provenance
from layerscope.records.run_record import SCHEMA_VERSION, CaptureRecord, ProgramRecord, TracePass
from layerscope.records.seal import seal
from layerscope.records.work import CountedWork
from layerscope.runs.examine import Examined, beside_of, examine, workings_of
from layerscope.stats.program_energy import summarise_program_energy
from layerscope.write.chosen_folder import ChosenFolder
from layerscope.write.for_tensorboard import write_run_events, write_trace_for_plugin
from layerscope.write.judged import judge, write_figures
from layerscope.write.tables import account_record, write_tables, write_work

_NO_CONFIGURATION = "the program ran the model by itself, so layerscope configured nothing"
_ABSENT = {
    "configuration": _NO_CONFIGURATION,
    "data": "the program made the inputs by itself; a capture does not look at them",
    "beside the batch": "what the program does before a batch is its own; a capture does not see it",
    "time to first token": "a capture measures nothing without the profiler",
    "unprofiled time": "a capture measures nothing without the profiler, so its slowdown is unknown",
    "memory": "not measured in a capture",
}


def _unmeasured(unit: str, definition: str, reason: str) -> Reported:
    return Reported(value=None, unit=unit, definition=definition, reason=reason)


_REPORT = Report(
    wer_value=_unmeasured("", "corpus word error rate", "a capture sees no answers"),
    latency=_unmeasured(
        "s/batch",
        "time of a call without the profiler",
        "a capture measures nothing without the profiler",
    ),
    energy=_unmeasured("J/sample", "energy of unprofiled calls", "not measured in a capture"),
    flops=_unmeasured("FLOP/batch", "executed operators", "not counted in a capture"),
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A captured block that has ended.

    Attributes:
        trace: Kineto's file, gzipped or plain.
        ended: when.
        model: as the block left it.
        device: "cuda" where the device was recorded, too.
        fp32_matmul: what torch was set to at the block's end.
        provenance: of the compiled code that ran; None without any.
        eager: heavy operators of the same calls run eagerly; None where they were not given.
        steps: decoder steps, as the program counted them; None where it did not.
        warnings: what changed inside, in words.
        program: whose call it is; None where the program holds the block itself.
        work: of another call like the traced one; None where none was counted.
        uncounted: why none was, where that was asked for.
    """

    trace: Path
    ended: datetime
    model: ModelRecord
    device: Literal["cuda", "cpu"]
    fp32_matmul: Literal["highest", "high"]
    provenance: Provenance | None = None
    eager: HeavyCount | None = None
    steps: int | None = None
    warnings: tuple[str, ...] = ()
    program: ProgramRecord | None = None
    work: CountedWork | None = None
    uncounted: str = ""


def save_block(block: Block, folder: Path) -> RunRecord:
    """Write the folder; what a capture does not know stands in the record with the reason.

    An account that does not add up is no exception here: the record says `failed`.

    Raises:
        UsageError: the folder holds something other than a saved capture.
        EnvironmentProblem: it cannot be written, or the capture's trace is gone.
    """
    with ChosenFolder(folder) as made:
        _bring(block.trace, made.path / TRACE_FILE)
        known = _known_before(block, made.name)
        block, examined = _examined(block, known, made.path)
        return _written(block, known, examined, made.path)


def _bring(trace: Path, to: Path) -> None:
    """A copy of the trace, gzipped.

    Raises:
        EnvironmentProblem: the file is gone, moved or not to be read.
    """
    try:
        with trace.open("rb"):
            pass
    except OSError as error:
        raise EnvironmentProblem(
            f"{trace}: the capture's trace cannot be read ({error.strerror}), so there is nothing to "
            "save; call save() before it is moved or removed."
        ) from None
    if trace.suffix == ".gz":
        shutil.copyfile(trace, to)
    else:
        compress(trace, to)


def _known_before(block: Block, name: str) -> RunRecord:
    """The record without what follows from the trace."""
    environment = read_environment(cuda=block.device == "cuda")
    ceilings, why = _ceilings(block.device, environment)
    eager = block.eager.known.items() if block.eager is not None else None
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        name=name,
        created_utc=block.ended.isoformat(timespec="seconds"),
        choices=(),
        config=None,
        environment=environment,
        model=block.model,
        workload=None,
        ceilings=ceilings,
        report=_REPORT,
        warnings=block.warnings,
        captured=CaptureRecord(
            device=block.device,
            fp32_matmul=block.fp32_matmul,
            absent=_absent(block.program) | ({"ceilings": why} if why else {}),
            program=block.program,
            eager_heavy=None if eager is None else tuple((*key, n) for key, n in eager),
        ),
    )


def _untraced_ns(program: ProgramRecord | None) -> int | None:
    """The median time of as many untraced calls as were traced; None where there is none to compare."""
    if program is None or program.trains or not program.untraced_s:
        return None
    return round(median(program.untraced_s) * program.calls * NS_PER_S)


def _report(block: Block) -> Report:
    """What is known of the calls around the traced one."""
    report, program = _REPORT, block.program
    if program is not None and program.untraced_s:
        times = program.untraced_s
        latency = Reported(
            value=median(times),
            unit="s/call",
            definition=(
                f"{program.call} of the program, untraced, median of {len(times)} calls of any shapes"
            ),
        )
        report = replace(report, latency=latency)
    if program is not None and program.energy is not None:
        report = replace(report, energy=_energy(program))
    if block.work is not None:
        flops = Reported(
            value=block.work.flops,
            unit="FLOP/call",
            definition=f"executed operators of a later call, {block.work.flop_convention}",
            reason=block.work.missing_text or None,
        )
        report = replace(report, flops=flops)
    elif program is not None:
        why = block.uncounted or "not counted; layerscope run --count counts a later call"
        report = replace(report, flops=replace(report.flops, reason=why))
    return report


def _energy(program: ProgramRecord) -> Reported:
    assert program.energy is not None
    found = summarise_program_energy(program.energy)
    reach = (
        "from one call to the next" if program.energy.whole_steps else "gaps between them included"
    )
    how_many = counted(found.calls, "untraced call") if found.reason is None else "untraced calls"
    return Reported(
        value=found.joules_per_call,
        unit="J/call",
        definition=(f"energy counters before and after {how_many} like the traced one, {reach}"),
        reason=found.reason,
    )


def _absent(program: ProgramRecord | None) -> dict[str, str]:
    if _untraced_ns(program) is None:
        return _ABSENT
    return {what: why for what, why in _ABSENT.items() if what != "unprofiled time"}


def _ceilings(device: str, environment: Environment) -> tuple[Ceilings | None, str]:
    """Those that are kept of this device, or why there are none: a capture measures none."""
    board = Board(environment.driver, environment.gpu_power_limit_w)
    kept = kept_ceilings(torch.device(device), board)
    if kept.ceilings is not None and not kept.doubt:
        return replace(kept.ceilings, kept=True), ""
    why = kept.doubt or "none are kept of this device"
    return None, f"{why}; a capture measures none, `layerscope ceilings` does"


def _examined(block: Block, known: RunRecord, folder: Path) -> tuple[Block, Examined]:
    """The account, made as whoever opens the folder makes it; the block without work that is not its."""
    beside = replace(beside_of(known, None, block.provenance), steps=block.steps)
    trace = folder / TRACE_FILE
    workings = workings_of(trace, beside)
    plain = examine(workings, trace, beside)
    if block.work is None:
        return block, plain
    why = _no_match(block.work, plain)
    if not why:
        counted = examine(workings, trace, replace(beside, work=block.work))
        if not counted.failures and not counted.account.table.failures():
            return block, counted
        why = (*counted.failures, *counted.account.table.failures())[0]
    return replace(block, work=None, uncounted=why), plain


def _no_match(work: CountedWork, traced: Examined) -> str:
    """Why the counted call is not the traced one over again; "" where it is."""
    if traced.workings.compiled is not None:
        return "compiled code ran in the traced call, whose operators bypass the counter"
    calls = {row.layer: 0 for row in traced.account.table.rows}
    for row in traced.account.table.rows:
        calls[row.layer] += row.calls
    for layer, count in work.calls.items():
        if layer != work.root and calls.get(layer, 0) != count:
            return (
                f"the counted call ran {layer} {count:,} times, the traced one "
                f"{calls.get(layer, 0):,} times, though their inputs have the same shapes"
            )
    return ""


def _without_figures(record: RunRecord, why: dict[str, str]) -> RunRecord:
    """The record with the reasons of the figures that could not be drawn."""
    assert record.captured is not None
    absent = record.captured.absent | {f"figure {name}": reason for name, reason in why.items()}
    return replace(record, captured=replace(record.captured, absent=absent))


def _written(block: Block, known: RunRecord, examined: Examined, folder: Path) -> RunRecord:
    """Write everything beside the trace, the record last."""
    account = examined.account
    files = {"record": RUN_FILE, "trace": TRACE_FILE} | write_tables(account, folder)
    if block.work is not None:
        files |= write_work(block.work, folder)
    if block.provenance is not None:
        files |= save_provenance(block.provenance, folder)
    modules = block.model.modules
    files |= write_trace_for_plugin(examined.workings, modules, block.ended, folder)
    threads = account.table.whole.host_threads
    record = replace(
        known,
        report=_report(block),
        trace=TracePass(
            batch=None,
            size=None,
            decoder_steps=block.steps,
            new_tokens=(),
            profiled_ns=threads[0].window_ns if threads else 0,
            unprofiled_ns=_untraced_ns(block.program),
            root=account.table.root,
        ),
        account=account_record(account, examined.failures),
    )
    files |= judge(examined, record, None, folder)[1]
    drawn = write_figures(examined, record, None, folder)
    files |= drawn.files
    record = replace(_without_figures(record, drawn.absent), files=dict(files))
    files |= write_run_events(folder, record, account, (), None)
    record = replace(record, files=files)
    return seal(record, folder)
