"""A batch's inputs in, the static key-value cache of their decoder out: made once, emptied for each.

transformers makes a new cache for every `generate()` and fills its addresses in while the first step
runs. Compiled, that step would make the cache anew inside its graph each time; under CUDA graphs its
tensors would then lie in memory that the next batch overwrites. Kept from batch to batch, a cache has
addresses that graphs may rely on.

How many positions a prompt takes, and how wide keys and values are in which layer, is seen on the cache
that grows in one eager step of the same inputs: configurations say it in too many ways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from layerscope.core.errors import ModelError
from layerscope.core.words import kind_and_first_line
from layerscope.private.generation import cache_argument, handed_back, is_kept, static_layer
from layerscope.private.tensors import zero_all
from layerscope.workload.compiled import eagerly
from layerscope.workload.out_of_memory import is_out_of_memory

Shape = tuple[int, ...]


class StaticCaches:
    """The static caches of a model that generates, one for each shape of its prompt.

    Args:
        new_tokens: most tokens of an answer.
        settings: of every `generate()`, beams among them.

    Attributes:
        why_not: why this model has none, in words; "" where it has one, or was not asked yet.
    """

    def __init__(
        self, model: torch.nn.Module, new_tokens: int, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._model = model
        self._new_tokens = new_tokens
        self._settings = dict(settings or {})
        # Once, not in each generate(), which is timed.
        self._argument = cache_argument(model)
        self._kept: dict[Shape, _Kept] = {}
        self._tried = False
        self.why_not = ""

    def empty(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The keyword argument for `generate()` with the cache of these inputs' shape, emptied.

        Empty where the model has no static cache: `generate()` makes one that grows.
        """
        self.make(inputs)
        if self.why_not:
            return {}
        kept = self._kept[_shape(inputs)]
        kept.empty()
        return {self._argument: kept.cache}

    def make(self, inputs: Mapping[str, torch.Tensor]) -> bool:
        """Make the cache of a new shape by an eager step or two; False where there was nothing to do."""
        if self.why_not or _shape(inputs) in self._kept:
            return False
        with torch.no_grad(), eagerly(self._model.modules()):
            kept = self._like(handed_back(self._steps(inputs, 1, {})))
            if kept is not None and not self._tried:
                self._tried = True
                self._try(inputs, kept)
            if kept is not None and not self.why_not:
                self._kept[_shape(inputs)] = kept
        return True

    def _try(self, inputs: Mapping[str, torch.Tensor], kept: _Kept) -> None:
        """Whether the model's own code takes such a cache: not all of transformers' does."""
        kept.empty()
        try:
            self._steps(inputs, 2, {self._argument: kept.cache})
        except Exception as error:
            if is_out_of_memory(error):
                raise
            name = type(self._model).__name__
            self.why_not = f"transformers fails on {name} with one ({kind_and_first_line(error)})"

    def _steps(self, inputs: Mapping[str, torch.Tensor], steps: int, cache: dict[str, Any]) -> Any:
        """`generate()` ended after so many steps."""
        left = iter(range(min(steps, self._new_tokens) - 1, -1, -1))

        def ended(input_ids: torch.Tensor, scores: Any, **_: object) -> torch.Tensor:
            whether = next(left, 0) == 0
            return torch.full(
                (input_ids.shape[0],), whether, dtype=torch.bool, device=input_ids.device
            )

        usual = {"max_new_tokens": self._new_tokens, "do_sample": False, "disable_compile": True}
        own = {"stopping_criteria": [ended], "return_dict_in_generate": True}
        return self._model.generate(**inputs, **{**usual, **self._settings, **own}, **cache)  # type: ignore[operator]

    def _like(self, grown: Any) -> _Kept | None:
        """A static cache with the layers of one that has grown; None, and why, where there is none."""
        from transformers import EncoderDecoderCache

        if grown is None:
            self.why_not = "generate() hands no cache back"
            return None
        own, cross = grown, None
        if hasattr(grown, "cross_attention_cache"):
            own, cross = grown.self_attention_cache, grown.cross_attention_cache
        try:
            # An encoder-decoder's first step has taken the place of the first new token.
            caches = [self._static(own, self._new_tokens - (cross is not None))]
            if cross is not None:
                caches.append(self._static(cross, 0))
        except ModelError as error:
            self.why_not = str(error)
            return None
        whole = EncoderDecoderCache(*caches) if cross is not None else caches[0]
        return _Kept(whole, caches)

    def _static(self, grown: Any, more: int) -> Any:
        """A cache with room for so many positions more than one that has grown in a first step.

        Raises:
            ModelError: it has layers that keep their past in another way.
        """
        from transformers import StaticCache

        config: Any = self._model.config.get_text_config(decoder=True)  # type: ignore[operator, union-attr]
        # Layers of a decoder that read the image itself, once and for all.
        reading_images = set(getattr(config, "cross_attention_layers", None) or ())
        own = [layer for at, layer in enumerate(grown.layers) if at not in reading_images]
        length = _positions(own) + more
        cache = StaticCache(config=config, max_cache_len=length)
        # One that slides counts its positions in a Python number, and torch compiles anew for each
        # value. A layer of full length is right, too: the mask leaves out what the window does.
        cache.layers = [
            static_layer(layer, _positions([layer]) if at in reading_images else length)
            for at, layer in enumerate(grown.layers)
        ]
        return cache


class _Kept:
    def __init__(self, cache: Any, parts: Iterable[Any]) -> None:
        self.cache = cache
        self._zero_all = zero_all()
        self._updated: dict[int, bool] | None = getattr(cache, "is_updated", None)
        layers = [layer for part in parts for layer in part.layers]
        self._layers = [layer for layer in layers if is_kept(layer)]
        self._others = [layer for layer in layers if not is_kept(layer)]
        self._tensors = [tensor for layer in self._layers for tensor in _tensors_of(vars(layer))]
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
        for layer in self._layers:
            # Of a first step models ask whether its cache is new.
            layer.is_initialized = False
        for layer in self._others:
            layer.reset()


def _tensors_of(found: Mapping[Any, Any]) -> Iterator[torch.Tensor]:
    return (value for value in found.values() if isinstance(value, torch.Tensor))


def _positions(layers: Iterable[Any]) -> int:
    lengths = (layer.get_seq_length() for layer in layers if hasattr(layer, "get_seq_length"))
    return max(map(int, lengths), default=0)


def _shape(inputs: Mapping[str, torch.Tensor]) -> Shape:
    """Of the prompt; of a model without one, of what its encoder reads."""
    prompt = inputs["input_ids"] if "input_ids" in inputs else next(iter(inputs.values()))
    return tuple(prompt.shape)
