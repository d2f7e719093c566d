"""A model and a run's optimization mode in; the model with its parts compiled out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch

from layerscope.core.run_config import Optimization
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.records.provenance import Provenance
from layerscope.workload.compiled import CompiledParts


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


@contextmanager
def compiled_model(
    model: torch.nn.Module, mode: Optimization, *, tuned: bool = False
) -> Iterator[CompiledModel | None]:
    """The model with its parts compiled for the mode; None, and the model as it is, for eager.

    Args:
        tuned: with coordinate descent.

    Raises:
        EnvironmentProblem: the mode needs what is not here.
    """
    if mode != "compile" and mode != "cudagraphs":
        yield None
        return
    parts = CompiledParts(model, mode, tuned=tuned)
    reason = why_not_understood()
    watch = ProvenanceWatch(model) if not reason else None
    with watch or nullcontext(), parts:
        yield CompiledModel(parts, watch, reason)
