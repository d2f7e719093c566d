"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: a closed form of their FLOPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from layerscope.models.closed_form import (
    ClosedForm,
    FormFlops,
    attention,
    given_to,
    product,
    shape_of,
)
from layerscope.models.decoder_only import angles_by_product, language_parts

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_TOWER, _LANGUAGE = "model.visual", "model.language_model"
_AXES = 3  # time, rows and columns


def _flops_of_run(model: Any, calls: Mapping[str, Any], decoder_steps: int) -> FormFlops:
    config = model.config
    rows, prompt, _ = shape_of(calls, _LANGUAGE, "inputs_embeds")
    grids = [tuple(grid) for grid in calls[_TOWER].kwargs["grid_thw"].tolist()]
    patches = int(given_to(calls, _TOWER, "hidden_states").shape[0])
    vision, kind = config.vision_config, config.model_type
    merger = _merger(vision, kind, patches)
    deeper = len(getattr(vision, "deepstack_visual_indexes", ()))
    tower = _convolution(vision, kind, patches) + _layers(vision, kind, patches, grids)
    angles = angles_by_product(model.get_submodule(f"{_LANGUAGE}.rotary_emb"))
    return FormFlops(
        parts={
            "vision": tower + (1 + deeper) * merger,  # the mergers lie inside the tower
            **language_parts(
                config.text_config,
                rows=rows,
                prompt=prompt,
                steps=decoder_steps,
                angles=_AXES * angles,
            ),
        }
    )


def _width(vision: Any, kind: str) -> int:
    """Of the tower's layers; Qwen2-VL calls it so and keeps `hidden_size` for what the merger gives."""
    return int(vision.embed_dim if kind == "qwen2_vl" else vision.hidden_size)


def _convolution(vision: Any, kind: str, patches: int) -> int:
    values = 3 * vision.temporal_patch_size * vision.patch_size**2
    return product(patches, values, _width(vision, kind))


def _layers(vision: Any, kind: str, patches: int, grids: list[tuple[int, ...]]) -> int:
    h = _width(vision, kind)
    if kind == "qwen2_vl":
        forward = 2 * product(patches, h, int(h * vision.mlp_ratio))
    else:  # gated in Qwen2.5-VL alone
        forward = (3 if kind == "qwen2_5_vl" else 2) * product(patches, h, vision.intermediate_size)
    layer = 4 * product(patches, h, h) + forward
    # An image's frames attend each to itself alone.
    whole = sum(t * attention(rows * columns, rows * columns, h) for t, rows, columns in grids)
    depth = int(vision.depth)
    if kind != "qwen2_5_vl":
        return depth * (layer + whole)
    full = len(vision.fullatt_block_indexes)
    windows = sum(t * _windows(vision, rows, columns, h) for t, rows, columns in grids)
    return depth * layer + full * whole + (depth - full) * windows


def _windows(vision: Any, rows: int, columns: int, width: int) -> int:
    """Attention within windows: squares of whole merged patches, cut off at the image's edges."""
    side = vision.window_size // vision.patch_size // vision.spatial_merge_size
    side *= vision.spatial_merge_size

    def cut(length: int) -> list[int]:
        return [min(side, length - start) for start in range(0, length, side)]

    sizes = [a * b for a in cut(rows) for b in cut(columns)]
    return sum(attention(n, n, width) for n in sizes)


def _merger(vision: Any, kind: str, patches: int) -> int:
    """The two matrices that make one token of a square of patches."""
    square = vision.spatial_merge_size**2
    wide = _width(vision, kind) * square
    out = vision.hidden_size if kind == "qwen2_vl" else vision.out_hidden_size
    return product(patches // square, wide, wide) + product(patches // square, wide, out)


CLOSED_FORM = ClosedForm(of="Qwen-VL", parts=(_TOWER, _LANGUAGE), flops=_flops_of_run)
