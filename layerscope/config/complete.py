"""A quick run's record in, the same run whole out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from layerscope.config.resolve import Resolved
from layerscope.core.errors import UsageError
from layerscope.records import RunRecord

# Decided by the quick run; a model or a checkpoint is not asked again.
_DECIDED = frozenset({"dtype", "image_size"})


def completion(record: RunRecord, folder: Path) -> Resolved:
    """The configuration of a quick run without what made it quick, written where it lies.

    All is measured anew, in one process and one hour: numbers of two days side by side would say that
    the host changed.

    Raises:
        UsageError: the run is whole, or a capture.
    """
    config = record.config
    if config is None:
        raise UsageError(f"{folder}: a capture, which has no configuration to run again.")
    if not config.quick:
        raise UsageError(f"{folder}: not a run of --quick, so nothing was left out.")
    whole = dataclasses.replace(config, quick=False, out=str(folder.parent))
    return Resolved(config=whole, choices=record.choices, given=_DECIDED)
