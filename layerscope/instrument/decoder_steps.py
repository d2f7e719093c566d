"""The arguments of a language model's call in, whether it goes on from the call before out.

Needed in a loop of the caller's own: inside `generate()` the first call is the prefill, outside it only
the arguments tell. Nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

# Where a call's new positions are, in the order in which they decide: an encoder's input is none.
_POSITIONS = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
_CACHES = ("past_key_values", "cache", "cache_params")  # by version of transformers


class DecoderLoop:
    """Looks at one call after the other.

    A call goes on where its cache holds positions already, or where, without a cache, it has one
    position more than the call before.
    """

    def __init__(self) -> None:
        self._positions = 0
        self._caches: dict[int, Any] = {}  # kept, so that no other object gets a known id

    def goes_on(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the call with these arguments is a later step of the one before."""
        before, self._positions = self._positions, _positions(args, kwargs)
        cache = next((kwargs[name] for name in _CACHES if kwargs.get(name) is not None), None)
        if cache is None:
            return before > 0 and self._positions == before + 1
        seen = id(cache) in self._caches
        self._caches[id(cache)] = cache
        length = _length(cache)
        return seen if length is None else length > 0


def _positions(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    given = (kwargs.get(name) for name in _POSITIONS)
    tensor = next((x for x in (*given, *args[:1]) if isinstance(x, torch.Tensor)), None)
    return int(tensor.shape[1]) if tensor is not None and tensor.dim() > 1 else 0


def _length(cache: Any) -> int | None:
    """Positions in a cache; None where only the device knows."""
    ask = getattr(cache, "get_seq_length", None)
    if ask is None:
        return len(cache) if isinstance(cache, (tuple, list)) else None
    length = ask()
    if isinstance(length, torch.Tensor):
        return int(length) if length.device.type == "cpu" else None
    return int(length)
