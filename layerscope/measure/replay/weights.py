"""The calls of one pass in; the same calls over and over with weights of their own, as cold as in the
run, out.

In the run a layer's weights come from memory: between two of its calls the whole model's pass through
the device's last cache. Replayed alone, a small layer would find them in that cache. So as many copies
of it take turns as fill the cache twice, and never more than the model itself would pass through it.
What the layer is given stays the same tensor: the layer before has just written it, in the run too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from math import ceil

import torch

from layerscope.measure.replay.player import Item

# A layer of which more would be needed has so few weights that reading them is no part of its cost.
_MOST_COPIES = 64


def weight_bytes(modules: Iterable[torch.nn.Module]) -> int:
    """Bytes of the parameters and buffers of these modules, shared ones once."""
    sizes: dict[int, int] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())


def last_cache_bytes(device: str) -> int:
    """Size of the device's last cache; 0 where it is not known, as on a CPU."""
    if device != "cuda":
        return 0
    device_index = torch.cuda.current_device()
    return int(torch.cuda.get_device_properties(device_index).L2_cache_size)


def turns_needed(pass_bytes: int, model_bytes: int, cache_bytes: int) -> int:
    """How many sets of weights one pass must alternate between to find none of them in the cache.

    Args:
        pass_bytes: weights of one pass.
        model_bytes: weights of the model, which bound what the run itself passes through the cache.
    """
    if not pass_bytes:
        return 1
    turns = ceil(min(2 * cache_bytes, model_bytes) / pass_bytes)
    return turns if 1 <= turns <= _MOST_COPIES else 1


def in_turn(items: Sequence[Item], turns: int) -> list[Item]:
    """The calls so many times over, each time with copies of the modules; the first are themselves."""
    modules = {id(module): module for module, _ in items}
    found = list(items)
    for _ in range(turns - 1):
        copied = {at: copy.deepcopy(module) for at, module in modules.items()}
        found += [(copied[id(module)], held) for module, held in items]
    return found
