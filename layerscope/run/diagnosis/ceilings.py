"""The file of kept ceilings in, a finding on those of this device out. Nothing is measured."""

from __future__ import annotations

from pathlib import Path

from layerscope.measure.ceilings import cache_file, ceilings_key, device_name
from layerscope.measure.ceilings_cache import load_kept
from layerscope.records.plausible_ceilings import rate_text
from layerscope.run.diagnosis.probe import Finding

_MEASURE = "layerscope ceilings (some seconds, best while nothing else runs)"


def kept_ceilings(cache: Path | None = None) -> Finding:
    """Whether ceilings of the device that a run would take are kept, of when, and in doubt or not.

    Args:
        cache: the file; the user's own when left out.
    """
    import torch

    from layerscope.instrument.environment import read_environment

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    environment = read_environment(cuda=cuda)
    key = ceilings_key(device, environment.driver, environment.gpu_power_limit_w)
    kept = load_kept(cache or cache_file(), key, device_name(device))
    if kept.doubt:
        return Finding(
            status="limited",
            found=f"kept ones are in doubt: {kept.doubt}",
            remedy="layerscope ceilings --remeasure",
        )
    if kept.ceilings is None:
        return Finding(status="missing", found=f"none kept for {key}", remedy=_MEASURE)
    rates = ", ".join(f"{n} {rate_text(n, r)}" for n, r in kept.ceilings.rates().items())
    return Finding(status="ok", found=f"of {kept.ceilings.measured_utc[:10]}: {rates}")
