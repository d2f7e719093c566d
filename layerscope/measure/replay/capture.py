"""A model and one batch in, the real inputs of chosen calls out, as far as the memory budget goes.

Each chosen module's `forward` is wrapped on the instance while the batch runs, as the ranges do it,
so that direct calls are seen too. What the budget does not hold is re-created: the batch runs again,
right before the window, and stops as soon as it has made the last input that is wanted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from layerscope.core.units import size_text
from layerscope.measure.replay.inputs import Held, hold, storage_bytes, tensors_of
from layerscope.private.modules import COMPILED_CALL, compiled_call
from layerscope.private.names import require
from layerscope.private.tensors import REPLAYED

Call = tuple[str, int]  # FQN, number of the call from 0
Generate = Callable[[], object]
# The rest is for the layers' own results, CUDA graphs' pools and the allocator.
MEMORY_SHARE = 0.4


@dataclass
class Captured:
    """Calls that are held, and those that were seen but found no room.

    Attributes:
        held_bytes: of tensors that nothing but this keeps alive; weights do not count.
    """

    held: dict[Call, Held] = field(default_factory=dict)
    too_large: set[Call] = field(default_factory=set)
    held_bytes: int = 0


class _Enough(BaseException):
    """All inputs are there: what follows in the batch is not needed."""


def capture(
    model: torch.nn.Module,
    wanted: Iterable[Call],
    generate: Generate,
    *,
    budget_bytes: int,
    copy: bool = False,
    stop_early: bool = False,
) -> Captured:
    """Run one batch and keep the inputs of the wanted calls.

    A tensor that the model writes in place after the call would no longer be the call's input:
    such calls are taken again, with copies, in a second run.

    Args:
        generate: runs the batch.
        copy: keep copies of all tensors.
        stop_early: end the batch when the last wanted call has been seen.
    """
    found = _run(model, set(wanted), generate, budget_bytes, copy=copy, stop_early=stop_early)
    if copy:
        return found
    changed = {call for call, held in found.held.items() if held.written()}
    if changed:
        room = budget_bytes - found.held_bytes
        again = _run(model, changed, generate, room, copy=True, stop_early=stop_early)
        for call in changed:
            del found.held[call]
        found.held.update(again.held)
        found.too_large |= again.too_large
        found.held_bytes += again.held_bytes
    return found


def memory_budget(device: str, share: float = MEMORY_SHARE) -> tuple[int, str]:
    """Bytes that held inputs may fill, and in words what they are a share of."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        free += torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    else:
        import os

        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    budget = int(free * share)
    return budget, f"{size_text(budget, 'MiB', 0)}, {share:.0%} of what was free on the {device}"


def _run(
    model: torch.nn.Module,
    wanted: set[Call],
    generate: Generate,
    budget_bytes: int,
    *,
    copy: bool,
    stop_early: bool,
) -> Captured:
    require(REPLAYED)
    found = Captured()
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    watch = _Watch(found, wanted, weights, budget_bytes, copy=copy, stop_early=stop_early)
    modules = dict(model.named_modules())
    replaced: list[tuple[torch.nn.Module, str, Any]] = []
    try:
        for fqn in dict.fromkeys(fqn for fqn, _ in wanted if fqn in modules):
            module = modules[fqn]
            # module.compile() sets this, and it is called instead of forward.
            compiled = compiled_call(module) is not None
            name = COMPILED_CALL.attribute if compiled else "forward"
            replaced.append((module, name, module.__dict__.get(name)))
            module.__dict__[name] = watch.around(fqn, getattr(module, name))
        generate()
    except _Enough:
        pass
    finally:
        for module, name, before in reversed(replaced):
            if before is None:
                del module.__dict__[name]
            else:
                module.__dict__[name] = before
    return found


class _Watch:
    """Counts the calls of the wrapped modules and keeps those that are wanted."""

    def __init__(
        self,
        found: Captured,
        wanted: set[Call],
        known: set[int],
        budget_bytes: int,
        *,
        copy: bool,
        stop_early: bool,
    ) -> None:
        self._found = found
        self._missing = set(wanted)
        self._known = known
        self._budget = budget_bytes
        self._copy = copy
        self._stop_early = stop_early
        self._counts: dict[str, int] = {}

    def around(self, fqn: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def watched(*args: Any, **kwargs: Any) -> Any:
            number = self._counts.get(fqn, 0)
            self._counts[fqn] = number + 1
            if (fqn, number) in self._missing:
                self._keep((fqn, number), args, kwargs)
            return forward(*args, **kwargs)

        return watched

    def _keep(self, call: Call, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._missing.discard(call)
        known = set() if self._copy else self._known
        size = storage_bytes(tensors_of((args, dict(kwargs))), known=set(known))
        if self._found.held_bytes + size > self._budget:
            self._found.too_large.add(call)
        else:
            held = hold(args, kwargs, copy=self._copy)
            self._found.held[call] = held
            self._found.held_bytes += storage_bytes((t for t, _ in held.versions), self._known)
        if self._stop_early and not self._missing:
            raise _Enough
