"""How long ago this process began, from the kernel's own books."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STARTED = (
    19  # of what follows the command's name in /proc/<pid>/stat: start time, in ticks after boot
)
_STAT = Path("/proc/self/stat")


def process_age_s(stat: Path = _STAT) -> float | None:
    """Seconds since this process began, to a hundredth; None where no /proc says it.

    Args:
        stat: as `proc_pid_stat(5)` describes it.
    """
    try:
        # The name stands in parentheses and may hold any character, so count from its end.
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks = int(fields[_STARTED])
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(0.0, now - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, LookupError, ValueError):
        return None
