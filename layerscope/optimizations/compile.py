"""The parts of a model that `generate()` calls, compiled by inductor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.records.provenance import Provenance
from layerscope.workload.architecture import without_weights
from layerscope.workload.batching import LENGTH_BUCKET
from layerscope.workload.compiled import CompiledMode, CompiledParts, counters_kept, why_no_parts
from layerscope.workload.optimization import Applying, Asked, Optimization, Plan


@dataclass(frozen=True)
class CompiledModel:
    """A model whose parts run compiled.

    Attributes:
        watch: notes which layers the compiled code came from; None where torch is not understood.
        reason: why not, in words; "" with a watch.
    """

    parts: CompiledParts
    watch: ProvenanceWatch | None
    reason: str

    def provenance(self) -> Provenance:
        """What is known of the compiled code so far."""
        if self.watch is None:
            return Provenance(torch=str(torch.__version__), reason=self.reason)
        return self.watch.record()


def refusal(asked: Asked) -> str | None:
    """A model without any of the parts: seen without its weights, too."""
    if asked.model is not None:
        return why_no_parts(asked.model)
    why = why_no_parts(without_weights(asked.architecture))
    return None if why is None else f"not for model_type {asked.architecture.model_type!r}: {why}"


@contextmanager
def applied(applying: Applying) -> Iterator[CompiledModel]:
    """The model with its parts compiled as the whole plan says; uncompiled again at the end."""
    plan = applying.plan
    mode: CompiledMode = "cudagraphs" if plan.cuda_graphs else "compile"
    parts = CompiledParts(applying.model, mode, tuned=plan.tuned)
    # Finding out whether torch is understood compiles something, too.
    with counters_kept():
        reason = why_not_understood()
        watch = ProvenanceWatch(applying.model) if not reason else None
        with watch or nullcontext(), parts:
            yield CompiledModel(parts, watch, reason)


OPTIMIZATION = Optimization(
    plan=Plan(compiled=True, static_cache=True, text_multiple=LENGTH_BUCKET),
    refusal=refusal,
    applied=applied,
)
