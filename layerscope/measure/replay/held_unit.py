"""A unit, a model and what was captured of its inputs in; a unit that can be played out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from layerscope.core.units import size_text
from layerscope.core.words import first_line
from layerscope.measure.replay.capture import Call, Captured, Generate, capture
from layerscope.measure.replay.inputs import Held
from layerscope.measure.replay.player import (
    Item,
    Player,
    Refused,
    overwriter,
    player_of,
    prepare,
)
from layerscope.measure.replay.weights import (
    in_turn,
    last_cache_bytes,
    turns_needed,
    weight_bytes,
)
from layerscope.records.layer_energy import ReplayUnit

# Kinds of which one unit is measured with the cache overwritten too, those with most device time.
MOST_COLD = 8
# The first call of a path of CUDA graphs runs without one, the second captures it.
_SETTLING = 3
_HELD = "held on the device from one batch"
_COPIED = "copied on the device while the batch ran, since the model changes them later"
_RECREATED = "re-created before each window by running the batch again up to them"


@dataclass(frozen=True)
class Stage:
    """One model with the batch its layers are replayed from.

    Attributes:
        generate: runs the batch.
        captured: the inputs that are held.
        budget_bytes: for inputs that are re-created for one window.
        compiled: FQNs of parts that ran compiled.
    """

    model: torch.nn.Module
    device: str
    generate: Generate
    captured: Captured
    budget_bytes: int
    compiled: frozenset[str] = frozenset()

    @cached_property
    def model_bytes(self) -> int:
        """Weights of the model; counted once, not for each of hundreds of windows."""
        return weight_bytes([self.model])


@dataclass
class HeldUnit:
    """Gets a unit's inputs and makes its player; remembers why there was no graph."""

    unit: ReplayUnit
    stage: Stage
    _no_graph: str | None = None

    def player(self) -> tuple[Player, str]:
        """The player, and where its inputs come from.

        Raises:
            Refused: the unit cannot be replayed.
        """
        held, where = self._inputs()
        modules = dict(self.stage.model.named_modules())
        items = [(modules[fqn], held[fqn, number]) for fqn, number in calls_of(self.unit)]
        cold = self.unit.role == "cold"
        compiled = any(fqn in self.stage.compiled for fqn in self.unit.layers)
        turns = 1 if compiled or cold else self._turns(items)
        graphs = not compiled and self._no_graph is None
        try:
            player = prepare(
                in_turn(items, turns),
                self.stage.device,
                graphs=graphs,
                before_call=self._before_call(cold=cold, compiled=compiled),
                settling=_SETTLING if compiled else 0,
                turns=turns,
            )
        except RuntimeError as error:  # torch's, out of memory among them
            raise Refused(f"fails on replay: {first_line(error)}") from None
        if self._no_graph is not None:
            player = dataclasses.replace(player, why_plain=self._no_graph)
        elif player.how == "plain" and not compiled and self.stage.device == "cuda":
            # A capture that failed once fails again, and costs the stream its state.
            self._no_graph = player.why_plain
        return player, where if turns == 1 else f"{where}; {turns} sets of weights take turns"

    def _before_call(self, *, cold: bool, compiled: bool) -> Callable[[], None]:
        if cold:
            return overwriter(self.stage.device)[0]
        if compiled and self.stage.device == "cuda":
            # Without it torch takes each call for a continuation of the last and captures a new CUDA
            # graph for it: on an H200 a vision tower of 17 ms took 89 ms so.
            return torch.compiler.cudagraph_mark_step_begin
        return lambda: None

    def _turns(self, items: Sequence[Item]) -> int:
        return turns_needed(
            weight_bytes(module for module, _ in items),
            self.stage.model_bytes,
            last_cache_bytes(self.stage.device),
        )

    def _inputs(self) -> tuple[dict[Call, Held], str]:
        wanted = list(calls_of(self.unit))
        captured = self.stage.captured
        if all(call in captured.held for call in wanted):
            found = {call: captured.held[call] for call in wanted}
            return found, _COPIED if any(h.copied for h in found.values()) else _HELD
        missing = [call for call in wanted if call not in captured.held]
        unseen = [call for call in missing if call not in captured.too_large]
        if unseen:
            fqn, number = unseen[0]
            raise Refused(f"cannot be captured: call {number + 1} of {fqn} did not come again")
        again = capture(
            self.stage.model,
            wanted,
            self.stage.generate,
            budget_bytes=self.stage.budget_bytes,
            stop_early=True,
        )
        if any(call not in again.held for call in wanted):
            raise Refused(
                "cannot be captured: its inputs alone are larger than the memory budget of "
                f"{size_text(self.stage.budget_bytes, 'MiB', 0)}"
            )
        return again.held, _RECREATED


@dataclass
class Overwriting:
    """The cost of overwriting the cache, which is taken off the cold units."""

    unit: ReplayUnit
    device: str

    def player(self) -> tuple[Player, str]:
        """A player that overwrites and does nothing else."""
        overwrite, words = overwriter(self.device)
        return player_of(overwrite, self.device), words


def calls_of(unit: ReplayUnit) -> Iterator[Call]:
    """The calls of one pass. Layers take turns, as the steps of the run do."""
    for number in unit.replayed:
        for fqn in unit.layers:
            yield fqn, number


def capture_units(
    units: Iterable[ReplayUnit],
    model: torch.nn.Module,
    generate: Generate,
    budget_bytes: int,
) -> Captured:
    """Keep the inputs of every unit's calls in one batch, as far as the budget goes."""
    wanted = [call for unit in units for call in calls_of(unit)]
    return capture(model, wanted, generate, budget_bytes=budget_bytes)


def cold_units(units: Sequence[ReplayUnit]) -> Iterator[ReplayUnit]:
    """One unit of the largest kinds once more, with the cache overwritten; and that by itself."""
    time_ns: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], ReplayUnit] = {}
    for unit in units:
        if unit.role == "layer":
            time_ns[unit.kind, unit.phase] += unit.device_ns
            first.setdefault((unit.kind, unit.phase), unit)
    seen = [kind for kind, _ in time_ns.most_common(MOST_COLD)]
    for unit in first.values():
        if (unit.kind, unit.phase) in seen:
            yield dataclasses.replace(
                unit, name=f"{unit.name} cold", kind=f"{unit.kind} cold", role="cold"
            )
    if seen:
        yield ReplayUnit(
            name="overwriting the cache",
            kind="overwriting the cache",
            phase="",
            layers=(),
            calls=1,
            replayed=(0,),
            role="overwrite",
        )
