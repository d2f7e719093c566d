"""Arguments of a module's call in, what it takes to run the call again out: tensors and their state.

A KV cache grows while `generate()` runs: each call of a layer makes its cache's tensors anew and
hangs them into the same objects. A call is therefore kept as its arguments and a `Frozen` state: which
attributes, items and entries every cache object had before the call. Putting them back costs
microseconds and copies nothing. A tensor that is written in place is another matter; torch counts
such writes, so they are noticed (`written`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Held:
    """One call of one module, ready to run again.

    Attributes:
        versions: how often each tensor had been written in place when the call began.
        copied: the tensors are copies, because the model writes to the originals after the call.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    frozen: Frozen
    versions: tuple[tuple[torch.Tensor, int], ...]
    copied: bool = False

    def written(self) -> tuple[torch.Tensor, ...]:
        """The tensors that were written in place since."""
        return tuple(tensor for tensor, version in self.versions if tensor._version != version)


def hold(args: tuple[Any, ...], kwargs: Mapping[str, Any], *, copy: bool) -> Held:
    """Keep a call's arguments as they are now; with `copy`, its tensors are copied first."""
    if copy:
        args, kwargs = _copied((args, dict(kwargs)), {})
    tree = (args, dict(kwargs))
    return Held(
        args=args,
        kwargs=kwargs,
        frozen=Frozen(tree),
        versions=tuple((tensor, tensor._version) for tensor in tensors_of(tree)),
        copied=copy,
    )


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
    """Caches and outputs of transformers; modules, configurations and functions are no state."""
    return (
        type(item).__module__.partition(".")[0] == "transformers" or hasattr(item, "layers")
    ) and _descends(item)


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
    """The same tree with tensors and stateful objects copied, shared ones once."""
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
    elif _is_stateful(tree) and not isinstance(tree, dict):
        made = memo[id(tree)] = object.__new__(type(tree))
        made.__dict__.update({k: _copied(v, memo) for k, v in tree.__dict__.items()})
    memo[id(tree)] = made
    return made
