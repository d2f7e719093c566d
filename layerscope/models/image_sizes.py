"""A model in, the sizes of image that it takes out: by a side, by the tokens that an image becomes.

Three ways there are to take images of more than one size: a grid of patches (`image_grid_thw`), where
any number of tokens has its size; tiles of one side, by resolutions that the configuration lists
(`image_grid_pinpoints`) or as many as cover the image; patches of any image whose positions the tower
interpolates.
"""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import UsageError
from layerscope.models.families import family_of_model

if TYPE_CHECKING:
    from torch import nn

_MOST_ELONGATED = 2  # a grid of patches or tiles is at most this many times as wide as high
_MOST_TILES = 6  # on a side


@dataclass(frozen=True)
class Pixels:
    """The side lengths of an image in pixels, as the model sees it."""

    height: int
    width: int

    @property
    def area(self) -> int:
        """In square pixels."""
        return self.height * self.width

    @property
    def elongation(self) -> float:
        """The longer side over the shorter one."""
        return max(self.height, self.width) / min(self.height, self.width)

    def __str__(self) -> str:
        return f"{self.height} × {self.width} px"


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
    takes, config = image_parameters(model), settings_of(model)
    if "image_grid_thw" in takes or "interpolate_pos_encoding" in takes or pinpoints(config):
        return None
    if takes_tiles(model) or "image_sizes" in takes:
        return None
    vision = getattr(config, "vision_config", None)
    side = getattr(vision, "image_size", None)
    if isinstance(side, list | tuple):
        side = side[0]
    return int(side) if isinstance(side, int) else None


def size_for_tokens(model: nn.Module, tokens: int, count: Callable[[Pixels], int]) -> Pixels:
    """The size whose image becomes `tokens` tokens, or the nearest number below.

    Of the grids of patches with that many tokens the one nearest to a square, at most twice as wide as
    high; of tiles the size whose image becomes the most tokens up to that number.

    Args:
        count: the tokens that an image of a size becomes; asked for a few sizes in tiles alone.

    Raises:
        UsageError: the number follows from the model alone, or is less than the least there is.
    """
    if tokens < 1:
        raise UsageError(f"--image-tokens {tokens}: an image becomes one token or more.")
    if _has_grid(model):
        unit, (rows, columns) = _unit(model), _grid_of(tokens)
        return Pixels(rows * unit, columns * unit)
    sizes, kind = sizes_in_tiles(model), type(model).__name__
    if not sizes:
        raise UsageError(
            f"--image-tokens {tokens}: {kind} takes no grid of patches and no tiles, so a size in "
            "pixels (--image-size) or the model alone says how many tokens an image becomes."
        )
    asked = {size: count(size) for size in _halving(sizes, tokens, count)}
    found = {size: made for size, made in asked.items() if made <= tokens}
    if not found:
        least = min(asked.values())
        raise UsageError(
            f"--image-tokens {tokens}: {kind} makes {least} or more tokens of an image."
        )
    return max(found, key=lambda size: (found[size], -size.area))


def _halving(
    sizes: Sequence[Pixels], tokens: int, count: Callable[[Pixels], int]
) -> Sequence[Pixels]:
    """Of sizes that grow, the last that makes no more than so many tokens, and its neighbours."""
    place = bisect_right(sizes, tokens, key=count)
    return sizes[max(0, place - 2) : place + 1]


def sizes_in_tiles(model: nn.Module) -> tuple[Pixels, ...]:
    """The sizes that fill tiles of the model's one side, the smallest first; () without tiles."""
    config = settings_of(model)
    listed = pinpoints(config)
    if listed:
        sizes = {Pixels(*pair) for pair in listed}
    elif takes_tiles(model):
        side, counts = tile_side(config), range(1, _MOST_TILES + 1)
        sizes = {Pixels(rows * side, columns * side) for rows in counts for columns in counts}
        sizes = {size for size in sizes if size.elongation <= _MOST_ELONGATED}
    else:
        return ()
    return tuple(sorted(sizes, key=lambda size: (size.area, size.elongation, size.height)))


def tiles_over(config: Any, size: Pixels) -> int:
    """Tiles that cover an image, and one more for the whole of it where they are several."""
    side = tile_side(config)
    tiles = math.ceil(size.height / side) * math.ceil(size.width / side)
    return tiles + (tiles > 1)


def takes_tiles(model: nn.Module) -> bool:
    """Whether the model takes an image as as many tiles of one side as cover it."""
    family = family_of_model(model)
    flat = bool(getattr(family, "FLAT_TILES", False))
    return flat or "pixel_attention_mask" in image_parameters(model)


def tile_side(config: Any) -> int:
    """The side of a tile in pixels."""
    return first_side(config.vision_config.image_size)


def _has_grid(model: nn.Module) -> bool:
    """Whether the rows and columns of an image's patches are its tokens."""
    takes = image_parameters(model)
    own_sizes = "image_sizes" in takes and not pinpoints(settings_of(model))
    return "image_grid_thw" in takes or own_sizes


def _grid_of(tokens: int) -> tuple[int, int]:
    """Rows and columns of at most `tokens` cells: the most cells, then the nearest to a square."""

    def place(rows: int) -> tuple[int, int]:
        columns = min(tokens // rows, _MOST_ELONGATED * rows)
        return rows * columns, rows

    rows = max(range(1, math.isqrt(tokens) + 1), key=place)
    return rows, min(tokens // rows, _MOST_ELONGATED * rows)


def _unit(model: nn.Module) -> int:
    """Pixels that a side grows by: one image token's, or one patch's."""
    config = settings_of(model)
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


def pinpoints(config: Any) -> list[list[int]]:
    """The resolutions that the configuration lists, as (height, width)."""
    found = getattr(config, "image_grid_pinpoints", None)
    return [list(pair) for pair in found] if found else []


def image_parameters(model: nn.Module) -> tuple[str, ...]:
    """What `get_image_features` takes; () for a model without it."""
    features = getattr(model, "get_image_features", None)
    return () if features is None else tuple(inspect.signature(features).parameters)


def settings_of(model: nn.Module) -> Any:
    """The model's configuration; each model type has a class of its own."""
    return model.config
