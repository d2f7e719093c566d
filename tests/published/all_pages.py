"""All pages with claims: importing a module declares its pages."""

from published import (
    ceilings,
    cpu,
    device_time,
    energy,
    findings_again,
    generated,
    h100,
    h200,
    h200_newest,
    interval_coverage,
    models,
    modes,
    planted,
    readme,
    sweeps,
    tiny,
)
from published.pages import PAGES

__all__ = [
    "PAGES",
    "ceilings",
    "cpu",
    "device_time",
    "energy",
    "findings_again",
    "generated",
    "h100",
    "h200",
    "h200_newest",
    "interval_coverage",
    "models",
    "modes",
    "planted",
    "readme",
    "sweeps",
    "tiny",
]
