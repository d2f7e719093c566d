"""`ClosedForm`: a family's FLOPs from its sizes alone, as its file declares them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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
