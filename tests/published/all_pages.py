"""All pages with claims: importing a module declares its pages."""

from published import (
    ceilings,
    cpu,
    energy,
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
    "energy",
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
