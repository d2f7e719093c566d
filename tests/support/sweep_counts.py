"""A sweep's folder in, what its runs counted out: nothing of it may depend on where or when they ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from layerscope.records.work import CountedWork
from layerscope.runs.sweep_folder import SweepFolder


def counted(root: Path) -> dict[str, Any]:
    """Cell id -> FLOPs, rows, predictions, shapes and output lengths of its run."""
    found = {}
    for cell, done in SweepFolder(root).finished().items():
        work = msgspec.json.decode((done.folder / "work.json").read_bytes(), type=CountedWork)
        found[cell] = (
            work.flops,
            [(row.layer, row.phase, row.calls, row.flops) for row in work.rows],
            done.record.predictions,
            [b.pixel_values_shape for b in done.record.workload.batches],
            {s.new_tokens for s in done.record.latency},
        )
    return found
