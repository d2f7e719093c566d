"""The arguments of a language model's call in, whether it goes on from the call before out.

Needed in a loop of the caller's own: inside `generate()` the first call is the prefill, outside it only
the arguments tell. Nothing here waits for a device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import torch

# Where a call's new positions are, in the order in which they decide: an encoder's input is none.
_POSITIONS = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
_CACHES = ("past_key_values", "cache", "cache_params")  # by version of transformers


class DecoderLoop:
    """Looks at one call after the other.

    A call goes on where its cache holds positions or states already, or where, without a cache, it has
    one position more than the call before.
    """

    def __init__(self) -> None:
        self._positions = 0
        # By id, while they live: a cache may hold most of a device's memory, so none is kept alive,
        # and a dead one's id is forgotten with it.
        self._caches: WeakValueDictionary[int, Any] = WeakValueDictionary()

    def goes_on(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the call with these arguments is a later step of the one before."""
        before, self._positions = self._positions, _positions(args, kwargs)
        cache = next((kwargs[name] for name in _CACHES if kwargs.get(name) is not None), None)
        if cache is None:
            return before > 0 and self._positions == before + 1
        length = _length(cache)
        if length is not None:
            return length > 0
        filled = _has_state(cache)
        if filled is not None:
            return filled
        seen = id(cache) in self._caches
        with contextlib.suppress(TypeError):  # of a kind that cannot be watched: it begins anew
            self._caches[id(cache)] = cache
        return seen


def _positions(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    given = (kwargs.get(name) for name in _POSITIONS)
    tensor = next((x for x in (*given, *args[:1]) if isinstance(x, torch.Tensor)), None)
    return int(tensor.shape[1]) if tensor is not None and tensor.dim() > 1 else 0


def _length(cache: Any) -> int | None:
    """Positions in a cache; None where only the device knows, or the cache counts none."""
    ask = getattr(cache, "get_seq_length", None)
    if ask is None:
        return len(cache) if isinstance(cache, (tuple, list)) else None
    try:
        length = ask()
    except (
        Exception
    ):  # a cache of another kind (states, no positions) must not end the user's program
        return None
    if isinstance(length, torch.Tensor):
        return int(length) if length.device.type == "cpu" else None
    return int(length)


def _has_state(cache: Any) -> bool | None:
    """Whether a cache of states, which counts no positions, is filled; None where it does not say."""
    ask = getattr(cache, "has_previous_state", None)
    if not callable(ask):
        return None
    try:
        return bool(ask())
    except Exception:  # of a kind with other methods: as above
        return None
