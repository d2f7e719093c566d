"""The arguments that a model's parts really received in a run, kept so that a part can run alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.private.tensors import flatten, unflatten

if TYPE_CHECKING:
    import torch

# A cache is filled while it is used: a part that is run again must start without one.
# `past_key_values` is `cache` from transformers 5.24 on.
_CACHE_ARGUMENTS = ("past_key_values", "cache", "cache_position")


@dataclass(frozen=True)
class CapturedCall:
    """The first call of one module: its FQN, the module, and what it was given."""

    fqn: str
    module: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def without_cache(self) -> CapturedCall:
        """The same call with caching off, so that it gives the same work each time it runs."""
        kwargs = {k: v for k, v in self.kwargs.items() if k not in _CACHE_ARGUMENTS}
        if "use_cache" in kwargs:
            kwargs["use_cache"] = False
        return CapturedCall(self.fqn, self.module, self.args, kwargs)


def capture_calls(
    model: torch.nn.Module, run: Callable[[], Any], fqns: Iterable[str]
) -> dict[str, CapturedCall]:
    """Run once and keep the arguments of the first call of each named module.

    Args:
        fqns: names of `named_modules()`; "" is the model itself. Unknown names are left out.

    Returns:
        FQN -> call, for the modules that were called.
    """
    found: dict[str, CapturedCall] = {}
    modules = dict(model.named_modules())
    handles = []

    def keeper(fqn: str) -> Callable[..., None]:
        def keep(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.setdefault(fqn, CapturedCall(fqn, module, args, dict(kwargs)))

        return keep

    try:
        for fqn in fqns:
            if fqn in modules:
                hook = modules[fqn].register_forward_pre_hook(keeper(fqn), with_kwargs=True)
                handles.append(hook)
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found


def tensors_only(call: CapturedCall) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """A module that takes and returns tensors alone, as `torch.jit.trace` demands, and its inputs.

    The part hangs in it as `part`, so that FQNs inside read `part.<name>`.
    """
    import torch

    leaves, shape = flatten((call.args, call.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]

    class TensorsOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = call.module

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            args, kwargs = unflatten(filled, shape)
            result, _ = flatten(self.part(*args, **kwargs))
            return tuple(leaf for leaf in result if isinstance(leaf, torch.Tensor))

    wrapped = TensorsOnly()
    wrapped.training = call.module.training
    return wrapped, tuple(leaves[place] for place in places)
