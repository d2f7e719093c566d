"""A model and a random source in, the same model with delays in random layers out, until removed."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

Call = Callable[[torch.nn.Module], object]


@dataclass(frozen=True)
class Plant:
    """A place where a delay is executed: before a module computes, or behind it.

    Attributes:
        layers: FQNs of the modules that execute it, in the order in which a call of the model runs
            them; "" is the model itself. Several share a number where one compiled graph serves them.
    """

    number: int
    layers: tuple[str, ...]
    before: bool


def called_layers(model: torch.nn.Module, call: Call, most: int = 8) -> dict[str, int]:
    """FQN -> calls of the modules that `call` calls with a tensor, at most so often."""
    names = {id(module): fqn for fqn, module in model.named_modules()}
    seen: Counter[str] = Counter()

    def count(module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        fqn = names.get(id(module))
        if fqn is not None and _place(args, kwargs) is not None and _tensor(output) is not None:
            seen[fqn] += 1

    handles = [m.register_forward_hook(count, with_kwargs=True) for m in model.modules()]
    try:
        call(model)
    finally:
        for handle in handles:
            handle.remove()
    return {fqn: calls for fqn, calls in seen.items() if calls <= most}


def choose(
    source: random.Random, layers: Sequence[str], count: int, *, first: int = 0
) -> tuple[Plant, ...]:
    """Random plants in random layers, up to three in one; every second layer holds others."""
    inner = [x for x in layers if any(_inside(other, x) for other in layers)]
    leaves = [x for x in layers if x not in inner]
    source.shuffle(inner)
    source.shuffle(leaves)
    plants: list[Plant] = []
    pools = [pool for pool in (leaves, inner) if pool]
    while len(plants) < count and any(pools):
        pool = pools[len(plants) % len(pools)] or max(pools, key=len)
        layer = pool.pop()
        for _ in range(min(source.choice((1, 1, 1, 2, 3)), count - len(plants))):
            plants.append(Plant(first + len(plants), (layer,), source.random() < 0.5))
    return tuple(plants)


def _inside(layer: str, other: str) -> bool:
    return layer != other and (not other or layer.startswith(f"{other}."))


@contextmanager
def planted(
    model: torch.nn.Module, plants: Sequence[Plant], *, wrap: bool = False
) -> Iterator[None]:
    """Inside it the model's modules execute their delays, inside their `forward`.

    Args:
        wrap: replace `forward` on the instance, as adapters and offloading do; else give the module
            a class of its own.
    """
    modules = dict(model.named_modules())
    at: dict[str, list[Plant]] = {}
    for plant in plants:
        for layer in plant.layers:
            at.setdefault(layer, []).append(plant)
    undo: list[Callable[[], None]] = []
    try:
        for layer, mine in at.items():
            before = tuple(p.number for p in mine if p.before)
            behind = tuple(p.number for p in mine if not p.before)
            undo.append((_wrap if wrap else _subclass)(modules[layer], before, behind))
        yield
    finally:
        for back in reversed(undo):
            back()


def _subclass(
    module: torch.nn.Module, before: tuple[int, ...], behind: tuple[int, ...]
) -> Callable[[], None]:
    cls = type(module)
    forward = cls.forward

    @functools.wraps(forward)
    def delayed(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _delay_before(self.delays_before, args, kwargs)
        output = forward(self, *args, **kwargs)
        _delay_behind(self.delays_behind, output)
        return output

    namespace = {"forward": delayed, "__module__": cls.__module__}
    module.__class__ = type(cls.__name__, (cls,), namespace)
    module.delays_before, module.delays_behind = before, behind  # type: ignore[assignment]

    def back() -> None:
        module.__class__ = cls
        del module.delays_before, module.delays_behind

    return back


def _wrap(
    module: torch.nn.Module, before: tuple[int, ...], behind: tuple[int, ...]
) -> Callable[[], None]:
    forward = module.forward

    @functools.wraps(forward)
    def delayed(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = _delay_before(before, args, kwargs)
        output = forward(*args, **kwargs)
        _delay_behind(behind, output)
        return output

    module.forward = delayed

    def back() -> None:
        del module.__dict__["forward"]

    return back


def _delay_before(
    numbers: tuple[int, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for number in numbers:
        place = _place(args, kwargs)
        if isinstance(place, int):
            new = torch.ops.planted.delay(args[place], number)
            args = (*args[:place], new, *args[place + 1 :])
        elif place is not None:
            kwargs = kwargs | {place: torch.ops.planted.delay(kwargs[place], number)}
    return args, kwargs


def _delay_behind(numbers: tuple[int, ...], output: Any) -> None:
    for number in numbers:
        tensor = _tensor(output)
        if tensor is not None:
            torch.ops.planted.delay_(tensor, number)


def _place(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str | None:
    """Where the first tensor among the arguments is."""
    for index, value in enumerate(args):
        if isinstance(value, torch.Tensor):
            return index
    for name, value in kwargs.items():
        if isinstance(value, torch.Tensor):
            return name
    return None


def _tensor(output: Any) -> torch.Tensor | None:
    """The first tensor of a module's output."""
    if isinstance(output, torch.Tensor):
        return output
    values = output.values() if isinstance(output, dict) else output
    if isinstance(output, (tuple, list, dict)):
        for value in values:
            if isinstance(value, torch.Tensor):
                return value
    return None
