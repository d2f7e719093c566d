"""A resolved configuration in, a finished run folder out: the passes, one after the other."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from layerscope.config.resolve import Resolved
from layerscope.core.progress import Progress
from layerscope.core.run_name import run_name
from layerscope.passes import order
from layerscope.passes.draft import Draft, known
from layerscope.passes.load import Announce, Load
from layerscope.passes.record import record_of
from layerscope.passes.session import Destination, Session, opened
from layerscope.passes.stopwatch import Stopwatch
from layerscope.records import Account, CountedWork, RunRecord
from layerscope.records.finding import Findings
from layerscope.records.pass_time import LOAD
from layerscope.records.seal import seal
from layerscope.workload.calls import Calls
from layerscope.workload.model import load_model
from layerscope.write.folder import RunFolder

if TYPE_CHECKING:
    from layerscope.joules.layer_energy import LayerEnergy


@dataclass(frozen=True)
class FinishedRun:
    """A run whose folder has its final name. `account` is None for a run without a trace."""

    record: RunRecord
    account: Account | None
    findings: Findings | None
    work: CountedWork
    folder: Path
    layer_energy: LayerEnergy | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run is written, and what it is part of.

    Attributes:
        folder: that the run is written to; None: one in the configuration's `out`, which the record
            names in any case, with a name made from the time and the configuration.
        step: of a sweep's cell, its place on the sweep's axis, in TensorBoard. A cell does without
            figures and without the file for torch-tb-profiler: that plugin starts a process for every
            such file when TensorBoard starts. None: a run of its own.
    """

    folder: RunFolder | None = None
    step: int | None = None


def profile(
    resolved: Resolved,
    progress: Progress,
    announce: Announce,
    *,
    load: Load = load_model,
    place: Place = Place(),
    age_s: float | None = None,
) -> FinishedRun:
    """Run one configuration and write its folder.

    An account that does not add up is no exception here: the folder is kept, its record says
    `failed`, and the caller decides how to end.

    Args:
        resolved: the configuration.
        progress: told of every pass.
        announce: takes one line at a time about what is about to happen (a download, its size).
        load: yields the model; called after what can be refused without it.
        place: where the run is written.
        age_s: seconds since the process began, where it does nothing else but this run.

    Raises:
        LayerscopeError: bad input, a missing device, a model or data that cannot be loaded, a disk
            that cannot be written. Nothing is left behind then.
    """
    created = datetime.now(UTC).replace(microsecond=0)  # as the record keeps it
    folder, step = place.folder, place.step
    own_name = folder is None
    if folder is None:
        folder = RunFolder(Path(resolved.config.out), run_name(resolved.config, created))
    with folder as made:
        destination = Destination(folder=made.path, name=made.name, created=created, step=step)
        watch = Stopwatch(calls := Calls(), age_s)
        with ExitStack() as exits:
            with watch.timing(LOAD):
                session = exits.enter_context(
                    opened(resolved, progress, announce, destination, load, calls)
                )
            if own_name:  # the model may have said what size it sees
                made.rename(run_name(session.config, created))
                renamed = dataclasses.replace(destination, folder=made.path, name=made.name)
                session = dataclasses.replace(session, destination=renamed)
            finished = _finished(session, _passed(session, watch))
    return dataclasses.replace(finished, folder=made.path)


def _passed(session: Session, watch: Stopwatch) -> Draft:
    draft, first = Draft(), True
    for at, each in enumerate(order.PASSES):
        if each.when(session, draft):
            if each.told:
                ahead = order.told_from(order.PASSES[at:], session, draft)
                session.progress.ahead(ahead, first=first)
                first = False
            with watch.timing(each.run.__name__):
                each.run(session, draft)
    draft.command = watch.parts
    return draft


def _finished(session: Session, draft: Draft) -> FinishedRun:
    """The draft as a record, which is saved as the last of the folder's files."""
    record = seal(record_of(session, draft), session.folder)
    return FinishedRun(
        record=record,
        account=draft.examined.account if draft.examined else None,
        findings=draft.findings,
        work=known(draft.work),
        folder=session.folder,
        layer_energy=draft.layer_energy,
    )
