"""The first batch of a run, until nothing of its first calls is left to be measured."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from layerscope.core.errors import DataError
from layerscope.instrument.first_calls import FirstConvolutionCalls
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.passes.captures import captures_noted
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.private.compiler import none_captured
from layerscope.records import LatencySample

_CAPTURING_ROUND = 1  # of the warm-up, from 0


def warm_up(session: Session, draft: Draft) -> None:
    """Take the first batch's samples and run them; note the convolutions' first calls.

    Raises:
        DataError: the data ends before one batch is full.
    """
    config = session.config
    draft.first = first = next(session.chunks, ())
    if len(first) < config.batch_size:
        raise DataError(
            f"{session.source.name}: only {len(first)} usable samples, one batch needs "
            f"{config.batch_size}; use a smaller --batch or more data."
        )
    done: list[LatencySample] = []
    rounds, watch = config.warmup, _graph_watch(session)
    if watch is not None:
        # The first call of a graph runs it eagerly, the second captures: the second round is looked
        # at. A decoder's step has its second call within the first round.
        ProfilerSession.prepare(cuda=True)
        rounds = max(rounds, _CAPTURING_ROUND + 1)
    with session.progress.task("warm up", rounds) as advance:
        for number in range(rounds):
            if session.parts is not None:
                # No wrapper around a convolution here: torch would compile it with the part.
                with session.parts.warming_up(), _captures(watch, number, config.device):
                    done.append(session.timer.first(first, 0, warmup=True).sample)
            elif number == 0:
                with FirstConvolutionCalls(session.model.model) as calls:
                    done.append(session.timer.first(first, 0, warmup=True).sample)
                draft.first_call_us = calls.us
            else:
                done.append(session.timer.first(first, 0, warmup=True).sample)
            advance(1)
    draft.warmups = tuple(done)


def _graph_watch(session: Session) -> ProvenanceWatch | None:
    """What is told of captured graphs; None where none are captured, or torch is not understood."""
    if session.compiled is None or not session.plan.cuda_graphs:
        return None
    return session.compiled.watch


def _captures(
    watch: ProvenanceWatch | None, number: int, device: str
) -> AbstractContextManager[None]:
    """What a round of the warm-up does with graphs that would be captured in it."""
    if watch is None or number > _CAPTURING_ROUND:
        return nullcontext()
    if number < _CAPTURING_ROUND:
        return none_captured()
    return captures_noted(watch, cuda=device == "cuda")
