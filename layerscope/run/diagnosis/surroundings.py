"""Disks, the hub and the CPU's other work in, findings out."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from layerscope.config.resolve import HUB_MODEL
from layerscope.core.units import size_text
from layerscope.run.diagnosis.model import cache_folder, xl_in_cache
from layerscope.run.diagnosis.probe import Finding
from layerscope.workload.hub import free_bytes, ways_on

HUB_TIMEOUT_S = 3.0
# An XL run folder holds 5 MB compressed at batch 16, but the plain JSON of a long run passes
# through the same folder: 99 MB for 20 tokens.
TRACES_LEAST_BYTES = 1_000_000_000
# Of the XL checkpoint: 4.02 thousand million parameters of 4 bytes.
XL_DOWNLOAD_BYTES = 16_100_000_000
_BUSY_SHARE = 0.25
_CPUS = Path("/sys/devices/system/cpu")


def traces_disk(out: Path) -> Finding:
    """Whether the folder for runs can be written, and how much fits."""
    nearest = out.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest) as file:
            file.write(b"layerscope")
            file.flush()
    except OSError as error:
        return Finding(
            status="missing",
            found=f"{nearest} cannot be written ({error.strerror or error})",
            remedy="choose another folder with --out, or get the right to write there",
        )
    free = free_bytes(nearest)
    found = f"{out.absolute()}: {size_text(free, 'GB')} free"
    if free < TRACES_LEAST_BYTES:
        return Finding(
            status="limited", found=found, remedy="free 1 GB, or choose another disk with --out"
        )
    return Finding(status="ok", found=found)


def cache_disk(cache: Path | None = None, free: Callable[[Path], int] = free_bytes) -> Finding:
    """Whether the XL model fits into the hub cache. One that lies there already needs no room.

    Args:
        cache: the cache folder; None for huggingface_hub's own.
        free: bytes free on a folder's disk.
    """
    folder = cache_folder(cache)
    room = free(folder)
    found = f"{folder}: {size_text(room, 'GB')} free"
    if xl_in_cache(cache).status == "ok":
        return Finding(status="ok", found=f"{found}; the XL model is there already")
    if room < XL_DOWNLOAD_BYTES:
        return Finding(
            status="limited",
            found=f"{found}; the XL model takes about {size_text(XL_DOWNLOAD_BYTES, 'GB', 0)}",
            remedy="free that much, or point HF_HOME at a larger disk",
        )
    return Finding(status="ok", found=found)


def hub(endpoint: str | None = None) -> Finding:
    """Ask the hub for the default model's description, for three seconds at most.

    Args:
        endpoint: the hub's address; None for huggingface_hub's own. Not shown: a private mirror's
            address may hold a password.
    """
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        return Finding(
            status="missing",
            found="huggingface_hub is set to work offline",
            remedy=f"unset HF_HUB_OFFLINE. {ways_on()}",
        )
    try:
        info = HfApi(endpoint=endpoint).model_info(HUB_MODEL, timeout=HUB_TIMEOUT_S)
    except errors.RepositoryNotFoundError:
        return Finding(
            status="limited",
            found=f"the hub answers and does not show {HUB_MODEL}",
            remedy=f"log in with `hf auth login`, or check the mirror in use. {ways_on()}",
        )
    except Exception as error:  # what an unreachable hub raises has no common base
        return unreachable(type(error).__name__)
    return Finding(status="ok", found=f"reachable; {HUB_MODEL} is at commit {info.sha}")


def unreachable(why: str) -> Finding:
    """No answer from the hub."""
    return Finding(
        status="missing",
        found=f"out of reach ({why})",
        remedy=f"check the network and its proxy. {ways_on()}",
    )


def cpu_noise(
    load: Callable[[], tuple[float, float, float]] = os.getloadavg, cpus: Path = _CPUS
) -> Finding:
    """What else runs on the cores, and whether their clocks are steady.

    Args:
        load: the load averages of 1, 5 and 15 minutes.
        cpus: the folder with `cpu0`, `cpu1`, … and their governors.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    minute = load()[0]
    governors = _governors(cpus)
    found = f"load {minute:.2f} over the last minute on {cores} usable cores; scaling governor " + (
        ", ".join(f"{name} ({count} cores)" for name, count in governors.items()) or "not readable"
    )
    remedies = []
    if minute > _BUSY_SHARE * (cores or 1):
        remedies.append("stop other programs and wait a minute (doctor itself adds to the load)")
    if set(governors) - {"performance"}:
        remedies.append("for steadier latencies: sudo cpupower frequency-set -g performance")
    if remedies:
        return Finding(status="limited", found=found, remedy="; ".join(remedies))
    return Finding(status="ok", found=found)


def _governors(cpus: Path) -> Counter[str]:
    """Governor -> cores under it; empty in most virtual machines."""
    names: Counter[str] = Counter()
    for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            names[path.read_text(encoding="utf-8").strip()] += 1
        except OSError:  # a core that was switched off meanwhile
            continue
    return names
