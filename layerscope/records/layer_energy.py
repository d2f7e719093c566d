"""`ReplayRecord`: the raw windows of replayed layers; every joule of a layer is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerscope.core.errors import UsageError
from layerscope.core.roles import PARTS
from layerscope.records.energy_record import DeviceState, EnergyWindow

Granularity = Literal["blocks", "groups"]
Source = Literal["replay", "apportioned"]

GRANULARITIES: tuple[Granularity, ...] = ("blocks", "groups")
COLD = "cold"
DEFAULT = "blocks"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayChoice:
    """What `--energy-per-layer=WORDS` asks for.

    Attributes:
        granularity: "blocks": each block of a stack by itself, and what lies outside stacks;
            "groups": all layers of one group and phase together.
        parts: only modules of these parts; empty for all.
        cold: measure one layer of each kind with the device's cache overwritten before every call.
    """

    granularity: Granularity = "blocks"
    parts: tuple[str, ...] = ()
    cold: bool = False


def read_choice(text: str) -> ReplayChoice:
    """Words joined by commas: a granularity, names of parts, `cold`.

    Raises:
        UsageError: a word that is none of these, or two granularities.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = (*GRANULARITIES, COLD, *PARTS)
    for word in words:
        if word not in known:
            raise UsageError(
                f"--energy-per-layer: unknown word `{word}`; known: {', '.join(known)}."
            )
    sizes = [size for size in GRANULARITIES if size in words]
    if len(sizes) > 1:
        raise UsageError("--energy-per-layer: blocks and groups: choose one.")
    return ReplayChoice(
        granularity=sizes[0] if sizes else "blocks",
        parts=tuple(part for part in PARTS if part in words),
        cold=COLD in words,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayWindow:
    """One window in which a unit was replayed and nothing else ran.

    Attributes:
        window: edges and batches; a batch is a run of passes, its `samples` says how many.
        turn: how many windows, of any unit, were measured before it.
        states: what the devices said of themselves in the middle of the work.
        throttled: reasons why a device held its clocks down then; empty for none.
        repeats: windows thrown away before this one because a device throttled.
    """

    window: EnergyWindow
    turn: int
    states: tuple[DeviceState, ...] = ()
    throttled: tuple[str, ...] = ()
    repeats: int = 0

    @property
    def passes(self) -> int:
        """How often the unit's calls ran."""
        return sum(batch.samples for batch in self.window.batches)

    @property
    def busy_s(self) -> float:
        """Time in passes."""
        return sum(batch.end_ns - batch.start_ns for batch in self.window.batches) / 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayUnit:
    """What one window replays: a module, or several one after the other.

    Attributes:
        name: unique; the module's FQN and the phase, or the group and the phase.
        kind: what it is one of: "vision.layers", "decoder.block", a group.
        layers: FQNs replayed, in the order they run; disjoint from those of every other unit that
            is not a whole.
        calls: of each layer in the traced batch, in this phase.
        device_ns: device time of the unit's rows in the trace (host time on a CPU run); where time is
            short, large units go first.
        replayed: call numbers, from 0, of each layer that one pass replays; fewer than `calls`
            where a step's cost changes with the length of the cache.
        role: "layer" counts towards the sum; "whole" is a part in one go, to check it; "cold" is a
            layer with the cache overwritten before each call; "overwrite" is that alone.
        how: "CUDA graph" or "plain".
        why_plain: why there is no graph.
        inputs: where the inputs came from, in words.
        reason: why there are no windows to trust; None when there are.
    """

    name: str
    kind: str
    phase: str
    layers: tuple[str, ...]
    calls: int
    replayed: tuple[int, ...]
    device_ns: int = 0
    role: Literal["layer", "whole", "cold", "overwrite"] = "layer"
    how: str = ""
    why_plain: str | None = None
    inputs: str = ""
    windows: tuple[ReplayWindow, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReplayRecord:
    """The replay pass of one run, or the reason why there was none.

    Attributes:
        sources: one sentence per counter.
        memory: the budget for held inputs and what was used of it, in words.
        stopped: why no further window was measured.
    """

    choice: ReplayChoice
    sources: tuple[str, ...] = ()
    seed: int = 0
    limit_s: float = 0.0
    spent_s: float = 0.0
    memory: str = ""
    stopped: str = ""
    units: tuple[ReplayUnit, ...] = ()
    reason: str | None = None
