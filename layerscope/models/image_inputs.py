"""A model and a size in, random images as that model takes them out, and how many tokens they become.

How a model takes images is read from its `get_image_features`: patches packed beside a grid
(`image_grid_thw`), tiles of one image (`image_grid_pinpoints`, or five dimensions beside a
`pixel_attention_mask`), or plain squares. What it makes of them is asked of the model: one sample goes
through that method. A family whose model has no such method says it in its file.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError, UsageError
from layerscope.core.words import first_line
from layerscope.models.families import family_of_model

if TYPE_CHECKING:
    import torch
    from torch import nn

    # One sample's numbers: a shape in, standard normal float32 out.
    Draw = Callable[[tuple[int, ...]], torch.Tensor]

_TOKEN_NAMES = ("image_token_id", "image_token_index")
_MOST_ELONGATED = 2  # a grid of patches is at most this many times as wide as high


@dataclass(frozen=True)
class Pixels:
    """The side lengths of an image in pixels, as the model sees it."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height} × {self.width} px"


def image_token(config: Any) -> int | None:
    """The id that marks an image token's place in `input_ids`; None where the model has none."""
    for name in _TOKEN_NAMES:
        token = getattr(config, name, None)
        if token is not None:
            return int(token)
    return None


def plain_size(model: nn.Module, side_px: int) -> Pixels:
    """The size nearest to a square of this side, not above it, that the model takes.

    Raises:
        UsageError: the side is smaller than the least that the model takes.
    """
    fixed, unit = fixed_side(model), _unit(model)
    if fixed is not None:
        return Pixels(fixed, fixed)
    side = side_px // unit * unit
    if not side:
        raise UsageError(
            f"--image-size {side_px}: the least that {type(model).__name__} takes is {unit} px."
        )
    return Pixels(side, side)


def fixed_side(model: nn.Module) -> int | None:
    """The only side that the model takes, in pixels; None where it takes more than one."""
    takes, config = _parameters(model), _config(model)
    if "image_grid_thw" in takes or "interpolate_pos_encoding" in takes or _pinpoints(config):
        return None
    if "pixel_attention_mask" in takes or "image_sizes" in takes:
        return None
    vision = getattr(config, "vision_config", None)
    side = getattr(vision, "image_size", None)
    if isinstance(side, list | tuple):
        side = side[0]
    return int(side) if isinstance(side, int) else None


def size_for_tokens(model: nn.Module, tokens: int) -> Pixels:
    """The size whose image becomes `tokens` tokens, or the nearest number below.

    Of the grids with that many tokens the one nearest to a square, at most twice as wide as high.

    Raises:
        UsageError: the number follows from the model alone, or is less than one.
    """
    if "image_grid_thw" not in _parameters(model):
        raise UsageError(
            f"--image-tokens {tokens}: {type(model).__name__} takes no grid of patches, so a size in "
            "pixels (--image-size) or the model alone says how many tokens an image becomes."
        )
    unit, (rows, columns) = _unit(model), _grid_of(tokens)
    return Pixels(rows * unit, columns * unit)


def random_images(model: nn.Module, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """Images of random pixels for one batch, by the names of the model's own inputs; on the CPU.

    Args:
        draws: a sample's own numbers each, so that a sample is the same in every batch.

    Raises:
        ModelError: the model says nothing of how it takes images, and no family file does.
    """
    family: Any = family_of_model(model)
    if hasattr(family, "random_images"):
        own: dict[str, torch.Tensor] = family.random_images(_config(model), size, draws)
        return own
    takes, config = _parameters(model), _config(model)
    if "image_grid_thw" in takes:
        return _packed_patches(config, size, draws)
    if "image_sizes" in takes and _pinpoints(config):
        return _anyres_tiles(config, size, draws)
    if "pixel_attention_mask" in takes:
        return _split_tiles(config, size, draws)
    if set(takes) & {"pixel_values"}:
        return _squares(takes, size, draws)
    raise ModelError(
        f"{type(model).__name__}: layerscope does not know which inputs it takes for an image; give "
        "its processor with --processor FOLDER."
    )


def tokens_of(model: nn.Module, images: Mapping[str, torch.Tensor]) -> int:
    """Image tokens that one sample's images become, by running them through the model.

    Args:
        images: of one sample, on the model's device.

    Raises:
        ModelError: the model does not take them.
    """
    import torch

    family: Any = family_of_model(model)
    if hasattr(family, "image_tokens"):
        return int(family.image_tokens(_config(model), images))
    takes = _parameters(model)
    known: dict[str, Any] = {name: images[name] for name in images if name in takes}
    if "interpolate_pos_encoding" in takes:
        known["interpolate_pos_encoding"] = True
    features: Any = model.get_image_features
    try:
        with torch.no_grad():
            found = features(**known)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelError(
            f"{type(model).__name__}: its get_image_features() does not take random images "
            f"({first_line(error)}); give its processor with --processor FOLDER."
        ) from error
    pooled = getattr(found, "pooler_output", found)
    tensors = pooled if isinstance(pooled, list | tuple) else [pooled]
    # All of them are the one sample's: an image each, a tile each, or one tensor of all.
    return sum(tensor.numel() // tensor.shape[-1] for tensor in tensors)


def marks_around(config: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids that stand before and after an image's tokens, where the config names them."""

    def named(*names: str) -> tuple[int, ...]:
        found = (getattr(config, name, None) for name in names)
        return next(((int(token),) for token in found if token is not None), ())

    return (
        named("vision_start_token_id", "boi_token_index", "boi_token_id"),
        named("vision_end_token_id", "eoi_token_index", "eoi_token_id"),
    )


def _squares(takes: Sequence[str], size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    import torch

    pixels = torch.stack([draw((3, size.height, size.width)) for draw in draws])
    images = {"pixel_values": pixels}
    if "image_sizes" in takes:
        images["image_sizes"] = torch.tensor([[size.height, size.width]] * len(draws))
    return images


def _packed_patches(config: Any, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    import torch

    vision = config.vision_config
    patch = int(vision.patch_size)
    frames = int(getattr(vision, "temporal_patch_size", 1))
    channels = int(getattr(vision, "in_channels", 3))
    rows, columns = size.height // patch, size.width // patch
    values = channels * frames * patch * patch
    return {
        "pixel_values": torch.cat([draw((rows * columns, values)) for draw in draws]),
        "image_grid_thw": torch.tensor([[1, rows, columns]] * len(draws)),
    }


def _anyres_tiles(config: Any, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """The image in the tiles of the best resolution for it, and once whole."""
    import torch
    from transformers.image_processing_utils import select_best_resolution

    tile = first_side(config.vision_config.image_size)
    best = select_best_resolution((size.height, size.width), _pinpoints(config))
    tiles = math.ceil(best[0] / tile) * math.ceil(best[1] / tile) + 1
    return {
        "pixel_values": torch.stack([draw((tiles, 3, tile, tile)) for draw in draws]),
        "image_sizes": torch.tensor([[size.height, size.width]] * len(draws)),
    }


def _split_tiles(config: Any, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """One tile where the image fits it, else as many as cover it and once the whole."""
    import torch

    tile = first_side(config.vision_config.image_size)
    tiles = math.ceil(size.height / tile) * math.ceil(size.width / tile)
    tiles += tiles > 1
    return {
        "pixel_values": torch.stack([draw((tiles, 3, tile, tile)) for draw in draws]),
        "pixel_attention_mask": torch.ones(len(draws), tiles, tile, tile, dtype=torch.int64),
    }


def _grid_of(tokens: int) -> tuple[int, int]:
    """Rows and columns of at most `tokens` cells: the most cells, then the nearest to a square."""
    if tokens < 1:
        raise UsageError(f"--image-tokens {tokens}: an image becomes one token or more.")

    def place(rows: int) -> tuple[int, int]:
        columns = min(tokens // rows, _MOST_ELONGATED * rows)
        return rows * columns, rows

    rows = max(range(1, math.isqrt(tokens) + 1), key=place)
    return rows, min(tokens // rows, _MOST_ELONGATED * rows)


def _unit(model: nn.Module) -> int:
    """Pixels that a side grows by: one image token's, or one patch's."""
    config = _config(model)
    vision = getattr(config, "vision_config", None)
    strides = getattr(vision, "patch_stride", None)
    if isinstance(strides, list):  # a tower in stages, each of which merges patches
        return math.prod(strides)
    merge: Any = getattr(vision, "spatial_merge_size", None)
    if merge is None:
        merge = getattr(config, "spatial_merge_size", 1)
    return first_side(getattr(vision, "patch_size", 1)) * int(merge)


def first_side(size: Any) -> int:
    """The height that a configuration gives, alone or with the width."""
    return int(size[0] if isinstance(size, list | tuple) else size)


def _pinpoints(config: Any) -> list[list[int]]:
    found = getattr(config, "image_grid_pinpoints", None)
    return [list(pair) for pair in found] if found else []


def _parameters(model: nn.Module) -> tuple[str, ...]:
    features = getattr(model, "get_image_features", None)
    return () if features is None else tuple(inspect.signature(features).parameters)


def _config(model: nn.Module) -> Any:
    return model.config
