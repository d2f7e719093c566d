"""InstructBLIP: its prompt is embedded before T5's encoder runs, which is the encoder's work."""

from __future__ import annotations

from layerscope.core.roles import Role
from layerscope.models.closed_form import ClosedForm
from layerscope.models.families.instructblip.sizes import PARTS, flops_of_run

MODEL_TYPES = ("instructblip", "instructblipvideo")
EXCEPTIONS: dict[str, Role] = {"language_model.shared": "encoder"}
CLOSED_FORM = ClosedForm(of="InstructBLIP with a T5", parts=PARTS, flops=flops_of_run)
