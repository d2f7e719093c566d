"""What torch.nn.Module and torch.compile keep to themselves: replicas, compiled calls, twins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import TYPE_CHECKING, Any

from layerscope.private.names import Feature, PrivateName, is_function, is_of, takes

if TYPE_CHECKING:
    from torch import nn

_COMPILED = Feature(
    "a model that is compiled",
    "What runs compiled cannot be told from what does not; uncompiled models are profiled as before.",
)
_REPLICAS = Feature(
    "ranges around layers that nn.DataParallel may copy",
    "No account by layer: its replicas would compute with the original's "
    "weights; `layerscope profile --no-trace` measures latency and energy.",
)


def _twin() -> nn.Module:
    """What torch.compile makes of a module; nothing is compiled before its first call."""
    import torch

    return torch.compile(torch.nn.Identity(), backend="eager")  # type: ignore[return-value]


def _is_set_by_compile(value: Any) -> str:
    import torch

    module = torch.nn.Identity()
    module.compile(backend="eager")
    set_by_it = getattr(module, COMPILED_CALL.attribute)
    return "" if value is None and callable(set_by_it) else "Module.compile() does not set it"


def _names_twins(kind: Any) -> str:
    return "" if type(_twin()) is kind else "torch.compile does not make one of a module"


COMPILED_CALL = PrivateName(
    module="torch.nn",
    path="Module._compiled_call_impl",
    what_for="set by Module.compile() and called instead of forward: watched, and set aside",
    feature=_COMPILED,
    probe=_is_set_by_compile,
)
TWINS = PrivateName(
    module="torch._dynamo.eval_frame",
    path="OptimizedModule",
    what_for="the class of what torch.compile(module) returns, to find it beside the model",
    feature=_COMPILED,
    probe=_names_twins,
)
ORIGINAL = PrivateName(
    module="torch._dynamo.eval_frame",
    path="OptimizedModule._orig_mod",
    what_for="the module inside it, whose names layers keep",
    feature=_COMPILED,
    probe=lambda value: is_of(_module_class())(value),
    sample=_twin,
)
CALL = PrivateName(
    module="torch.nn",
    path="Module._call_impl",
    what_for="its code tells a frame that calls a module from any other",
    feature=_COMPILED,
    probe=takes("self", "args", "kwargs"),
)
WRAPPED_CALL = PrivateName(
    module="torch.nn",
    path="Module._wrapped_call_impl",
    what_for="the same for the call around it",
    feature=_COMPILED,
    probe=takes("self", "args", "kwargs"),
)
REPLICATE = PrivateName(
    module="torch.nn",
    path="Module._replicate_for_data_parallel",
    what_for="nn.DataParallel copies attributes with it: the copy gets ranges of its own",
    feature=_REPLICAS,
    probe=is_function,
)
FRAMES = (CALL, WRAPPED_CALL)
NAMES = (COMPILED_CALL, TWINS, ORIGINAL, *FRAMES, REPLICATE)


def compiled_call(module: nn.Module) -> Callable[..., Any] | None:
    """What `module.compile()` has put in place of the module's forward; None where it was not called.

    Raises:
        NoSuchName: this torch keeps it elsewhere, and something was compiled in this process.
    """
    if not hasattr(module, COMPILED_CALL.attribute):
        if "torch._dynamo" in sys.modules:
            raise COMPILED_CALL.missing()
        return None
    found: Callable[..., Any] | None = getattr(module, COMPILED_CALL.attribute)
    return found


def set_compiled_call(module: nn.Module, call: Callable[..., Any] | None) -> None:
    """Put something else in its place; None: the module runs uncompiled."""
    setattr(module, COMPILED_CALL.attribute, call)


@contextmanager
def compiled_call_kept(module: nn.Module) -> Iterator[None]:
    """Whatever is compiled inside, afterwards the module runs as it did before."""
    own, before = COMPILED_CALL.attribute in vars(module), compiled_call(module)
    try:
        yield
    finally:
        set_compiled_call(module, before)
        if not own:
            # A module that was never compiled has the class's attribute alone.
            delattr(module, COMPILED_CALL.attribute)


def original_of(module: nn.Module) -> nn.Module | None:
    """The module that `torch.compile(module)` was given; None for all that it did not make.

    Raises:
        NoSuchName: this torch keeps it under another name.
    """
    if type(module).__name__ != TWINS.attribute:
        return None
    found = dict(module.named_children()).get(ORIGINAL.attribute)
    if found is None and type(module).__module__ == TWINS.module:
        raise ORIGINAL.missing()
    return found


def twin_class() -> type | None:
    """The class of what torch.compile makes of modules; None where nothing was compiled.

    Raises:
        NoSuchName: this torch calls it otherwise.
    """
    if TWINS.module not in sys.modules:
        return None
    found: type = TWINS.get()
    return found


def call_codes() -> frozenset[CodeType]:
    """The code of the functions that every call of a module goes through."""
    return frozenset(name.get().__code__ for name in FRAMES)


def replicate() -> Callable[..., Any] | None:
    """What nn.DataParallel copies a module with; None where torch has no DataParallel.

    Raises:
        NoSuchName: it has, and copies in another way: with our wrappers, on the wrong weights.
    """
    import torch

    if not hasattr(torch.nn, "DataParallel"):
        return None
    found: Callable[..., Any] = REPLICATE.get()
    return found


def set_replicate(function: Callable[..., Any]) -> None:
    """Put another function in its place, for every module."""
    import torch

    setattr(torch.nn.Module, REPLICATE.attribute, function)


def _module_class() -> type:
    import torch

    return torch.nn.Module
