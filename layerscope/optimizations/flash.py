"""FlashAttention-2, which the model is loaded with; a model loaded so is no other run's."""

from __future__ import annotations

from layerscope.workload.flash import FLASH, judged, why_none
from layerscope.workload.optimization import Asked, Optimization, Plan


def refusal(asked: Asked) -> str | None:
    """Each part's reason, where no part can run it."""
    return why_none(judged(asked.config, asked.architecture))


OPTIMIZATION = Optimization(plan=Plan(attention=FLASH), refusal=refusal)
