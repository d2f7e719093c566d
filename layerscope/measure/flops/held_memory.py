"""What each call allocates, keeps and frees of memory, itself: storages that operators make, by call.

A storage belongs to the call that ran when an operator returned it for the first time; its end to the
call that runs then, whoever made it. Workspaces inside an operator are not seen, and sizes are those of
the tensors, not of an allocator's blocks. What was there before, weights and inputs, is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from layerscope.measure.flops.storages import Storages

if TYPE_CHECKING:
    import torch

METHOD = "storages that operators return, workspaces not seen"


@dataclass(slots=True)
class Held:
    """One call of a layer, without the calls inside it. Bytes.

    Attributes:
        allocated: of all storages made while it ran itself.
        freed: of all storages that ended while it ran itself.
        largest: the largest that it made.
        alive: what is left now of what it made.
        retained: what was left when the call ended: its result, a cache that grew.
    """

    allocated: int = 0
    freed: int = 0
    largest: int = 0
    alive: int = 0
    retained: int = 0

    def join(self, call: Held) -> None:
        """Add another call of the layer; the largest stays the largest."""
        self.allocated += call.allocated
        self.freed += call.freed
        self.retained += call.retained
        self.largest = max(self.largest, call.largest)


class Holdings:
    """Follows storages from the operator that made them to their end.

    Args:
        devices: kinds of devices whose storages count: those that hold the model.
        running: the holdings of the call that runs now; None outside any.
    """

    def __init__(self, devices: Iterable[str], running: Callable[[], Held | None]) -> None:
        self._devices = frozenset(devices)
        self._running = running
        self._storages = Storages()

    def existed(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tensors that an operator is given: what nobody made before is nobody's."""
        for tensor in tensors:
            self._note(tensor, None)

    def made(self, tensors: Iterable[torch.Tensor]) -> None:
        """Tensors that an operator returned: storages that are new are those of the running call."""
        for tensor in tensors:
            self._note(tensor, self._running())

    def _note(self, tensor: torch.Tensor, maker: Held | None) -> None:
        if tensor.device.type not in self._devices:
            return
        if maker is None:  # it came from outside, and its end is none of the run's
            self._storages.first(tensor, _nothing)
            return
        size = self._storages.first(tensor, partial(self._ended, maker))
        if size is not None:
            maker.allocated += size
            maker.alive += size
            maker.largest = max(maker.largest, size)

    def _ended(self, maker: Held, size: int) -> None:
        maker.alive -= size
        running = self._running()
        if running is not None:
            running.freed += size


def _nothing(_size: int) -> None: ...
