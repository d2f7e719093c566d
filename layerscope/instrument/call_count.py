"""A model in, how often each of its modules is called out: by hooks, beside the ranges of a trace."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from layerscope.core.vocabulary import writable_text
from layerscope.models.plain_names import is_compiled_wrapper, plain_fqn

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle


class CallCount:
    """Context manager: counts the calls of every module below the root that end in order.

    Attributes:
        calls: FQN -> calls, 0 included.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {
            writable_text(plain_fqn(name)): module
            for name, module in model.named_modules()
            if name and not is_compiled_wrapper(module)
        }
        self._handles: list[RemovableHandle] = []
        self.calls = dict.fromkeys(self._modules, 0)

    def __enter__(self) -> CallCount:
        for fqn, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._counting(fqn)))
        return self

    def _counting(self, fqn: str) -> Any:
        def count(*_: Any) -> None:
            self.calls[fqn] += 1

        return count

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
