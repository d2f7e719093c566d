"""A model and a size in, random images as that model takes them out, and how many tokens they become.

How a model takes images is read from its `get_image_features`: patches packed beside a grid
(`image_grid_thw`), tiles of one image (`image_grid_pinpoints`, or five dimensions beside a
`pixel_attention_mask`), or plain squares. What it makes of them is asked of the model: one sample goes
through that method. A family whose model has no such method says it in its file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError
from layerscope.core.words import first_line
from layerscope.models.families import family_of_model
from layerscope.models.image_sizes import (
    Pixels,
    image_parameters,
    pinpoints,
    settings_of,
    takes_tiles,
    tile_side,
    tiles_over,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    # One sample's numbers: a shape in, standard normal float32 out.
    Draw = Callable[[tuple[int, ...]], torch.Tensor]

_TOKEN_NAMES = ("image_token_id", "image_token_index")


def image_token(config: Any) -> int | None:
    """The id that marks an image token's place in `input_ids`; None where the model has none."""
    for name in _TOKEN_NAMES:
        token = getattr(config, name, None)
        if token is not None:
            return int(token)
    return None


def random_images(model: nn.Module, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """Images of random pixels for one batch, by the names of the model's own inputs; on the CPU.

    Args:
        draws: a sample's own numbers each, so that a sample is the same in every batch.

    Raises:
        ModelError: the model says nothing of how it takes images, and no family file does.
    """
    family: Any = family_of_model(model)
    if hasattr(family, "random_images"):
        own: dict[str, torch.Tensor] = family.random_images(settings_of(model), size, draws)
        return own
    takes, config = image_parameters(model), settings_of(model)
    if "image_grid_thw" in takes:
        return _packed_patches(config, size, draws)
    if "image_sizes" in takes and pinpoints(config):
        return _anyres_tiles(config, size, draws)
    if "pixel_attention_mask" in takes:
        return _split_tiles(config, size, draws)
    if takes_tiles(model):
        return _flat_tiles(config, size, draws)
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
        return int(family.image_tokens(settings_of(model), images))
    takes = image_parameters(model)
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

    tile = tile_side(config)
    best = select_best_resolution((size.height, size.width), pinpoints(config))
    tiles = math.ceil(best[0] / tile) * math.ceil(best[1] / tile) + 1
    return {
        "pixel_values": torch.stack([draw((tiles, 3, tile, tile)) for draw in draws]),
        "image_sizes": torch.tensor([[size.height, size.width]] * len(draws)),
    }


def _split_tiles(config: Any, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """One tile where the image fits it, else as many as cover it and once the whole."""
    import torch

    tile, tiles = tile_side(config), tiles_over(config, size)
    return {
        "pixel_values": torch.stack([draw((tiles, 3, tile, tile)) for draw in draws]),
        "pixel_attention_mask": torch.ones(len(draws), tiles, tile, tile, dtype=torch.int64),
    }


def _flat_tiles(config: Any, size: Pixels, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
    """The same tiles, those of all samples one after another."""
    import torch

    tile, tiles = tile_side(config), tiles_over(config, size)
    return {"pixel_values": torch.cat([draw((tiles, 3, tile, tile)) for draw in draws])}
