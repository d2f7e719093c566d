"""InstructBLIP: its prompt is embedded before T5's encoder runs, which is the encoder's work."""

from __future__ import annotations

from typing import Any

from layerscope.core.roles import Role
from layerscope.models.closed_form import ClosedForm
from layerscope.models.families.instructblip.sizes import PARTS, flops_of_run
from layerscope.models.loading import Loading

MODEL_TYPES = ("instructblip", "instructblipvideo")
EXCEPTIONS: dict[str, Role] = {"language_model.shared": "encoder"}
# Its positions are for one image size; others are interpolated from them, where it is asked to.
GENERATE_WITH = {"interpolate_pos_encoding": True}
CLOSED_FORM = ClosedForm(of="InstructBLIP with a T5", parts=PARTS, flops=flops_of_run)


def _draw_queries(model: Any, std: float) -> None:
    """Query tokens of zero would all attend alike."""
    model.query_tokens.normal_(std=std)


LOADING = Loading(
    name="InstructBLIP",
    model_type="instructblip",
    config_class="InstructBlipConfig",
    model_class="InstructBlipForConditionalGeneration",
    processor_class="InstructBlipProcessor",
    set_up=_draw_queries,
)
