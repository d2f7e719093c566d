"""A sweep's rows in, its TensorBoard event files out.

The sweep's folder gets the columns of HPARAMS, the page as text and the figures. `against/` gets one
folder for each line of cells that differ in one whole-numbered axis alone: there the step is the
axis, so that SCALARS draws each number against it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeGuard

from layerscope.core.errors import EnvironmentProblem
from layerscope.records.sweep import Setting, SweepRow
from layerscope.report.tensorboard.event_file import Scalar, Text, write_event_file
from layerscope.report.tensorboard.hparams import sweep_columns
from layerscope.report.tensorboard.run_events import pictures
from layerscope.stats.sweep_tables import lines_along

AGAINST = "against"
SWEEP_TAG = "sweep"
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._=-]+")


def write_sweep_events(
    rows: Sequence[SweepRow], axes: Sequence[str], root: Path, name: str, page: str
) -> Path:
    """Write every event file of a sweep; returns the one in its own folder.

    Args:
        page: the sweep's page, in Markdown.

    Raises:
        EnvironmentProblem: tensorboard is not installed, or a file cannot be written.
    """
    shown = sweep_columns(axes, [row.config for row in rows], name)
    path = write_event_file(root, [shown, Text(SWEEP_TAG, page), *pictures(root)])
    try:
        # Lines of a plan that has changed since would stand beside those of this one.
        shutil.rmtree(root / AGAINST)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EnvironmentProblem(
            f"{root / AGAINST}: cannot be written anew ({error.strerror})."
        ) from None
    for axis in whole_axes(rows, axes):
        for fixed, line in lines_along(rows, axis, axes):
            write_event_file(root / AGAINST / axis / _line_name(fixed), _points(line, axis))
    return path


def whole_axes(rows: Sequence[SweepRow], axes: Sequence[str]) -> tuple[str, ...]:
    """The axes whose values are whole numbers: what a step can be."""
    return tuple(
        axis for axis in axes if rows and all(is_whole(getattr(row.config, axis)) for row in rows)
    )


def is_whole(setting: Setting) -> TypeGuard[int]:
    """Whether a setting can be a step."""
    return isinstance(setting, int) and not isinstance(setting, bool)


def _points(line: Sequence[SweepRow], axis: str) -> Iterator[Scalar]:
    for row in sorted(line, key=lambda row: getattr(row.config, axis)):
        step = getattr(row.config, axis)
        measured = {
            "e2e/wer_value": row.wer.value,
            "e2e/latency_s": row.latency_s.value,
            "e2e/energy_j_per_sample": row.energy_j.value,
            "e2e/flops": row.flops,
        }
        for tag, value in measured.items():
            if value is not None:
                yield Scalar(tag, value, step)
        # Without a device a group's time is that inside its operators, not the host's wall time.
        prefix = "op_ms" if row.device_sum_us is None else "gpu_ms"
        for group, ns in row.group_ns.items():
            yield Scalar(f"{prefix}/{group}", ns / 1e6, step)


def _line_name(fixed: dict[str, Setting]) -> str:
    """The other axes' values as a folder's name; "." where there is no other axis."""
    words = (f"{name}={_NOT_IN_A_NAME.sub('-', str(value))}" for name, value in fixed.items())
    return ",".join(words) or "."
