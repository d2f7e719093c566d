"""All private names, in one list: what `layerscope doctor` tries and docs/private-names.md shows."""

from __future__ import annotations

from layerscope.private import compiler, generation, modules, operators, profiler, tensors
from layerscope.private.names import PrivateName

PRIVATE_NAMES: tuple[PrivateName, ...] = (
    *profiler.NAMES,
    *modules.NAMES,
    *compiler.NAMES,
    *operators.NAMES,
    *tensors.NAMES,
    *generation.NAMES,
)
