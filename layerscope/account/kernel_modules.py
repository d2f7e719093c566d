"""Kernels that say their module in, the layer of each out.

Newer versions of torch can note the module of each node of a CUDA graph while it is captured, and write
it to the replayed kernels as an argument `module_fqn` (a name; several where a kernel is fused). It is
taken where nothing surer says whose a kernel is: for replays and compiled code without provenance, for
those of which only the place was compared, and in a trace without ranges of layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from layerscope.account.compiled_code import UNKNOWN, Placed
from layerscope.core.frame_names import relative_fqn
from layerscope.core.vocabulary import BUCKETS
from layerscope.trace.columns import ABSENT, LAUNCH_KINDS, MODULES_BETWEEN, TraceColumns
from layerscope.trace.tree import NONE

Key = tuple[str, str]  # (layer, phase)
_UNSURE = ("", "graph~", "fused+graph~", UNKNOWN)
_GRAPH = LAUNCH_KINDS.index("graph")


def says_modules(columns: TraceColumns) -> bool:
    """Whether any kernel says its module."""
    return bool((columns.device.module != ABSENT).any())


@dataclass(frozen=True)
class Unasked:
    """Where device events belong before the kernels themselves are asked; one entry an event.

    Attributes:
        launch: as an index; `NONE` without one.
        keys: by the launch alone.
        placed: where compiled code puts it; None where that explains nothing.
    """

    launch: Sequence[int]
    keys: Sequence[Key]
    placed: Sequence[Placed | None]


def with_modules(
    columns: TraceColumns, before: Unasked, fqns: Collection[str], root: str, *, in_ranges: bool
) -> list[Placed | None]:
    """Where each device event belongs, now that kernels were asked.

    Args:
        fqns: the model's modules, if known; a name is matched with them.
        in_ranges: the keys are of ranges of modules, which say as much as a kernel.
    """
    names = _Names(fqns, root)
    kinds = columns.launches.kind.tolist()
    launch, keys, found = before.launch, before.keys, list(before.placed)
    for event, said in enumerate(columns.device.module.tolist()):
        if said == ABSENT:
            continue
        placed = before.placed[event]
        replayed = launch[event] == NONE or kinds[launch[event]] == _GRAPH
        alone = replayed or not in_ranges or keys[event][0] in BUCKETS
        unsure = placed.how in _UNSURE if placed is not None else alone
        layers = names.layers(columns.names[said]) if unsure else []
        if layers:
            found[event] = _placed(layers, keys[event][1], replayed=replayed)
    return found


def _placed(layers: Sequence[str], phase: str, *, replayed: bool) -> Placed:
    weights = Counter((layer, phase) for layer in layers)
    modelled = len(weights) > 1
    via = "graph" if replayed else ""
    how = f"fused+{via}".strip("+") if modelled else via or "exact"
    return Placed(tuple(weights.items()), how, modelled)


class _Names:
    """Matches what kernels say with the names of a model's modules."""

    def __init__(self, fqns: Collection[str], root: str) -> None:
        self._known = frozenset(fqns)
        self._root = root
        self._endings: dict[str, list[str]] = {}
        for fqn in self._known:
            parts = fqn.split(".")
            for at in range(1, len(parts)):
                self._endings.setdefault(".".join(parts[at:]), []).append(fqn)
        self._found: dict[str, list[str]] = {}

    def layers(self, said: str) -> list[str]:
        """The layers that a kernel names; empty where one of them is none of the model's."""
        if said not in self._found:
            layers = [self._layer(name) for name in said.split(MODULES_BETWEEN)]
            known = [layer for layer in layers if layer is not None]
            self._found[said] = known if len(known) == len(layers) else []
        return self._found[said]

    def _layer(self, said: str) -> str | None:
        name = relative_fqn(said)
        if not name or name == self._root:
            return self._root
        if not self._known or name in self._known:
            return name
        # The name of the model in a larger one, or of a part by itself.
        parts = name.split(".")
        for at in range(1, len(parts)):
            if (ending := ".".join(parts[at:])) in self._known:
                return ending
        fitting = self._endings.get(name, [])
        return fitting[0] if len(fitting) == 1 else None
