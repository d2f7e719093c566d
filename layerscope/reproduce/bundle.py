"""A reproduction's folder in, one zip file to send out: tables, verdicts, runs, environment, hashes."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from layerscope import __version__
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.files import (
    ATTENTION_FILE,
    BUNDLE_FILE,
    BUNDLE_PAGE_FILE,
    CELLS_FOLDER,
    CHECKS_FILE,
    FIGURES_FOLDER,
    FINDINGS_FILE,
    LAYERS_FILE,
    PINS_FILE,
    PLAN_FILE,
    PREDICTIONS_FILE,
    RUN_FILE,
    STEPS_FILE,
    SWEEP_GROUPS_FILE,
    SWEEP_LAYERS_FILE,
    SWEEP_PAGE_FILE,
    SWEEP_REFERENCE_FILE,
    SWEEP_TABLE_FILE,
    WORK_FILE,
    json_text,
)
from layerscope.core.folder_file import is_there, read_file
from layerscope.core.whole_file import whole_file
from layerscope.records.run_record import Environment
from layerscope.report.sweep.sent_sweep import SentSweep
from layerscope.reproduce.checks import CellCheck, all_hold
from layerscope.reproduce.pins import Pins

# Of each run: what its numbers can be recomputed from. The trace, megabytes a cell, stays.
_OF_A_RUN = (
    RUN_FILE,
    LAYERS_FILE,
    PREDICTIONS_FILE,
    STEPS_FILE,
    ATTENTION_FILE,
    WORK_FILE,
    FINDINGS_FILE,
)
_OF_A_SWEEP = (
    PLAN_FILE,
    SWEEP_PAGE_FILE,
    SWEEP_TABLE_FILE,
    SWEEP_REFERENCE_FILE,
    SWEEP_LAYERS_FILE,
    SWEEP_GROUPS_FILE,
)
# The earliest time a zip file can hold: the same content gives the same bytes.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_bundle(
    root: Path,
    page: str,
    pins: Pins,
    sweeps: Mapping[str, SentSweep],
    checks: Sequence[CellCheck],
    environment: Environment | None,
) -> Path:
    """Write the page and the bundle; a bundle that was there is replaced when the new one is whole.

    Raises:
        EnvironmentProblem: the disk is full or cannot be written.
    """
    content: dict[str, bytes] = {
        BUNDLE_PAGE_FILE: page.encode(),
        CHECKS_FILE: _checks_csv(checks),
        "reproduction.json": _json(_verdicts(pins, sweeps, checks)),
        "environment.json": _json(environment),
        PINS_FILE: _json(pins),
    }
    path = root / BUNDLE_FILE
    try:
        (root / BUNDLE_PAGE_FILE).write_text(page, encoding="utf-8")
        (root / CHECKS_FILE).write_bytes(content[CHECKS_FILE])
        for name, source in _files(root, sweeps):
            content[name] = read_file(source)
        hashes = "".join(
            f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in sorted(content)
        )
        content["SHA256SUMS"] = hashes.encode()
        with whole_file(path) as partial, zipfile.ZipFile(partial, "w") as bundle:
            for name in sorted(content):
                item = zipfile.ZipInfo(f"reproduction/{name}", _NO_TIME)
                item.compress_type = zipfile.ZIP_DEFLATED
                item.external_attr = 0o644 << 16
                bundle.writestr(item, content[name])
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written ({error.strerror}).") from None
    return path


def _files(root: Path, sweeps: Mapping[str, SentSweep]) -> Iterator[tuple[str, Path]]:
    """Name in the bundle, file on disk; a file that a stopped sweep lacks is left out."""
    for table, sweep in sweeps.items():
        folder = root / table
        found = [folder / name for name in _OF_A_SWEEP]
        found += sorted((folder / FIGURES_FOLDER).glob("*.svg"))
        for row in sweep.rows:
            if row.folder is not None:
                found += [folder / row.folder / name for name in _OF_A_RUN]
        for path in found:
            if is_there(path):
                inside = path.relative_to(folder).as_posix().replace(f"{CELLS_FOLDER}/", "runs/", 1)
                yield f"tables/{table}/{inside}", path


def _verdicts(
    pins: Pins, sweeps: Mapping[str, SentSweep], checks: Sequence[CellCheck]
) -> dict[str, Any]:
    return {
        "layerscope": __version__,
        "pins": pins,
        "checks_hold": all_hold(checks),
        "tables": {
            name: {
                "cells": len(sweep.rows),
                "measured": len(sweep.measured),
                "rows": [
                    {
                        "cell": item.cell,
                        "settings": next(r.settings for r in sweep.rows if r.cell == item.cell),
                        "quantity": item.quantity,
                        "ours": item.ours.value,
                        "published": item.theirs,
                        "our_ratio": None if item.our_ratio is None else item.our_ratio.value,
                        "published_ratio": item.their_ratio,
                        "verdict": item.verdict,
                        "reason": item.reason,
                    }
                    for item in sweep.beside
                ],
                "missing": {row.cell: row.reason for row in sweep.rows if not row.measured},
            }
            for name, sweep in sweeps.items()
        },
    }


def _checks_csv(checks: Sequence[CellCheck]) -> bytes:
    text = io.StringIO()
    names = [field.name for field in fields(CellCheck)]
    writer = csv.DictWriter(text, [*names, "holds"], lineterminator="\n")
    writer.writeheader()
    for check in checks:
        writer.writerow(asdict(check) | {"holds": check.holds})
    return text.getvalue().encode()


def _json(value: object) -> bytes:
    return json_text(value).encode() + b"\n"
