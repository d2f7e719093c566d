"""The quality guard of an optimized run: the same samples run eagerly, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from layerscope.config.optimize import without
from layerscope.instrument.cache_size import CacheSize
from layerscope.measure.latency import TimedBatch
from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records import RunConfig
from layerscope.records.optimization import TokenDifference, TokensAgainstEager
from layerscope.workload.calls import Calls
from layerscope.workload.compiled import uncompiled
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator


@dataclass(frozen=True)
class EagerRun:
    """What the same samples gave eagerly, and the bytes of the cache they needed, the most of them."""

    tokens: TokensAgainstEager
    cache_bytes: int | None


def eager_guard(session: Session, draft: Draft) -> None:
    """Compare the tokens of the batches that are kept with eager ones."""
    eager = without(session.config, ["compile"])
    full = [item for item in draft.batches if item.batch.inputs and item.sample.full]
    with (
        session.progress.task("the same samples, eagerly", 1) as advance,
        uncompiled(session.parts),
    ):
        calls = session.generator.calls
        draft.eager = against_eager(session.model.model, eager, full, calls)
        advance(1)


def against_eager(
    model: torch.nn.Module,
    config: RunConfig,
    timed: Sequence[TimedBatch],
    calls: Calls | None = None,
) -> EagerRun:
    """Compare tokens with eager ones, batch by batch. The model must be uncompiled meanwhile.

    Args:
        config: the run's without what is compiled.
        timed: batches whose inputs are still there.
        calls: counts the calls of `generate()`.
    """
    generator = Generator(model, config, calls=calls)
    samples = equal = 0
    caches: list[int] = []
    differences: list[TokenDifference] = []
    for item in timed:
        inputs = item.batch.to(config.device, torch_dtype(config.dtype))
        with CacheSize(model) as cache:
            eager, logits = generator.with_logits(inputs)
        caches += [] if cache.bytes is None else [cache.bytes]
        ours = item.generated.tokens
        for row, sample in enumerate(item.batch.samples):
            position = _first_difference(eager[row], ours[row])
            samples += 1
            if position is None:
                equal += 1
                continue
            differences.append(
                _difference(sample.sample_id, position, eager[row], ours[row], logits[:, row])
            )
    tokens = TokensAgainstEager(samples=samples, equal=equal, differences=tuple(differences))
    return EagerRun(tokens, max(caches, default=None))


def _first_difference(one: torch.Tensor, other: torch.Tensor) -> int | None:
    """The first position at which two rows differ, one that only the longer has included."""
    shared = min(len(one), len(other))
    unequal = (one[:shared] != other[:shared]).nonzero()
    if len(unequal):
        return int(unequal[0])
    return None if len(one) == len(other) else shared


def _difference(
    sample_id: str, position: int, eager: torch.Tensor, ours: torch.Tensor, logits: torch.Tensor
) -> TokenDifference:
    """`logits` are the eager run's for this sample, float32 (steps, vocabulary)."""
    tokens = [int(row[position]) if position < len(row) else -1 for row in (eager, ours)]
    # Position 0 is the start token, so step i decided position i + 1.
    step = position - (len(eager) - len(logits))
    gap = None
    if 0 <= step < len(logits) and min(tokens) >= 0:
        gap = float(logits[step, tokens[0]] - logits[step, tokens[1]])
    return TokenDifference(
        sample_id=sample_id,
        position=position,
        eager_token=tokens[0],
        token=tokens[1],
        logit_gap=gap,
    )
