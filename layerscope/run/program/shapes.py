"""The arguments of a call in, the shapes of the tensors among them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

_MOST_SHAPES = 40
_MOST_ITEMS = 64  # of a list or a dictionary that are looked at
_DEEPEST = 3


def shapes_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, list[int]]:
    """Of each tensor its shape, by name or place: "input_ids", "0", "0.pixel_values", "images.1"."""
    found: dict[str, list[int]] = {}
    for name, value in (*((str(place), v) for place, v in enumerate(args)), *kwargs.items()):
        for path, tensor in _tensors(name, value, _DEEPEST):
            if len(found) == _MOST_SHAPES:
                return found
            found[path] = list(tensor.shape)
    return found


def _tensors(path: str, value: Any, deep: int) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
    elif deep and isinstance(value, Mapping):
        for key, item in list(value.items())[:_MOST_ITEMS]:
            yield from _tensors(f"{path}.{key}", item, deep - 1)
    elif deep and isinstance(value, list | tuple):
        for place, item in enumerate(value[:_MOST_ITEMS]):
            yield from _tensors(f"{path}.{place}", item, deep - 1)
