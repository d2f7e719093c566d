"""Power over time, in a window of its own, polled by another process."""

from __future__ import annotations

import time

from layerscope.measure.energy.power_line import PowerLine
from layerscope.passes.draft import Draft
from layerscope.passes.meters import batch_work, device_uuids
from layerscope.passes.session import Session

_WINDOW_S = 3.0


def power(session: Session, draft: Draft) -> None:
    """Run the first kept batch again and again while power is recorded."""
    work = batch_work(session, draft.kept[0], sum(draft.batches[0].generated.new_tokens))
    with session.progress.task("record power over time", 1) as advance:
        with PowerLine(device_uuids()) as line:
            began = time.monotonic()
            while line.absent is None and time.monotonic() - began < _WINDOW_S:
                work()
        advance(1)
    draft.power = line.samples
