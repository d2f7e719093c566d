"""A device in, the size of its last cache before memory out: bytes that fit need not travel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CPU_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def last_cache_bytes(device: Any, folder: Path = CPU_CACHES) -> int | None:
    """L2 of a GPU, the largest cache of a CPU's first core; None where it is not known.

    Args:
        device: a torch device.
    """
    if device.type == "cuda":
        import torch

        size = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 0)
        return int(size) or None
    sizes = [size for path in folder.glob("index*/size") if (size := _size(path))]
    return max(sizes, default=None)


def _size(path: Path) -> int | None:
    """Bytes of a size such as "32K" or "2M"; None for anything else."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    return int(text[:-1]) * unit if unit and text[:-1].isdigit() else None
