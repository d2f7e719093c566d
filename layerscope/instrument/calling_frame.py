"""A call of compiled code in, which of the model's modules its names start from out.

Dynamo compiles the code of a frame; the frame that calls it has that code's own locals. So the module
behind `L['self']` is read from the caller, at each call: neither a parameter's address, which moves, nor
a vote decides which of several equal blocks it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import torch

from layerscope.models.plain_names import plain_fqn
from layerscope.private.modules import call_codes, original_of

_NAME = re.compile(r"^([LG])\['([^']*)'\]")
_STEP = re.compile(r"\.(\w+)|\[(?:'([^']*)'|(\d+))\]")
_ITSELF = "L['self']"
_DEEPEST = 200


@dataclass(frozen=True)
class Start:
    """Where names start: below `fqn` of the model; or, around the model, `path` leads to it."""

    fqn: str = ""
    path: str = ""


class CallingFrames:
    """Finds the modules of one model in the frames that call its compiled code."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._fqns: dict[int, str] = {}
        self._calls = call_codes()

    def aliases(self) -> dict[str, str]:
        """Further names of modules -> the first, under which a range is opened."""
        first: dict[int, str] = {}
        found = {}
        for fqn, module in self._model.named_modules(remove_duplicate=False):
            name = first.setdefault(id(module), plain_fqn(fqn))
            if name != plain_fqn(fqn):
                found[plain_fqn(fqn)] = name
        return found

    def starts(self, bases: Collection[str]) -> dict[str, Start | None]:
        """Where each of the bases of a graph's names starts, asked in the call of the graph.

        Args:
            bases: `L['self']`, `G['net']`, `L['self'].0._old_forward.__self__`; "" for the frame
                itself.
        """
        found: dict[str, Start | None] = {}
        waiting = set(bases)
        frame: FrameType | None = sys._getframe(1)
        for _ in range(_DEEPEST):
            if frame is None or not waiting:
                break
            for base in sorted(waiting):
                module = _module(frame, base, self._calls)
                if module is not None:
                    found[base] = self._start(module)
                    waiting.discard(base)
            frame = frame.f_back
        return {base: found.get(base) for base in bases}

    def _start(self, module: torch.nn.Module) -> Start | None:
        fqn = self._fqn(module)
        if fqn is not None:
            return Start(fqn)
        # The model itself may be a part of what was compiled.
        for path, inner in module.named_modules():
            if inner is self._model:
                return Start("", plain_fqn(path))
        return None

    def _fqn(self, module: torch.nn.Module) -> str | None:
        fqn = self._fqns.get(id(module))
        if fqn is None or not self._is_at(fqn, module):
            # Never asked for, or the model was changed since.
            self._fqns = {id(m): name for name, m in self._model.named_modules()}
            fqn = self._fqns.get(id(module))
        return None if fqn is None else plain_fqn(fqn)

    def _is_at(self, fqn: str, module: torch.nn.Module) -> bool:
        try:
            return self._model.get_submodule(fqn) is module
        except AttributeError:
            return False


def _module(frame: FrameType, base: str, calls: Collection[CodeType]) -> torch.nn.Module | None:
    """The module that a frame holds under this name."""
    name = base or _ITSELF
    named = _NAME.match(name)
    if named is None:
        return None
    value: Any = (frame.f_locals if named[1] == "L" else frame.f_globals).get(named[2])
    value = _behind(value, name[named.end() :])
    value = getattr(value, "__self__", value)  # a bound method
    if not isinstance(value, torch.nn.Module) or isinstance(value, torch.fx.GraphModule):
        return None
    inner = original_of(value)
    module = value if inner is None else inner
    # Only the innermost call of a module decides to whom its own operations belong.
    return module if base or _is_forward(frame, module, calls) else None


def _behind(value: Any, way: str) -> Any:
    """What is found from a value by attributes and indices; None where there is nothing."""
    at = 0
    try:
        while at < len(way) and value is not None:
            step = _STEP.match(way, at)
            if step is None:
                return None
            if step[1] is not None:
                value = getattr(value, step[1])
            else:
                value = value[step[2] if step[2] is not None else int(step[3])]
            at = step.end()
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
    return value


def _is_forward(frame: FrameType, module: torch.nn.Module, calls: Collection[CodeType]) -> bool:
    """Whether a frame is a module's `forward`, decorated or not, or what is left of it after a break.

    A replaced `forward` need not know its module: then it is the call of the module that does.
    """
    name = frame.f_code.co_name
    # By identity: dynamo writes code with slices in it, which has no hash.
    if "forward" in name or any(frame.f_code is code for code in calls):
        return True
    code = getattr(type(module).forward, "__code__", None)
    if code is None:
        return False
    same = code.co_filename == frame.f_code.co_filename
    return same and (name == code.co_name or f"_in_{code.co_name}_at_" in name)
