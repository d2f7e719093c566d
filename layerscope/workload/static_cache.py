"""A batch's shape in, the static key-value cache of its decoder out: made once, emptied for each batch.

transformers makes a new cache for every `generate()` and fills its addresses in while the first step
runs. Compiled, that step would make the cache anew inside its graph each time; under CUDA graphs its
tensors would then lie in memory that the next batch overwrites. Kept from batch to batch, a cache has
addresses that graphs may rely on.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

from layerscope.private.generation import allocate
from layerscope.private.tensors import zero_all


class StaticCaches:
    """The static caches of a T5 or a decoder-only language model, one for each shape.

    Args:
        model: with a language model as a part.
        length: positions of the decoder's own cache: new tokens, and for a decoder-only language model
            the prompt too, which is added for each shape.
        beams: rows of the decoder per sample.
    """

    def __init__(self, model: torch.nn.Module, length: int, beams: int = 1) -> None:
        self._language: Any = model.language_model
        self._config: Any = model.config.get_text_config(decoder=True)  # type: ignore[operator, union-attr]
        self._encoder_decoder = bool(self._config.is_encoder_decoder)
        self._length, self._beams = length, beams
        # Once, not in each generate(), which is timed.
        self._argument = _argument(self._language)
        self._kept: dict[tuple[int, int], _Kept] = {}

    def empty(self, batch: int, prompt: int) -> dict[str, Any]:
        """The keyword argument for `generate()` with the cache of this shape, emptied.

        Args:
            batch: samples.
            prompt: tokens of the prompt, image tokens and padding included.
        """
        kept = self._kept.get((batch, prompt))
        if kept is None:
            kept = self._kept[batch, prompt] = self._make(batch * self._beams, prompt)
        else:
            kept.empty()
        return {self._argument: kept.cache}

    def _make(self, rows: int, prompt: int) -> _Kept:
        from transformers import EncoderDecoderCache

        if not self._encoder_decoder:
            own = self._static(rows, prompt + self._length)
            return _Kept(own, [own])
        own, cross = self._static(rows, self._length), self._static(rows, prompt)
        return _Kept(EncoderDecoderCache(own, cross), [own, cross])

    def _static(self, rows: int, length: int) -> Any:
        from transformers import StaticCache

        config = self._config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "d_kv", None) or getattr(config, "head_dim", None)
        width = width or config.hidden_size // config.num_attention_heads
        reference = (
            next(self._language.get_encoder().parameters())
            if self._encoder_decoder
            else next(self._language.parameters())
        )
        cache = StaticCache(config=config, max_cache_len=length)
        allocate(cache, rows, heads, width, reference.dtype, reference.device)
        return cache


class _Kept:
    def __init__(self, cache: Any, parts: list[Any]) -> None:
        self.cache = cache
        self._zero_all = zero_all()
        self._updated: dict[int, bool] | None = getattr(cache, "is_updated", None)
        self._tensors = [
            value
            for part in parts
            for layer in part.layers
            for value in vars(layer).values()
            if isinstance(value, torch.Tensor)
        ]
        # Of a list of several dtypes torch would empty every tensor with a launch of its own.
        self._alike: dict[torch.dtype, list[torch.Tensor]] = defaultdict(list)
        for tensor in self._tensors:
            self._alike[tensor.dtype].append(tensor)

    def empty(self) -> None:
        """As new, at the same addresses, in a few launches where `reset()` takes three a layer."""
        for tensors in self._alike.values():
            self._zero_all(tensors)
        if self._updated is not None:
            self._updated.update(dict.fromkeys(self._updated, False))


def _argument(language: Any) -> str:
    """transformers calls it `cache` from 5.24 on."""
    import inspect

    known = inspect.signature(language.forward).parameters
    return "cache" if "cache" in known else "past_key_values"
