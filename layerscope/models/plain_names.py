"""Names of modules as they are without `torch.compile`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def is_compiled_wrapper(module: nn.Module) -> bool:
    """Whether `torch.compile(module)` made it: the module itself is its `_orig_mod`."""
    return "_orig_mod" in module._modules and type(module).__name__ == "OptimizedModule"


def plain_fqn(name: str) -> str:
    """A module's name as it is without `torch.compile`, which puts `_orig_mod` into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
