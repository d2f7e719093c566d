"""A `SweepConfig` in, its cells out: resolved, named by their content, grouped by what is loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from layerscope.config.optimize import KEY, beside_fields
from layerscope.config.resolve import resolve
from layerscope.config.sweep import settings_of
from layerscope.core.errors import UsageError
from layerscope.core.remedy import canonical
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell, SweepConfig, plain

# Where runs are written says nothing about them.
_NOT_PART = frozenset({"out"})
# Fields that change what is loaded; `seed` does too where the weights are drawn.
_LOADED_BY = (
    "model",
    "weights",
    "revision",
    "processor",
    "device",
    "dtype",
    "dtype_layout",
    "attention",
    "optimization",  # a compiled or captured model is not the one that was loaded
)

LoadKey = tuple[object, ...]


def plan(config: SweepConfig, *, cuda: bool, where: str, out: str) -> tuple[Cell, ...]:
    """The cells of a sweep, in the file's order; two that resolve to the same run are one.

    Raises:
        UsageError: a value that no run can take, named with its cell; or no cell at all.
    """
    cells: dict[str, Cell] = {}
    for axes, given in settings_of(config, where=where):
        said = ", ".join(f"{axis}={value}" for axis, value in axes.items())
        resolved = resolve(given | {"out": out}, cuda=cuda, where=f"{where}: cell {said or 'base'}")
        cell_id = id_of(resolved.config)
        cells.setdefault(
            cell_id,
            Cell(
                id=cell_id,
                settings=axes,
                config=resolved.config,
                choices=tuple(resolved.choices),
                given=tuple(sorted(resolved.given)),
            ),
        )
    if not cells:
        raise UsageError(f"{where}: every cell is excluded, so there is nothing to run.")
    return tuple(cells.values())


def id_of(config: RunConfig) -> str:
    """Twelve hexadecimal digits that name what a run does, whatever its folder and its order.

    Fields at their default are left out, so a field that a later version adds changes no id; so are the
    optimizations that other fields say.
    """
    said = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(RunConfig)
        if field.name not in _NOT_PART and getattr(config, field.name) != field.default
    }
    said.pop(KEY, None)
    if beside := beside_fields(config):
        said[KEY] = canonical(beside)
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_key(config: RunConfig) -> LoadKey:
    """Runs with equal keys can share one loaded model."""
    seed = config.seed if config.weights == "random" else None
    return (*(getattr(config, name) for name in _LOADED_BY), *beside_fields(config), seed)


def by_model(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells in an order that loads each model once: groups by first appearance, stable."""
    first: dict[LoadKey, int] = {}
    for index, cell in enumerate(cells):
        first.setdefault(load_key(cell.config), index)
    return tuple(sorted(cells, key=lambda cell: first[load_key(cell.config)]))


def same_run(one: RunConfig, other: RunConfig) -> bool:
    """Whether two configurations ask for the same run.

    A run on untrained weights records the forced minimum of new tokens, which its plan left open.
    """
    left, right = plain(one), plain(other)
    left.pop("out"), right.pop("out")
    for side in (left, right):
        if side["min_new_tokens"] == side["max_new_tokens"]:
            side["min_new_tokens"] = 0
    return left == right
