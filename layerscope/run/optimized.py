"""A run's optimization mode in; its model compiled in parts, and the record of how it went, out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from layerscope.errors import EnvironmentProblem
from layerscope.records.optimization import OptimizationRecord, TokensAgainstEager
from layerscope.records.run_config import Optimization
from layerscope.workload.compiled import CompiledParts


def refuse_flash(mode: Optimization) -> None:
    """`--optimization flash` is not built yet; `--attention flash` asks for it by part.

    Raises:
        EnvironmentProblem: always for `flash`.
    """
    if mode == "flash":
        raise EnvironmentProblem(
            "--optimization flash: not available in this version of layerscope; --attention flash "
            "asks for FlashAttention where a part of the model declares it."
        )


@contextmanager
def compiled_parts(model: torch.nn.Module, mode: Optimization) -> Iterator[CompiledParts | None]:
    """The model with its parts compiled for the mode; None, and the model as it is, for eager.

    Raises:
        EnvironmentProblem: the mode needs what is not here.
    """
    if mode == "compile" or mode == "cudagraphs":
        with CompiledParts(model, mode) as parts:
            yield parts
    else:
        yield None


def optimization_record(
    mode: Optimization, parts: CompiledParts | None, tokens: TokensAgainstEager | None
) -> OptimizationRecord | None:
    """What was compiled, what ran, and how the answers compare; None for eager."""
    if parts is None:
        return None
    return OptimizationRecord(
        mode=mode,
        parts=parts.counts(),
        graph_breaks=parts.graph_breaks(),
        cudagraph_skips=parts.cudagraph_skips() if mode == "cudagraphs" else None,
        tokens=tokens,
    )
