"""The committed run as this version would have written it: its tables made again, its hashes taken."""

from __future__ import annotations

import shutil
from pathlib import Path

from layerscope.records import load
from layerscope.records.seal import seal
from layerscope.report.table_files import write_tables
from layerscope.runs.judge import write_findings
from layerscope.runs.run import Run

SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"


def sealed_sample(folder: Path) -> Path:
    """Copy the committed run to this folder and seal it."""
    shutil.copytree(SAMPLE, folder)
    run = Run.open(folder)
    assert run.findings is not None
    write_tables(run.account, folder)
    write_findings(run.findings, folder)
    seal(load(folder), folder)
    return folder
