"""A model and a `generate()` in, the size of the KV cache after its last step out, in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch

from layerscope.core.roles import language_model_of
from layerscope.models.roles import roles_of
from layerscope.private.generation import handed_back


class CacheSize:
    """Context manager: looks at the cache that the language model hands back after each step.

    For passes that are not timed. The hook is removed on exit.

    Attributes:
        bytes: of all keys and values after the last step; None where no cache was handed back.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._part = model.get_submodule(language_model_of(roles_of(model)))
        self.bytes: int | None = None

    def __enter__(self) -> CacheSize:
        self._handle = self._part.register_forward_hook(self._look)
        return self

    def _look(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        cache = handed_back(output)
        if cache is not None:
            storages = {t.untyped_storage().data_ptr(): t for t in _tensors(cache)}
            self.bytes = sum(t.numel() * t.element_size() for t in storages.values())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.remove()


def _tensors(cache: Any) -> Iterator[torch.Tensor]:
    """Keys and values of a cache, of an encoder-decoder's two caches, or of plain tuples."""
    if isinstance(cache, torch.Tensor):
        yield cache
    elif isinstance(cache, (tuple, list)):
        for item in cache:
            yield from _tensors(item)
    elif hasattr(cache, "self_attention_cache"):
        yield from _tensors((cache.self_attention_cache, cache.cross_attention_cache))
    elif hasattr(cache, "layers"):
        for layer in cache.layers:
            yield from _tensors((getattr(layer, "keys", None), getattr(layer, "values", None)))
