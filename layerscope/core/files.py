"""The files that layerscope writes and reads back: their names, and the JSON in them.

A file takes its name when it is whole; `core.whole_file` sees to that. `core.folder_file` reads it back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from layerscope.core.errors import DataError
from layerscope.core.whole_file import whole_file

T = TypeVar("T")

# A run's folder.
RUN_FILE = "run.json"
TRACE_FILE = "trace.json.gz"
LAYERS_FILE = "layers.csv"
LAYERS_PARQUET_FILE = "layers.parquet"
KERNELS_FILE = "kernels.csv"
OPERATORS_FILE = "operators.csv"
STEPS_FILE = "steps.csv"
ATTENTION_FILE = "attention.csv"
WORK_FILE = "work.json"
PROVENANCE_FILE = "provenance.json"
FINDINGS_FILE = "findings.json"
PREDICTIONS_FILE = "predictions.csv"
POWER_FILE = "power.csv"
REPLAY_FILE = "replay.json"
LAYER_ENERGY_FILE = "layer_energy.csv"
KINDS_FILE = "kinds.csv"
MEMORY_FILE = "memory.csv"
FIGURES_FOLDER = "figures"  # of a run, and of a sweep
# Role, under which `run.json` lists a file -> its name. Figures and TensorBoard's events, whose names
# depend on the run, have roles of their own.
RUN_FILES = {
    "record": RUN_FILE,
    "trace": TRACE_FILE,
    "layers": LAYERS_FILE,
    "layers_parquet": LAYERS_PARQUET_FILE,
    "kernels": KERNELS_FILE,
    "operators": OPERATORS_FILE,
    "steps": STEPS_FILE,
    "attention": ATTENTION_FILE,
    "work": WORK_FILE,
    "provenance": PROVENANCE_FILE,
    "findings": FINDINGS_FILE,
    "predictions": PREDICTIONS_FILE,
    "power": POWER_FILE,
    "replay": REPLAY_FILE,
    "layer_energy": LAYER_ENERGY_FILE,
    "kinds": KINDS_FILE,
    "memory": MEMORY_FILE,
}


def further_trace_file(number: int) -> str:
    """The name of a further trace of the batch; the first, `TRACE_FILE`, is number 1."""
    return f"trace-{number}.json.gz"


# A sweep's folder.
PLAN_FILE = "sweep.json"
PLACES_FILE = "nodes.json"
LOCK_FILE = "sweep.lock"
CELLS_FOLDER = "cells"
FAILED_FOLDER = "failed"
SWEEP_TABLE_FILE = "sweep.csv"
SWEEP_PARQUET_FILE = "sweep.parquet"
SWEEP_LAYERS_FILE = "sweep_layers.csv"
SWEEP_GROUPS_FILE = "sweep_groups.csv"
SWEEP_PAGE_FILE = "sweep.md"
SWEEP_REFERENCE_FILE = "sweep_reference.csv"

# A reproduction's folder.
PINS_FILE = "pins.json"
CHECKS_FILE = "checks.csv"
BUNDLE_FILE = "reproduction.zip"
BUNDLE_PAGE_FILE = "README.md"

# What decoding JSON raises where the text is damaged: cut off, of another form, no UTF-8, or nested
# beyond what the interpreter's stack holds.
DAMAGED = (msgspec.DecodeError, ValueError, RecursionError)


def json_text(value: object) -> str:
    """A value as indented JSON, so that a person can read it and a diff stays small."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def write_json(path: Path, value: object, *, indented: bool = True) -> None:
    """Write a value as JSON with a line end.

    Args:
        indented: False for what only programs read, which may be large.

    Raises:
        OSError: the file cannot be written; what was there before is there still.
    """
    data = json_text(value).encode() if indented else msgspec.json.encode(value)
    with whole_file(path) as partial:
        partial.write_bytes(data + b"\n")


def parse_json(data: bytes, path: Path, form: type[T], what: str) -> T:
    """The value in the text of a file that was read already; see `core.folder_file.read_json`.

    Raises:
        DataError: the text does not hold that.
    """
    try:
        return msgspec.json.decode(data, type=form)
    except DAMAGED as error:
        raise DataError(f"{path}: not {what} ({error}).") from None
