"""The numbers the closed form needs, read from a model's config and from the calls of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError
from layerscope.models.closed_form import FormFlops, shape_of
from layerscope.models.families.instructblip.closed_form import (
    Architecture,
    Workload,
    closed_form,
)

if TYPE_CHECKING:
    import torch

ENCODER = "language_model.encoder"
PARTS = ("vision_model", "qformer", ENCODER, "language_model")
_PATCH_CONVOLUTION = ("vision_model.embeddings.patch_embedding", "vision")


def flops_of_run(model: torch.nn.Module, calls: Mapping[str, Any], decoder_steps: int) -> FormFlops:
    """The closed form of the run in which the parts were called like this.

    Raises:
        ModelError: the model is another one, or a part was not called.
    """
    form = closed_form(architecture_of(model), workload_of(calls, decoder_steps))
    return FormFlops(
        parts=form.parts(),
        rows={"patch convolution": (_PATCH_CONVOLUTION, form.patch_convolution)},
    )


def architecture_of(model: torch.nn.Module) -> Architecture:
    """The sizes of an InstructBLIP with a T5.

    Raises:
        ModelError: the model is another one, for which no closed form is written.
    """
    config: Any = getattr(model, "config", None)
    text: Any = getattr(config, "text_config", None)
    if getattr(config, "model_type", "") != "instructblip" or text.model_type != "t5":
        raise ModelError(
            f"{type(model).__name__}: the closed form is written for InstructBLIP with a T5; "
            "use the other checks."
        )
    vision, qformer = config.vision_config, config.qformer_config
    return Architecture(
        patch=vision.patch_size,
        vision_hidden=vision.hidden_size,
        vision_ffn=vision.intermediate_size,
        vision_layers=vision.num_hidden_layers,
        query_tokens=config.num_query_tokens,
        qformer_hidden=qformer.hidden_size,
        qformer_ffn=qformer.intermediate_size,
        qformer_layers=qformer.num_hidden_layers,
        qformer_cross_every=qformer.cross_attention_frequency,
        d_model=text.d_model,
        inner=text.num_heads * text.d_kv,
        d_ff=text.d_ff,
        gated=bool(text.is_gated_act),
        encoder_layers=text.num_layers,
        decoder_layers=text.num_decoder_layers,
        vocabulary=text.vocab_size,
    )


def workload_of(calls: Mapping[str, Any], decoder_steps: int) -> Workload:
    """The shapes that reached the parts in a run.

    Raises:
        ModelError: a part was not called, or got its input under a name this does not know.
    """
    pixels = shape_of(calls, "vision_model", "pixel_values")
    qformer = shape_of(calls, "qformer", "input_ids")
    prompt = shape_of(calls, ENCODER, "inputs_embeds", "input_ids")
    rows = shape_of(calls, "language_model", "decoder_input_ids")[0]
    return Workload(
        batch=int(pixels[0]),
        image_size=int(pixels[-1]),
        prompt_length=int(prompt[1]),
        qformer_text=int(qformer[1]),
        decoder_steps=decoder_steps,
        beams=int(rows) // int(pixels[0]),
    )
