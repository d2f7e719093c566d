"""The layers of a model in, the kind of each out: blocks of a stack that are built alike have one name.

A kind is the FQN with `*` for a number. Numbered siblings are alike when they have one class and equal
parameter shapes, and so have the layers that both hold under one name; what only one of them holds does
not part them: T5's first block alone has a table of position biases and is still one of 24.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

ANY = "*"
# A list of numbers is cut after this many; the first of them already tells it from the others.
_MOST_NUMBERS = 4
# No model is as deep; a name of a strange trace may be, and keeps its numbers.
_DEEPEST = 64


class Layer(NamedTuple):
    """One layer by its FQN.

    Attributes:
        cls: its class; "" where nobody knows it.
        shapes: of its own parameters, in any form that is equal where they are; None: not known.
    """

    fqn: str
    cls: str = ""
    shapes: str | None = None


def kinds_of(layers: Iterable[Layer]) -> dict[str, str]:
    """FQN -> kind, of the layers given.

    Where numbered siblings of one stack fall into several groups, each has its numbers instead of
    `*`: `layers.0-2.mlp` and `layers.3-60.mlp`. A number that stands alone is written as it is.

    Where classes are not known, as in a trace without a list of modules, siblings are alike when they
    hold layers of the same names (one may hold more), and at least one: leaves then stay apart.
    """
    root = _Node()
    kinds: dict[str, str] = {}
    for layer in layers:
        names = layer.fqn.split(".")
        if len(names) > _DEEPEST:
            kinds[layer.fqn] = layer.fqn
            continue
        node = root
        for name in names:
            node = node.below.setdefault(name, _Node())
        node.layer = layer
    _name([_Place(root, ())], (), kinds)
    return kinds


@dataclass(slots=True)
class _Node:
    layer: Layer | None = None
    below: dict[str, _Node] = field(default_factory=dict)


class _Place(NamedTuple):
    """A node and the numbers on the way to it, one for each number in its FQN."""

    node: _Node
    numbers: tuple[str, ...]


# Of every layer in a subtree, by its name from there: class, shapes, names directly below.
_Seen = dict[str, tuple[str, str | None, frozenset[str]]]


class _Number(NamedTuple):
    """Stands for a number in a path: what it is written as where several are meant."""

    text: str


def _name(alike: Sequence[_Place], path: tuple[str | _Number, ...], kinds: dict[str, str]) -> None:
    """Name these nodes, which are of one kind, and what lies below them."""
    if any(place.node.layer for place in alike):
        kind = _written(path, [place.numbers for place in alike])
        for place in alike:
            if place.node.layer is not None:
                kinds[place.node.layer.fqn] = kind
    numbered: dict[str, list[_Place]] = {}
    for name in dict.fromkeys(name for place in alike for name in place.node.below):
        is_number = name.isdecimal()
        below = [
            _Place(p.node.below[name], (*p.numbers, name) if is_number else p.numbers)
            for p in alike
            if name in p.node.below
        ]
        if is_number:
            numbered[name] = below
        else:
            _name(below, (*path, name), kinds)
    if not numbered:
        return
    groups = _groups(numbered)
    several = sum(len(group) > 1 for group in groups) > 1
    for group in groups:
        text = _listed(group) if several else ANY
        _name([p for name in group for p in numbered[name]], (*path, _Number(text)), kinds)


def _written(path: Sequence[str | _Number], numbers: Sequence[tuple[str, ...]]) -> str:
    """The path, a number in it as itself where all these layers have that one."""
    met, words = iter(zip(*numbers, strict=True)), []
    for part in path:
        if isinstance(part, _Number):
            found = set(next(met))
            words.append(part.text if len(found) > 1 else found.pop())
        else:
            words.append(part)
    return ".".join(words)


def _groups(numbered: dict[str, list[_Place]]) -> list[list[str]]:
    """The numbers, those together whose subtrees are alike, each joining the first group it fits."""
    groups: list[tuple[list[str], _Seen]] = []
    for name, places in numbered.items():
        mine: _Seen = {}
        for place in places:
            _add(mine, _seen(place.node))
        for members, theirs in groups:
            if _are_alike(theirs, mine):
                members.append(name)
                _add(theirs, mine)
                break
        else:
            groups.append(([name], mine))
    return [members for members, _ in groups]


def _seen(node: _Node) -> _Seen:
    found: _Seen = {}
    pending = [("", node)]
    while pending:
        name, at = pending.pop()
        cls, shapes = (at.layer.cls, at.layer.shapes) if at.layer is not None else ("", None)
        found[name] = (cls, shapes, frozenset(at.below))
        pending.extend((f"{name}.{below}", child) for below, child in at.below.items())
    return found


def _add(to: _Seen, more: _Seen) -> None:
    for name, (cls, shapes, below) in more.items():
        known = to.get(name)
        if known is None:
            to[name] = (cls, shapes, below)
        else:
            to[name] = (known[0] or cls, known[1] if shapes is None else shapes, known[2] | below)


def _are_alike(one: _Seen, other: _Seen) -> bool:
    for name, (cls, shapes, below) in other.items():
        known = one.get(name)
        if known is None:
            continue
        if cls and known[0]:
            if cls != known[0] or not (shapes is None or known[1] is None or shapes == known[1]):
                return False
        elif not (below <= known[2] or known[2] <= below) or (not name and not (below & known[2])):
            return False
    return True


def _listed(numbers: Sequence[str]) -> str:
    """`0-2+5`: runs of neighbours, the middle left out where there are many."""
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    if len(texts) > _MOST_NUMBERS:
        texts = [*texts[:2], "…", texts[-1]]
    return "+".join(texts)
