"""Names of modules as they are without `torch.compile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.private.modules import ORIGINAL, original_of

if TYPE_CHECKING:
    from torch import nn


def is_compiled_wrapper(module: nn.Module) -> bool:
    """Whether `torch.compile(module)` made it: the module itself is its `_orig_mod`."""
    return original_of(module) is not None


def plain_fqn(name: str) -> str:
    """A module's name as it is without `torch.compile`, which puts `_orig_mod` into it."""
    return ".".join(part for part in name.split(".") if part != ORIGINAL.attribute)
