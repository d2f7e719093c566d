"""The dtype of every parameter: from a model's classes to what `from_pretrained(dtype=...)` gives.

transformers keeps the parameters that a class names in `_keep_in_fp32_modules` in fp32 when fp16 is
asked for, and those in `_keep_in_fp32_modules_strict` for bf16 too. The names are regular
expressions searched in the whole parameter name, so T5's `wo` also keeps `word_embeddings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layerscope.core.run_config import Dtype, DtypeLayout
from layerscope.private.generation import kept_in_fp32_names

if TYPE_CHECKING:
    import torch
    from torch import nn


def torch_dtype(dtype: Dtype) -> torch.dtype:
    """The torch dtype of a configuration's short name."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[dtype]


def stored_dtype(config: Any) -> Dtype | None:
    """The half precision that a model's configuration says its checkpoint is stored in, if it is one.

    What `from_pretrained` loads by itself; a model trained in bf16 may overflow in fp16 (Gemma 3).
    """
    parts = (config, getattr(config, "text_config", None))
    found = next(
        (d for d in (getattr(part, "dtype", None) for part in parts) if d is not None), None
    )
    halves: dict[str, Dtype] = {"bfloat16": "bf16", "float16": "fp16"}
    return halves.get(str(found).removeprefix("torch."))


def kept_in_fp32(model: nn.Module, dtype: torch.dtype) -> re.Pattern[str] | None:
    """What the model's classes keep in fp32 when loaded as `dtype`; None when they keep nothing.

    The model is the whole one: its constructor has gathered the names of its parts.
    """
    import torch

    names: set[str] = set()
    if dtype == torch.float16:
        names |= kept_in_fp32_names(model, strictly=False)
    if dtype in (torch.float16, torch.bfloat16):
        names |= kept_in_fp32_names(model, strictly=True)
    if not names:
        return None
    return re.compile("|".join(name.replace("*", ".*") for name in sorted(names)))


def parameter_dtypes(
    model: nn.Module, dtype: torch.dtype, layout: DtypeLayout
) -> dict[str, torch.dtype]:
    """Name -> dtype of each floating-point parameter, a tied one under its first name.

    Args:
        model: on any device, `meta` included.
        dtype: what is asked for.
        layout: `from_pretrained` keeps in fp32 what the classes say; `uniform` keeps nothing.
    """
    import torch

    kept = kept_in_fp32(model, dtype) if layout == "from_pretrained" else None
    return {
        name: torch.float32 if kept is not None and kept.search(name) else dtype
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point()
    }


def apply_dtypes(model: nn.Module, dtypes: Mapping[str, torch.dtype]) -> None:
    """Cast parameters in place, one at a time. Ties stay, buffers are not touched."""
    for name, parameter in model.named_parameters():
        if name in dtypes and parameter.dtype != dtypes[name]:
            # Through .data: a new Parameter would break the ties between modules.
            parameter.data = parameter.data.to(dtypes[name])


def layout_bytes(model: nn.Module, dtypes: Mapping[str, torch.dtype]) -> int:
    """Bytes that the parameters take in these dtypes, each tied parameter once."""
    return sum(
        parameter.numel() * dtypes.get(name, parameter.dtype).itemsize
        for name, parameter in model.named_parameters()
    )
