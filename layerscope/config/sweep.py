"""A sweep's YAML file in, a `SweepConfig` out; and a `SweepConfig` in, its cells' settings out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerscope.config.optimize import KEY as OPTIMIZE
from layerscope.config.optimize import in_one_order
from layerscope.config.resolve import check_keys, read_yaml
from layerscope.core.errors import UsageError
from layerscope.core.shipped import find_config, shipped_config, shipped_names
from layerscope.core.words import did_you_mean
from layerscope.published.reference_tables import REFERENCE_DATASETS, reference_tables
from layerscope.records.sweep import Override, ReferenceLink, Setting, SweepConfig

_KEYS = ("name", "base", "grid", "zip", "exclude", "override", "reference")
# A sweep folder holds its own runs, and there is one of them.
_NOT_AN_AXIS = ("out",)
_SHIPPED = "reference"


def find_sweep(given: str) -> Path:
    """A path as it stands, else a shipped sweep: `reference/batch_size`, `tiny/batch_size`, …

    Raises:
        UsageError: neither exists; the message lists the shipped sweeps.
    """
    name = given.removesuffix(".yaml")
    if not Path(given).is_file() and name in shipped_names(_SHIPPED):
        return shipped_config(_SHIPPED, name)
    if not Path(given).is_file() and name not in shipped_names():
        known = ", ".join(f"{_SHIPPED}/{found}" for found in shipped_names(_SHIPPED))
        raise UsageError(f"{given}: no such file, and no shipped sweep of that name ({known}).")
    return find_config(given)


def read_sweep(path: Path) -> SweepConfig:
    """Read and check a sweep's file; values of run fields are checked when cells are resolved.

    Raises:
        UsageError: unreadable, an unknown key (the nearest is named), or a wrong form.
    """
    return sweep_config(read_yaml(path), where=str(path), name=path.stem)


def sweep_config(given: Mapping[str, Any], *, where: str, name: str) -> SweepConfig:
    """A sweep from the mapping its file holds.

    Raises:
        UsageError: as `read_sweep`.
    """
    _check_own_keys(given, where)
    base = _fields(given.get("base"), f"{where}: base")
    grid = _axes(given.get("grid"), f"{where}: grid")
    together = _axes(given.get("zip"), f"{where}: zip")
    lengths = {axis: len(values) for axis, values in together.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{axis} {count}" for axis, count in lengths.items())
        raise UsageError(f"{where}: zip: its lists differ in length ({said}); make them equal.")
    parts: dict[str, dict[str, Any]] = {"base": base, "grid": dict(grid), "zip": dict(together)}
    for one, other in (("base", "grid"), ("base", "zip"), ("grid", "zip")):
        twice = [name for name in parts[one] if name in parts[other]]
        if twice:
            raise UsageError(
                f"{where}: `{twice[0]}` stands in {one} and in {other}; keep it in one."
            )
    return SweepConfig(
        name=_name(given.get("name", name), where),
        base=base,
        grid=grid,
        zip=together,
        exclude=tuple(
            _fields(item, f"{where}: exclude {number}", empty=False)
            for number, item in enumerate(_listed(given.get("exclude"), f"{where}: exclude"), 1)
        ),
        override=tuple(
            _override(item, f"{where}: override {number}")
            for number, item in enumerate(_listed(given.get("override"), f"{where}: override"), 1)
        ),
        reference=_reference(given.get("reference"), f"{where}: reference"),
    )


def settings_of(
    config: SweepConfig, *, where: str
) -> tuple[tuple[dict[str, Setting], dict[str, Setting]], ...]:
    """(axis values, all fields given) of every cell that is not excluded, in the file's order.

    The first axis of `grid` moves slowest; what is zipped moves fastest.

    Raises:
        UsageError: an `exclude` or `override` that matches no cell, which a typing error makes.
    """
    cells: list[tuple[dict[str, Setting], dict[str, Setting]]] = []
    unused = {f"override {n}": o.when for n, o in enumerate(config.override, 1)}
    unused |= {f"exclude {n}": pattern for n, pattern in enumerate(config.exclude, 1)}
    for axes in _combinations(config):
        given = dict(config.base) | axes
        for number, override in enumerate(config.override, 1):
            if matches(given, override.when):
                unused.pop(f"override {number}", None)
                given |= override.set
        excluded = [n for n, pattern in enumerate(config.exclude, 1) if matches(given, pattern)]
        for number in excluded:
            unused.pop(f"exclude {number}", None)
        if not excluded:
            cells.append((axes, given))
    for name, pattern in unused.items():
        raise UsageError(f"{where}: {name} matches no cell: {pattern}.")
    return tuple(cells)


def _combinations(config: SweepConfig) -> Iterator[dict[str, Setting]]:
    rows = list(zip(*config.zip.values(), strict=True)) if config.zip else [()]
    for values in itertools.product(*config.grid.values()):
        for row in rows:
            yield dict(zip(config.grid, values, strict=True)) | dict(
                zip(config.zip, row, strict=True)
            )


def matches(given: Mapping[str, Setting], pattern: Mapping[str, Setting]) -> bool:
    """Whether every field of the pattern has its value in `given`."""
    return all(key in given and given[key] == value for key, value in pattern.items())


def _check_own_keys(given: Mapping[str, Any], where: str) -> None:
    for key in given:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS, f"known keys: {', '.join(_KEYS)}.")
            raise UsageError(f"{where}: unknown key `{key}`; {hint}")


def _name(given: Any, where: str) -> str:
    name = str(given)
    if not name.strip() or "/" in name or name.startswith("."):
        raise UsageError(f"{where}: `name` is {given!r}: a plain word was expected.")
    return name


def _fields(given: Any, where: str, *, empty: bool = True) -> dict[str, Setting]:
    """field -> one value."""
    found = _mapping(given, where)
    if not found and not empty:
        raise UsageError(f"{where}: names no field, so it would match every cell.")
    check_keys(found, where)
    _refuse_own(found, where)
    for key, value in found.items():
        if isinstance(value, (list, dict)):
            raise UsageError(
                f"{where}: `{key}` is {value!r}: one value was expected; lists belong under grid."
            )
    return {key: _value(key, value) for key, value in found.items()}


def _axes(given: Any, where: str) -> dict[str, tuple[Setting, ...]]:
    """field -> its values."""
    found = _mapping(given, where)
    check_keys(found, where)
    _refuse_own(found, where)
    axes: dict[str, tuple[Setting, ...]] = {}
    for key, values in found.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{where}: `{key}` is {values!r}: a list of values was expected.")
        for value in values:
            if isinstance(value, (list, dict)):
                raise UsageError(
                    f"{where}: `{key}` has {value!r} among its values: single ones were expected"
                    + (", such as 'compile,tf32'." if key == OPTIMIZE else ".")
                )
        values = [_value(key, value) for value in values]
        if len({repr(value) for value in values}) < len(values) and where.endswith("grid"):
            raise UsageError(f"{where}: `{key}` names a value twice: {values!r}.")
        axes[key] = tuple(values)
    return axes


def _value(key: str, value: Any) -> Any:
    """The order in which optimizations are named makes no other cell."""
    return in_one_order(value) if key == OPTIMIZE else value


def _refuse_own(given: Mapping[str, Any], where: str) -> None:
    for key in _NOT_AN_AXIS:
        if key in given:
            raise UsageError(f"{where}: `{key}` is the sweep's own; give --out to the command.")


def _override(given: Any, where: str) -> Override:
    found = _mapping(given, where)
    if set(found) != {"when", "set"}:
        raise UsageError(f"{where}: the two keys `when` and `set` were expected.")
    return Override(
        when=_fields(found["when"], f"{where}: when"), set=_fields(found["set"], f"{where}: set")
    )


def _reference(given: Any, where: str) -> ReferenceLink | None:
    if given is None:
        return None
    found = {"table": given} if isinstance(given, str) else _mapping(given, where)
    if "table" not in found or set(found) - {"table", "dataset"}:
        raise UsageError(f"{where}: `table`, and where needed `dataset`, were expected.")
    known = [name for name, table in reference_tables().items() if "rows" in table]
    table, dataset = str(found["table"]), found.get("dataset")
    for said, names in ((table, known), (dataset, (None, *REFERENCE_DATASETS))):
        if said not in names:
            shown = ", ".join(str(name) for name in names if name)
            raise UsageError(f"{where}: {said} is not published; there are {shown}.")
    return ReferenceLink(table=table, dataset=dataset)


def _mapping(given: Any, where: str) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UsageError(f"{where}: a mapping of field: value was expected.")
    return dict(given)


def _listed(given: Any, where: str) -> Sequence[Any]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise UsageError(f"{where}: a list was expected.")
    return given
