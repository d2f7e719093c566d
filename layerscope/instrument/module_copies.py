"""Wrappers that stand on modules for a while in; copies of these modules without them, out.

`copy.deepcopy`, `copy.copy`, `pickle` and `torch.save` take a module's attributes as they are, so a
copy made while a wrapper stands there would compute with the original's weights for ever. Inside this
context a copy is what it would be without the wrappers. `nn.DataParallel` copies attributes, too; its
replicas get wrappers of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from torch import nn

from layerscope.private.modules import replicate, set_replicate

# Attributes of a module in, the same without wrappers out.
Unwrap = Callable[[dict[str, Any]], dict[str, Any]]
# A replica in; its wrappers become its own.
Rewrap = Callable[[nn.Module], None]


class FaithfulCopies:
    """Context manager: copies and pickles of modules made inside carry no wrapper of ours."""

    def __init__(self, unwrap: Unwrap, rewrap: Rewrap) -> None:
        self._unwrap = unwrap
        self._rewrap = rewrap

    def __enter__(self) -> FaithfulCopies:
        unwrap, rewrap = self._unwrap, self._rewrap
        self._reduce = nn.Module.__dict__.get("__reduce_ex__")
        self._replicate = copy = replicate()
        reduce = nn.Module.__reduce_ex__

        def reduced(module: nn.Module, protocol: Any) -> Any:
            parts = reduce(module, protocol)
            if isinstance(parts, tuple) and len(parts) > 2 and isinstance(parts[2], dict):
                return (*parts[:2], unwrap(parts[2]), *parts[3:])
            return parts

        def replicated(module: nn.Module) -> Any:
            assert copy is not None  # else it stands nowhere
            replica = copy(module)
            rewrap(replica)
            return replica

        setattr(nn.Module, "__reduce_ex__", reduced)  # noqa: B010 # mypy forbids the plain form
        if copy is not None:
            set_replicate(replicated)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reduce is None:
            del nn.Module.__reduce_ex__
        else:
            setattr(nn.Module, "__reduce_ex__", self._reduce)  # noqa: B010
        if self._replicate is not None:
            set_replicate(self._replicate)
