"""SDPA calls in, for those that no fused kernel takes torch's own reasons out.

torch is asked with the real operands: `can_use_efficient_attention(params, debug=True)` of
`torch.backends.cuda` and its like warn of each condition that fails. On a CPU there is nothing to ask.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from layerscope.core.words import first_line

if TYPE_CHECKING:
    pass

# Where in torch's C++ a warning comes from, and the headline that each kernel's list begins with.
_NOISE = re.compile(r"\s*\(Triggered internally at .*\)\s*$", re.DOTALL)
_HEADLINE = re.compile(r"kernel not used because:?\s*$", re.IGNORECASE)
_LONGEST = 240

# Of `scaled_dot_product_attention`: its arguments by place, and what is not given.
_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_DEFAULTS = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "enable_gqa": False}
_ASKED_WITH = (*_NAMES, "enable_gqa")

Reasons = tuple[str, ...]


def reasons_of(*operands: Any, **settings: Any) -> Reasons:
    """Why no fused kernel takes these operands, one text a kernel; empty where one does.

    The arguments are those of `scaled_dot_product_attention`.
    """
    from torch.backends import cuda

    given = _DEFAULTS | dict(zip(_NAMES, operands, strict=False)) | settings
    attn_mask = given["attn_mask"]
    params = cuda.SDPAParams(*(given[name] for name in _ASKED_WITH))
    asked = {
        "efficient": cuda.can_use_efficient_attention,
        "flash": cuda.can_use_flash_attention,
        "cuDNN": cuda.can_use_cudnn_attention,
    }
    if any(can_use(params, False) for can_use in asked.values()):
        return ()
    found = []
    for name, can_use in asked.items():
        said = _warned(partial(can_use, params, True))
        if said:
            found.append(f"{name}: {'; '.join(said)}"[:_LONGEST])
    mask = "" if attn_mask is None else f"mask {attn_mask.dtype}, strides {attn_mask.stride()}"
    return (*found, *([mask] if mask else []))


def _asked(ask: Callable[..., Reasons], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reasons:
    """The reasons, or that torch did not take the question: the call itself shall go on."""
    try:
        return ask(*args, **kwargs)
    except (RuntimeError, TypeError, AttributeError) as error:
        return (f"torch could not be asked ({first_line(error)})",)


def _warned(ask: Callable[[], Any]) -> list[str]:
    """What torch warned of, without headlines and places in its source."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ask()
    texts = (" ".join(_NOISE.sub("", str(one.message)).split()) for one in caught)
    return list(dict.fromkeys(text for text in texts if text and not _HEADLINE.search(text)))


def watch_attention(
    note: Callable[[Reasons], None],
    ask: Callable[..., Reasons] = reasons_of,
    device: str = "cuda",
) -> Any:
    """A context in which every call of SDPA on this kind of device is looked at before it runs.

    Args:
        note: told of each call, with no reasons where a fused kernel takes it.
    """
    from torch.nn.functional import scaled_dot_product_attention
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func is scaled_dot_product_attention:
                query = args[0] if args else kwargs.get("query")
                if query is not None and query.device.type == device:
                    note(_asked(ask, args, kwargs))
            return func(*args, **kwargs)

    return Watch()
