"""Tensors in, their storages out: each once, and told of its end."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Storages:
    """The storages of strided tensors that are alive and were seen. None is kept alive."""

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Any]] = {}

    def first(self, tensor: torch.Tensor, ended: Callable[[int], None]) -> int | None:
        """The bytes of a storage that is seen for the first time; None of a known one, or of none.

        Args:
            ended: called with those bytes when the storage ends.
        """
        import torch

        if tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known:
            return None
        size = storage.nbytes()

        def died(_reference: weakref.ref[Any]) -> None:
            self._known.pop(key, None)
            ended(size)

        self._known[key] = weakref.ref(storage, died)
        return size
