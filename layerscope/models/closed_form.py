"""`ClosedForm`: a family's FLOPs from its sizes alone, as its file declares them; and its arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerscope.core.errors import ModelError

Key = tuple[str, str]  # (layer, phase)


@dataclass(frozen=True, kw_only=True)
class FormFlops:
    """What a closed form gives for one run.

    Attributes:
        parts: part of the model -> FLOPs; together all there are.
        rows: what to call it -> (layer, phase) and the FLOPs of that row alone, contained in a part.
    """

    parts: Mapping[str, int]
    rows: Mapping[str, tuple[Key, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClosedForm:
    """FLOPs written from an architecture, which can contradict the counters.

    Attributes:
        of: whose FLOPs they are, as people write it.
        parts: FQNs of the modules whose inputs tell the shapes of a run.
        flops: a model, the first call of each of these by FQN (with `args` and `kwargs`), and the
            decoder steps in, the FLOPs out; raises ModelError for a model that it is not written for.
    """

    of: str
    parts: tuple[str, ...]
    flops: Callable[[Any, Mapping[str, Any], int], FormFlops]


def product(rows: int, inner: int, columns: int) -> int:
    """FLOPs of a (rows, inner) by (inner, columns) matrix product."""
    return 2 * rows * inner * columns


def attention(queries: int, keys: int, width: int) -> int:
    """FLOPs of scores and of the weighted sum, all heads together `width` wide."""
    return 2 * product(queries, width, keys)


def shape_of(calls: Mapping[str, Any], fqn: str, *names: str) -> Sequence[int]:
    """The shape of what a part was first called with, under one of these names or as the first.

    Raises:
        ModelError: it was not called, or not with these.
    """
    found = given_to(calls, fqn, *names)
    shape: Sequence[int] = tuple(found.shape)
    return shape


def given_to(calls: Mapping[str, Any], fqn: str, *names: str) -> Any:
    """What a part was first called with, under one of these names or as the first.

    Raises:
        ModelError: it was not called, or not with these.
    """
    call = calls.get(fqn)
    if call is None:
        raise ModelError(f"closed form: {fqn} was not seen in the run.")
    for name in names:
        if call.kwargs.get(name) is not None:
            return call.kwargs[name]
    if call.args and call.args[0] is not None:
        return call.args[0]
    raise ModelError(f"closed form: {fqn} was called without {' or '.join(names)}.")
