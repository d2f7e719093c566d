"""The JSON Schema of each format: made of the types, in the docs, and what every committed file fits."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from layerscope.cli.main import cli
from layerscope.config.plan import plan
from layerscope.config.sweep import find_sweep, read_sweep
from layerscope.records import load
from layerscope.records.sweep import SweepFile
from layerscope.report.schemas import FORMATS, schema_name, schema_of, schema_text

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
SAMPLE = ROOT / "traces" / "sample-tiny-b2"
PLACES = (ROOT / "traces", ROOT / "docs" / "results")


def committed(name: str) -> list[Path]:
    return sorted(path for place in PLACES for path in place.rglob(name))


RUNS = [*committed("run.json"), *committed("repeats/xl-*.json")]


def problems(name: str, value: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of(name))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)][:3]


@pytest.mark.parametrize("name", FORMATS)
def test_the_schema_in_the_docs_is_that_of_the_types(
    name: str, request: pytest.FixtureRequest
) -> None:
    """`pytest tests/integration/test_schemas.py --update-golden` writes them anew."""
    path = SCHEMAS / schema_name(name)
    if request.config.getoption("--update-golden"):
        path.write_text(schema_text(name), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == schema_text(name)
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


def test_every_schema_is_linked_and_packed() -> None:
    page = (SCHEMAS / "README.md").read_text(encoding="utf-8")
    for path in SCHEMAS.glob("*.json"):
        assert f"]({path.name})" in page
    assert '"docs/schemas" = "layerscope/schemas"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_committed_run_fits(path: Path) -> None:
    assert problems("run", json.loads(path.read_text(encoding="utf-8"))) == []
    load(path)


@pytest.mark.parametrize(
    "path", committed("findings.json"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_committed_file_of_findings_fits(path: Path) -> None:
    assert problems("findings", json.loads(path.read_text(encoding="utf-8"))) == []


def test_there_are_runs_to_try() -> None:
    assert len(RUNS) > 12


def test_a_comparison_as_it_is_printed_fits() -> None:
    done = CliRunner().invoke(cli, ["compare", str(SAMPLE), str(SAMPLE), "--json"])
    assert done.exit_code == 0, done.output
    assert problems("comparison", json.loads(done.output)) == []


def test_answers_as_they_are_written_fit() -> None:
    with (SAMPLE / "predictions.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            value: dict[str, Any] = {
                "sample_id": row["sample_id"],
                "batch": int(row["batch"]),
                "prompt": row["prompt"],
                "prediction": row["prediction"],
                "references": json.loads(row["references"]),
                "wer": float(row["wer"]) if row["wer"] else None,
                "errors": int(row["errors"] or 0),
                "reference_words": int(row["reference_words"] or 0),
                "exact": row["exact"] == "1",
            }
            assert set(row) == set(value)
            assert problems("predictions", value) == []


def test_a_plan_as_it_is_written_fits() -> None:
    config = read_sweep(find_sweep("tiny/batch_size"))
    cells = plan(config, cuda=False, where="here", out="out")
    held = SweepFile(layerscope="0", config=config, cells=cells)
    assert problems("sweep", json.loads(msgspec.json.encode(held))) == []


def without(value: Any, *keys: str) -> Any:
    found = copy.deepcopy(value)
    place = found
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return found


def test_what_does_not_fit_is_refused() -> None:
    run = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))
    assert problems("run", without(run, "environment"))
    assert problems("run", without(run, "model", "modules"))
    assert problems("run", run | {"created_utc": 3})
    assert problems("run", run | {"latency": [{"batch": "0"}]})
    assert problems("findings", {"findings": [{"rule": 1}]})
    assert problems("sweep", {"cells": []})
