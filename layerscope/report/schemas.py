"""The types of what layerscope writes in, a JSON Schema of each format out.

They stand in `docs/schemas` and, in an installed layerscope, in the folder `schemas` of the package. A
file of an older version of a format fits the newest schema: what was added since has a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from layerscope.core.files import json_text
from layerscope.records import RunRecord
from layerscope.records import comparison as comparison_format
from layerscope.records import run_record as run_format
from layerscope.records.comparison import Comparison, Outcome
from layerscope.records.quality import PredictionScore
from layerscope.records.sweep import SweepFile
from layerscope.report import findings as findings_format

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True)
class ComparisonFile(Comparison):
    """What `layerscope compare --json` prints.

    Each of `layers` and its rows also holds what follows from its own values: `change_ns`,
    `unexplained_ns`, `status`.
    """

    schema_version: int
    conditions: tuple[Outcome, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format: the type that a file of it is decoded to, its version and what it is, in words."""

    type: type
    version: int
    what: str


FORMATS = {
    "run": Format(RunRecord, run_format.SCHEMA_VERSION, "run.json of a run's folder"),
    "findings": Format(
        findings_format.FindingsFile,
        findings_format.SCHEMA_VERSION,
        "findings.json of a run's folder",
    ),
    "comparison": Format(
        ComparisonFile, comparison_format.SCHEMA_VERSION, "what `layerscope compare --json` prints"
    ),
    "sweep": Format(SweepFile, 1, "sweep.json of a sweep's folder"),
    "predictions": Format(
        PredictionScore,
        1,
        "one line of predictions.csv of a run's folder, its cells as JSON and blank ones as null",
    ),
}


def schema_name(name: str) -> str:
    """The file of a format's schema: `run-2.schema.json`."""
    return f"{name}-{FORMATS[name].version}.schema.json"


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of a format.

    Raises:
        KeyError: no such format.
    """
    form = FORMATS[name]
    head = {
        "$schema": _DIALECT,
        "$id": f"layerscope:{name}:{form.version}",
        "title": f"layerscope, version {form.version}: {form.what}",
    }
    return head | msgspec.json.schema(form.type)


def schema_text(name: str) -> str:
    """The same as the text of its file."""
    return json_text(schema_of(name)) + "\n"
