"""What is learnt of the calls behind a traced one: what they cost in joules, and what one computes."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layerscope.core.files import write_json
from layerscope.core.vocabulary import ROOT_FORWARD, ROOT_GENERATE
from layerscope.core.words import kind_and_first_line
from layerscope.measure.clock import Clock, SystemClock
from layerscope.records.energy_record import EnergyAbsent
from layerscope.records.program_energy import ProgramEnergy
from layerscope.run.program.counters import (
    OpenMeters,
    close_meters,
    open_meters,
    read_of,
    uuids_of,
)
from layerscope.run.program.shapes import shapes_of
from layerscope.run.program.spool import DEVICES, ENERGY, READY, UNCOUNTED, WORK
from layerscope.run.program.steady import SteadyCalls

_NEVER_CAME = "no later call of the model had the traced one's shapes"
_TRAINS = (
    "the traced window is a step of training, whose backward and optimizer the counter does not "
    "see; FLOPs of the forward alone would stand beside the times of all three"
)
_COMPILED = (
    "the model runs compiled, and operators inside compiled code bypass the counter; run eagerly, the "
    "program's results would be rounded otherwise"
)


@dataclass(frozen=True, kw_only=True)
class TracedCall:
    """What a window held.

    Attributes:
        shapes: of the call's inputs.
        generates: whether the call is `generate()`.
        trains: whether it was a step of training.
        calls: how many there were.
    """

    shapes: dict[str, list[int]]
    generates: bool
    trains: bool
    calls: int = 1


class Afterwards:
    """The calls of one model behind one window of it.

    Args:
        model: the root that was traced; it is not kept alive.
        folder: of the window; takes what is found, as soon as it is.
        traced: what the window held; calls like it are measured.
        counts: whether a call is to be counted.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        folder: Path,
        traced: TracedCall,
        *,
        counts: bool = False,
        clock: Clock | None = None,
        meters: OpenMeters | None = None,
    ) -> None:
        self._model = weakref.ref(model)
        self._folder = folder
        self._shapes, self._generates = traced.shapes, traced.generates
        self._uncounted = _why_not(model, traced.trains, traced.calls) if counts else ""
        self._counts = counts and not self._uncounted
        if self._uncounted:
            self._say_uncounted(self._uncounted)
        self._first = True  # the one that begins when the trace has just been written
        self._is_counting = self._is_ready = False
        self._meters: Any = ()
        self._steady: SteadyCalls | None = None
        uuids = uuids_of(model)
        found = (meters or open_meters)(uuids)
        if isinstance(found, EnergyAbsent):
            self._write_energy(ProgramEnergy(reason=found.reason))
            return
        self._meters = found
        write_json(folder / DEVICES, uuids)
        self._steady = SteadyCalls(
            read_of(found),
            clock or SystemClock(),
            traced.shapes,
            whole_steps=traced.trains or (bool(uuids) and not traced.generates),
        )
        self._write_energy(self._steady.record())

    def is_of(self, module: torch.nn.Module, generates: bool) -> bool:
        """Whether it is this model's calls that are waited for."""
        return generates is self._generates and module is self._model()

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be learnt."""
        return self._steady is None and not self._counts

    def begins(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, alone: bool) -> bool:
        """A call begins; whether it is to be counted (`count`).

        Args:
            alone: no other call of a model runs now.
        """
        if self._first:
            self._first = False
            return False
        if self.is_done:
            return False
        shapes = shapes_of(args, kwargs)
        if self._counts and alone and shapes == self._shapes:
            self._counts, self._is_counting = False, True
            self.disturbed()
            return True
        if self._steady is not None:
            if alone:
                self._steady.begins(shapes)
            else:
                self._steady.disturbed()
            if self._steady.is_done:
                self._end_energy()
        return False

    def count(self, module: torch.nn.Module, run: Callable[[], Any]) -> Any:
        """Run the call and count what it computes; its result."""
        try:
            from layerscope.measure.flops import overhear_work
        except Exception as error:
            self._say_uncounted(kind_and_first_line(error))
            return run()
        root = ROOT_GENERATE if self._generates else ROOT_FORWARD
        heard = overhear_work(module, run, root=root)
        with contextlib.suppress(OSError):  # a full disk is not the program's trouble
            if heard.work is None:
                self._say_uncounted(heard.reason)
            else:
                write_json(self._folder / WORK, heard.work, indented=False)
        return heard.result

    def ended(self, module: torch.nn.Module, generates: bool) -> None:
        """A call has ended, of this model or another."""
        if not self.is_of(module, generates):
            return
        if self._is_counting:
            self._is_counting = False
        elif self._steady is not None and self._steady.ends():
            self._write_energy(self._steady.record())

    def failed(self) -> None:
        """The call that began last, or another model's, has raised."""
        if self._is_counting:
            self._is_counting = False
            self._say_uncounted("the call that was counted raised an error of the program's")
        self.disturbed()

    def disturbed(self) -> None:
        """Another call ran meanwhile: it is no steady repetition."""
        if self._steady is not None:
            self._steady.disturbed()

    def is_over(self) -> None:
        """Nothing more comes of the window: it may be saved while the program goes on."""
        if not self._is_ready and self._folder.is_dir():
            self._is_ready = True
            (self._folder / READY).touch()

    def close(self) -> None:
        """Write what there is; nothing is looked at any more."""
        if self._counts:
            self._say_uncounted(_NEVER_CAME)
        elif self._is_counting:
            self._say_uncounted("the program ended inside the call that was counted")
        self._counts = self._is_counting = False
        self._end_energy()
        self.is_over()

    def _end_energy(self) -> None:
        if self._steady is not None:
            self._write_energy(self._steady.record())
            self._steady = None
            close_meters(self._meters)

    def _write_energy(self, energy: ProgramEnergy) -> None:
        if self._folder.is_dir():  # of windows the newest alone are kept
            write_json(self._folder / ENERGY, energy, indented=False)

    def _say_uncounted(self, why: str) -> None:
        if self._folder.is_dir():
            (self._folder / UNCOUNTED).write_text(why, encoding="utf-8")


def _why_not(model: torch.nn.Module, trains: bool, calls: int) -> str:
    """Why no call of this model can be counted; "" where one can."""
    from layerscope.private.modules import compiled_call, original_of

    if trains:
        return _TRAINS
    if calls > 1:
        return f"the window holds {calls} calls, and one is counted; leave out --steps"
    modules = model.modules()
    if any(original_of(m) is not None or compiled_call(m) is not None for m in modules):
        return _COMPILED
    return ""
