"""Inductor on every part of the model that `generate()` calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.core.remedy import Remedy
from layerscope.records.finding import Saving

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence


def predict(evidence: Evidence) -> Saving:
    """Nothing: an eager account does not say which kernels inductor would fuse."""
    return Saving(
        saved_ns=None,
        basis="which kernels inductor fuses, and how fast its own are, no eager account says",
    )


REMEDY = Remedy(
    name="compile",
    does="fewer, larger kernels",
    helps=("below-roofline", "launch-bound", "prefill-eager"),
    snippet="""\
# The parts of an encoder-decoder; of others: tower, projector, and what is called once a decoder step.
language = model.language_model
for part in (model.vision_model, model.qformer, language.encoder, language):
    part.compile(dynamic=False)
tokens = model.generate(**inputs, cache_implementation="static", disable_compile=True)
""",
    torch="torch.compile of each part of the model",
    predict=predict,
    aliases=(("optimization", "compile"),),
    goes_with=("cudagraphs", "flash", "tf32", "tuned"),
)
