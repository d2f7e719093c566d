"""What the user has on disk in, the five sweeps' files on that model and those data out.

The files stay as they ship: only the model, the data, the device and the samples are put in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from layerscope.config.sweep import find_sweep, read_sweep, settings_of
from layerscope.core.errors import DataError, UsageError
from layerscope.records.sweep import Override, Setting, SweepConfig
from layerscope.reproduce.pins import Pins
from layerscope.workload.data.layouts import LAYOUTS

Variant = Literal["reference", "random", "tiny"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Where:
    """What replaces the hub and the GPU of the published tables; None leaves a file's own choice."""

    model: str | None = None
    processor: str | None = None
    data_dir: Path | None = None
    device: str | None = None
    samples: int | None = None


def table_config(variant: Variant, table: str) -> SweepConfig:
    """The shipped sweep of one table."""
    return read_sweep(find_sweep(f"{variant}/{table}"))


def datasets_of(configs: Mapping[str, SweepConfig]) -> tuple[str, ...]:
    """The public data sets that these sweeps read, each once."""
    found = {
        str(given["dataset"]): None
        for config in configs.values()
        for _, given in settings_of(config, where=config.name)
        if given.get("dataset") in LAYOUTS
    }
    return tuple(found)


def data_folders(root: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Data set -> its folder below `root`: its own name, or that of its repository on the hub.

    Raises:
        DataError: a data set has none; the message names all that are missing.
    """
    found = {}
    missing = []
    for name in names:
        repo = LAYOUTS[name].repo
        tried = (root / name, root / repo, root / repo.rpartition("/")[2])
        folder = next((path for path in tried if path.is_dir()), None)
        if folder is None:
            missing.append(f"{name} (or {repo})")
        else:
            found[name] = folder
    if missing:
        raise DataError(
            f"--data-dir {root}: no folder {', '.join(missing)} in it; put each data set's Parquet "
            "files into a folder of that name."
        )
    return found


def placed(
    config: SweepConfig, where: Where, pins: Pins, folders: Mapping[str, Path]
) -> SweepConfig:
    """The sweep on the user's model, data and device, everything from the hub at its pinned commit.

    Raises:
        UsageError: fewer samples than a batch holds.
    """
    base: dict[str, Setting] = dict(config.base)
    for field in ("model", "processor", "samples"):
        value = getattr(where, field)
        if value is not None:
            base[field] = value
    if pins.model_commit is not None:
        base["revision"] = pins.model_commit
    if where.device is not None and "device" not in config.axes:
        base["device"] = where.device
        # The published rows are fp16 on a GPU; a CPU multiplies fp32.
        base["dtype"] = "fp16" if where.device == "cuda" else "fp32"
    _check_samples(config, base)
    used = datasets_of({config.name: config})
    set_by = {name: _data_fields(name, pins, folders) for name in used}
    overrides = tuple(
        Override(when={"dataset": name}, set=fields) for name, fields in set_by.items() if fields
    )
    return dataclasses.replace(config, base=base, override=(*config.override, *overrides))


def _data_fields(name: str, pins: Pins, folders: Mapping[str, Path]) -> dict[str, Setting]:
    if name in folders:
        return {"data_dir": str(folders[name])}
    return {"data_revision": pins.datasets[name]} if name in pins.datasets else {}


def _check_samples(config: SweepConfig, base: Mapping[str, Any]) -> None:
    largest = max(
        int(given.get("batch_size") or 1) for _, given in settings_of(config, where=config.name)
    )
    samples = base.get("samples")
    if isinstance(samples, int) and samples < largest:
        raise UsageError(
            f"--samples {samples}: a batch of the published tables holds {largest}; give "
            f"{largest} or more."
        )
