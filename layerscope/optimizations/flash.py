"""FlashAttention-2, which the model is loaded with; a model loaded so is no other run's."""

from __future__ import annotations

from layerscope.models.readers import reads_text_twice
from layerscope.workload.architecture import model_class
from layerscope.workload.flash import FLASH, judged, why_none
from layerscope.workload.optimization import Asked, Optimization, Plan


def refusal(asked: Asked) -> str | None:
    """Each part's reason, where no part can run it; or a model whose parts are not known."""
    if not reads_text_twice(model_class(asked.architecture)):
        return (
            f"not for model_type {asked.architecture.model_type!r}: layerscope asks it of the parts of "
            "models like the bundled one alone. Use --attention sdpa or eager."
        )
    return why_none(judged(asked.config, asked.architecture))


OPTIMIZATION = Optimization(plan=Plan(attention=FLASH), refusal=refusal)
