"""Models whose own methods do not say what their modules are for; a few lines each."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

# Model type, as the config says it -> file. Every other model says its roles itself.
_FILES = {
    "blip": "blip",
    "chameleon": "chameleon",
    "fuyu": "fuyu",
    "git": "git",
    "idefics": "idefics",
    "instructblip": "instructblip",
    "instructblipvideo": "instructblip",
    "janus": "janus",
    "ovis2": "ovis2",
    "t5gemma2": "t5gemma2",
    "udop": "udop",
}


def family_of(model_type: str) -> ModuleType | None:
    """The file of a family; None for a model that needs none."""
    name = _FILES.get(model_type)
    return import_module(f"layerscope.models.families.{name}") if name else None
