"""A model in, the modules that `torch.compile` made of its parts and that stand beside it out."""

from __future__ import annotations

import gc
import sys

from torch import nn

from layerscope.models.plain_names import is_compiled_wrapper


def compiled_twins(model: nn.Module) -> list[nn.Module]:
    """What runs the model's weights as compiled code without being a part of it.

    torch keeps no list of these, so all objects are looked at: tens of ms in a large process, and
    none where nothing was compiled.
    """
    frames = sys.modules.get("torch._dynamo.eval_frame")
    if frames is None:
        return []
    parts = {id(module) for module in model.modules()}
    found = [item for item in gc.get_objects() if type(item) is frames.OptimizedModule]
    return [
        twin
        for twin in found
        if is_compiled_wrapper(twin)
        and id(twin._modules["_orig_mod"]) in parts
        and id(twin) not in parts
    ]
