"""The bridge to the readers: what was just recorded in, the account they make of it out."""

from __future__ import annotations

from pathlib import Path

from layerscope.account.graph_replays import captured_launches
from layerscope.account.kind_times import kind_times, traced_times
from layerscope.account.workings import work_out
from layerscope.core.files import TRACE_FILE
from layerscope.instrument.cupti import NO_DEVICE_EVENTS
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.measure.ceilings import keep_raised
from layerscope.passes.draft import Draft, known
from layerscope.passes.session import Session
from layerscope.records import Account, Ceilings
from layerscope.report.kind_times import write_kinds_csv
from layerscope.runs.examine import Beside, examine, workings_of
from layerscope.runs.replay_file import energy_of, with_layer_energy, write_layer_energy
from layerscope.trace.columns import read_trace


def account(session: Session, draft: Draft) -> None:
    """Account for the trace, with the counted work and the device's ceilings beside it."""
    traced, given = known(draft.trace), draft.ceilings
    with session.progress.task("account", 1, ticks=True) as advance:
        file = session.folder / TRACE_FILE
        beside = Beside(
            modules=session.model.record.modules,
            roles=session.model.record.roles,
            steps=traced.decoder_steps,
            work=draft.work,
            ceilings=given,
            fp32_matmul=session.config.fp32_matmul,
            compiled=draft.regions,
            provenance=draft.provenance,
        )
        draft.examined = examined = examine(workings_of(file, beside), file, beside)
        advance(1)
    draft.ceilings = _raised(given, examined.ceilings)
    draft.failures += examined.failures
    draft.failures += _unseen(session.config.device, examined.account)
    draft.whole = end_to_end_of(draft.energy, traced, draft.latency)


def further_traces(session: Session, draft: Draft) -> None:
    """Account for the further traces, one after the other.

    One that does not add up fails the run like the first.
    """
    beside = Beside(
        modules=session.model.record.modules,
        roles=session.model.record.roles,
        steps=known(draft.trace).decoder_steps,
        compiled=draft.regions,
        provenance=draft.provenance,
    )
    with session.progress.task("further traces", len(draft.further_traces)) as advance:
        for file in draft.further_traces:
            again = examine(workings_of(file, beside), file, beside)
            table = again.account.table
            draft.failures += [f"{file.name}: {failure}" for failure in table.failures()]
            draft.further_times.append(traced_times(again.workings, table))
            advance(1)


def kinds(session: Session, draft: Draft) -> None:
    """Write the times of all traces by kind of layer."""
    examined = known(draft.examined)
    first = traced_times(examined.workings, examined.account.table)
    draft.files |= write_kinds_csv(kind_times((first, *draft.further_times)), session.folder)


def energy_by_layer(session: Session, draft: Draft) -> None:
    """Lay the joules of replayed layers over the account."""
    examined, raw, traced = known(draft.examined), known(draft.replay), known(draft.trace)
    found = energy_of(examined, raw, draft.energy, traced, draft.latency, draft.regions)
    draft.files |= write_layer_energy(raw, found, session.folder)
    draft.examined = with_layer_energy(examined, found)
    draft.layer_energy = found


def note_captures(trace: Path, watch: ProvenanceWatch) -> None:
    """Give `watch` what each CUDA graph launched while it was captured."""
    workings = work_out(read_trace(trace), provenance=watch.record())
    if workings.compiled is not None:
        watch.captures = captured_launches(workings.columns, workings.tree, workings.compiled)


def _raised(given: Ceilings | None, left: Ceilings | None) -> Ceilings | None:
    """What the account left of the ceilings; the next run is to know of those that it raised."""
    if given is not None and left is not None and left.raised != given.raised:
        keep_raised(left, given.rates())
    return left


def _unseen(device: str, account: Account) -> tuple[str, ...]:
    """The failure of a run on a device that its trace does not show."""
    if device == "cuda" and not account.table.whole.device_events:
        return (NO_DEVICE_EVENTS,)
    return ()
