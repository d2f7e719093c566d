"""The energy of whole batches, unprofiled: idle power, then windows that repeat one full batch each."""

from __future__ import annotations

import itertools

from layerscope.measure.clock import SystemClock
from layerscope.measure.energy.energy_pass import measure_energy
from layerscope.passes.draft import Draft
from layerscope.passes.meters import batch_work, meters_of
from layerscope.passes.session import Session
from layerscope.records import EnergyAbsent, EnergyRecord

# Fewer windows give no useful interval; each lasts two seconds and its edges.
MIN_WINDOWS = 5
LEFT_OUT = "left out by --quick; `layerscope profile --complete RUN` measures it"


def energy(session: Session, draft: Draft) -> None:
    """Measure idle power, then the windows.

    At least `MIN_WINDOWS` windows; every kept batch has one, so that the mean over batches, the
    reference's form, stands on distinct batches. Absent with its reason where no counter is.
    """
    if session.config.quick:
        draft.energy = EnergyRecord(reason=LEFT_OUT)
        return
    clock = SystemClock()
    count = max(MIN_WINDOWS, len(draft.kept))
    tokens_of = {t.batch.record.index: sum(t.generated.new_tokens) for t in draft.batches}
    with meters_of(session.config.device, clock) as found:
        if isinstance(found.meters, EnergyAbsent):
            draft.energy = measure_energy(found.meters, [], clock)
            return
        with session.progress.task("measure energy, windows", count) as advance:
            batches = itertools.islice(itertools.cycle(draft.kept), count)
            works = [batch_work(session, b, tokens_of[b.record.index]) for b in batches]
            draft.energy = measure_energy(
                found.meters, works, clock, states=found.states, driver=found.driver()
            )
            advance(len(draft.energy.windows))
