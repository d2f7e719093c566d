"""All pages with claims: importing a module declares its pages."""

from published import cpu, energy, generated, h200, modes, planted, readme, sweeps, tiny
from published.pages import PAGES

__all__ = [
    "PAGES",
    "cpu",
    "energy",
    "generated",
    "h200",
    "modes",
    "planted",
    "readme",
    "sweeps",
    "tiny",
]
