"""A model in, the modules that `torch.compile` made of its parts and that stand beside it out."""

from __future__ import annotations

import gc
from typing import Any

from torch import nn

from layerscope.private.modules import original_of, twin_class


def compiled_twins(model: nn.Module) -> list[nn.Module]:
    """What runs the model's weights as compiled code without being a part of it.

    torch keeps no list of these, so all objects are looked at: tens of ms in a large process, and
    none where nothing was compiled.
    """
    made = twin_class()
    if made is None:
        return []
    parts = {id(module) for module in model.modules()}
    found: list[Any] = [item for item in gc.get_objects() if type(item) is made]
    return [twin for twin in found if id(original_of(twin)) in parts and id(twin) not in parts]
