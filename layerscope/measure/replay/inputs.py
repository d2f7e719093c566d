"""Arguments of a module's call in, what it takes to run the call again out: tensors and their state.

A KV cache grows while `generate()` runs. A dynamic one makes its tensors anew at each call and hangs
them into the same objects: a call is kept as its arguments and a `Frozen` state, which attributes,
items and entries every such object had before the call. Putting them back costs microseconds and
copies nothing. A static one writes into the same tensors and counts its length: its tensors stay the
living ones, since compiled code knows their addresses and the masks hide what later steps wrote, and
its counters are put back. A plain argument that is written in place after the call is another matter;
torch counts such writes, so they are noticed (`written`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from layerscope.private.tensors import copy_all, writes_so_far

# An integer tensor of no more elements that a call changes is a counter, not data.
_COUNTER_ELEMENTS = 8


@dataclass(frozen=True)
class Held:
    """One call of one module, ready to run again.

    Attributes:
        versions: how often each tensor had been written in place when the call began.
        counters: the counters of caches, and what each held before the call.
        state: ids of the tensors that belong to caches.
        copied: the arguments are copies, because the model writes to the originals after the call.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    frozen: Frozen
    versions: tuple[tuple[torch.Tensor, int], ...]
    counters: tuple[list[torch.Tensor], list[torch.Tensor]]
    state: frozenset[int]
    copied: bool = False

    def restore(self) -> None:
        """Put caches back to where the call found them."""
        self.frozen.restore()
        put_back(self.counters)

    def written(self) -> tuple[torch.Tensor, ...]:
        """The plain arguments that were written in place since."""
        return tuple(
            tensor
            for tensor, version in self.versions
            if writes_so_far(tensor) != version and id(tensor) not in self.state
        )


def hold(args: tuple[Any, ...], kwargs: Mapping[str, Any], *, copy: bool) -> Held:
    """Keep a call's arguments as they are now; with `copy`, plain tensors are copied first."""
    if copy:
        args, kwargs = _copied((args, dict(kwargs)), {})
    tree = (args, dict(kwargs))
    inside = [item for item in _walk(tree) if _is_stateful(item) and not isinstance(item, dict)]
    state = [t for item in inside for t in tensors_of(item.__dict__)]
    counting = list({id(t): t for t in state if is_counter(t)}.values())
    return Held(
        args=args,
        kwargs=kwargs,
        frozen=Frozen(tree),
        versions=tuple((tensor, writes_so_far(tensor)) for tensor in tensors_of(tree)),
        counters=(counting, [tensor.clone() for tensor in counting]),
        state=frozenset(map(id, state)),
        copied=copy,
    )


def is_counter(tensor: torch.Tensor) -> bool:
    """Whether a tensor that a call changes may be a counter."""
    return not tensor.is_floating_point() and tensor.numel() <= _COUNTER_ELEMENTS


def put_back(counters: tuple[list[torch.Tensor], list[torch.Tensor]]) -> None:
    """Write into each of the first tensors what the second holds."""
    living, values = counters
    if living:
        copy_all(living, values)


class Frozen:
    """The state of every mutable object below some arguments; tensors by reference."""

    def __init__(self, tree: Any) -> None:
        self._objects: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._dicts: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
        for item in _walk(tree):
            if type(item) is list:
                self._lists.append((item, list(item)))
            elif type(item) is dict:
                self._dicts.append((item, dict(item)))
            elif _is_stateful(item) and not isinstance(item, dict):
                self._objects.append((item.__dict__, dict(item.__dict__)))

    def restore(self) -> None:
        """Put every attribute, item and entry back."""
        for living, before in self._objects:
            living.clear()
            living.update(before)
        for items, kept in self._lists:
            items[:] = kept
        for entries, saved in self._dicts:
            entries.clear()
            entries.update(saved)


def tensors_of(tree: Any) -> Iterator[torch.Tensor]:
    """Every tensor below, once."""
    return (item for item in _walk(tree) if isinstance(item, torch.Tensor))


def storage_bytes(tensors: Iterable[torch.Tensor], known: set[int]) -> int:
    """Bytes of the storages that are not in `known`, which learns them."""
    total = 0
    for tensor in tensors:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            total += storage.nbytes()
    return total


def _is_stateful(item: Any) -> bool:
    """Caches and outputs of transformers, and what was derived from them; modules, configurations and
    functions are no state."""
    kinds = (kind.__module__.partition(".")[0] for kind in type(item).__mro__)
    return (hasattr(item, "layers") or "transformers" in kinds) and _descends(item)


def _descends(item: Any) -> bool:
    return (
        hasattr(item, "__dict__")
        and not isinstance(item, (torch.nn.Module, torch.Tensor, type))
        and not callable(item)
        and not hasattr(item, "to_diff_dict")  # a configuration
    )


def _walk(tree: Any) -> Iterator[Any]:
    """Every object below, depth first, each once."""
    seen: set[int] = set()
    pending = [tree]
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, torch.Tensor):
            continue
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        if _is_stateful(item):
            pending.extend(item.__dict__.values())


def _copied(tree: Any, memo: dict[int, Any]) -> Any:
    """The same tree with tensors copied, shared ones once; caches stay the living ones."""
    if id(tree) in memo:
        return memo[id(tree)]
    made: Any = tree
    if isinstance(tree, torch.Tensor):
        made = tree.clone()
    elif isinstance(tree, tuple):
        items = [_copied(item, memo) for item in tree]
        made = type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    elif isinstance(tree, list):
        made = memo[id(tree)] = []
        made.extend(_copied(item, memo) for item in tree)
    elif type(tree) is dict:
        made = memo[id(tree)] = {}
        made.update({key: _copied(value, memo) for key, value in tree.items()})
    elif isinstance(tree, dict) and hasattr(tree, "to_tuple"):  # an output of transformers
        made = type(tree)(**{key: _copied(value, memo) for key, value in tree.items()})
    memo[id(tree)] = made
    return made
