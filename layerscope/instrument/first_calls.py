"""A model in, the host time of each convolution's first call out, in µs by FQN.

The first call of a convolution loads cuDNN and chooses an algorithm; later calls do not. Whoever
profiles without warm-up sees that and not the convolution, so it is measured by itself.
"""

from __future__ import annotations

import functools
import time
from types import TracebackType
from typing import Any

import torch
from torch import nn

_CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class FirstConvolutionCalls:
    """Context manager: times the first call of every convolution inside it, once each.

    Only for a warm-up run: it wraps `forward` on the instance and restores it. Host time alone, no
    synchronisation.

    Attributes:
        us: FQN -> host time of the first call, µs.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._modules = [(n, m) for n, m in model.named_modules() if isinstance(m, _CONVOLUTIONS)]
        self._wrapped: list[torch.nn.Module] = []
        self.us: dict[str, float] = {}

    def __enter__(self) -> FirstConvolutionCalls:
        for fqn, module in self._modules:
            if "forward" not in module.__dict__:
                module.__dict__["forward"] = self._timed(fqn, module)
                self._wrapped.append(module)
        return self

    def _timed(self, fqn: str, module: torch.nn.Module) -> Any:
        forward = module.forward

        @functools.wraps(forward)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if fqn in self.us:
                return forward(*args, **kwargs)
            began = time.perf_counter_ns()
            result = forward(*args, **kwargs)
            self.us[fqn] = (time.perf_counter_ns() - began) / 1000
            return result

        return timed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._wrapped:
            del self._wrapped.pop().__dict__["forward"]
