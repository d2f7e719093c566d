"""The time to the first token: `generate()` of one token, in a window of its own."""

from __future__ import annotations

import itertools
import time

from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import LatencySample
from layerscope.workload.generation import Generator

_RUNS = 8
_LIMIT_S = 5.0


def first_token(session: Session, draft: Draft) -> None:
    """Run kept batches for one new token each, as often as the limit allows, once at least."""
    given = session.generator
    generator = Generator(
        session.model.model, session.config, only_first=True, caches=given.caches, calls=given.calls
    )
    done: list[LatencySample] = []
    began = time.monotonic()
    with session.progress.task("time to first token", _RUNS) as advance:
        for number, batch in enumerate(itertools.islice(itertools.cycle(draft.kept), _RUNS)):
            if done and time.monotonic() - began > _LIMIT_S:
                break
            again = number // len(draft.kept)
            done.append(session.timer.again(batch, again, generator).sample)
            advance(1)
    draft.first_token = tuple(done)
