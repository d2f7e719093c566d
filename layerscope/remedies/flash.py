"""FlashAttention-2 in each part of the model that can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.core.remedy import Remedy
from layerscope.records.finding import Saving

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence


def predict(evidence: Evidence) -> Saving:
    """Nothing: its kernel did not run."""
    return Saving(saved_ns=None, basis="the fused kernel's time for these shapes was not measured")


REMEDY = Remedy(
    name="flash",
    does="one kernel for products and softmax",
    helps=("attention-math-kernel", "below-roofline"),
    snippet="""\
# Needs flash-attn, CUDA and fp16 or bf16; T5's position bias keeps the language model out.
flash = "flash_attention_2"
model.set_attn_implementation({"vision_config": flash, "qformer_config": flash})
tokens = model.generate(**inputs)
""",
    torch='attn_implementation="flash_attention_2" where the part of the model takes it',
    predict=predict,
    # The first can stand beside a compiled run; the second leaves --attention to the other parts.
    aliases=(("attention", "flash"), ("optimization", "flash")),
    goes_with=("compile", "cudagraphs", "tf32", "tuned"),
)
