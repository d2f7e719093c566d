"""Thirty layers and the same layers with their work doubled: do their joules double within the bars?

    python benchmarks/doubled_layers.py --out doubled_layers.csv       # about 5 minutes on an H200

Each layer stands twice in one model: by itself, and as a copy that is applied twice to its input. Both
are replayed as `--energy-per-layer` replays blocks, in rounds of random order. The bars are those of
`above_idle_half_j`: the windows' scatter, and the error of idle power, which the rests of windows of the
whole model give. Sizes are those of InstructBLIP-XL's parts at batch 16 and alike, large enough that the
second application finds little in the cache that the first did not. Needs a joule counter: NVML or RAPL.
"""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from math import hypot, sqrt
from pathlib import Path
from statistics import stdev

import click
import torch
from torch import nn

from layerscope.measure.clock import SystemClock
from layerscope.measure.energy.window import BatchDone, WindowTiming, work_window
from layerscope.measure.latency import synchronize
from layerscope.measure.replay.capture import memory_budget
from layerscope.measure.replay.held_unit import HeldUnit, Stage, capture_units
from layerscope.measure.replay.schedule import Bench, replay_units
from layerscope.passes.meters import Meters, meters_of
from layerscope.records.energy_record import EnergyAbsent, EnergyWindow
from layerscope.records.layer_energy import ReplayUnit
from layerscope.stats.energy_summary import window_energy
from layerscope.stats.replay_noise import PassEnergy, pass_energies
from layerscope.stats.student import t_975

# (rows, width, hidden): the vision tower, the T5 encoder, the Q-Former, and wider ones.
SHAPES = (
    (4112, 1408, 6144), (3712, 2048, 5120), (3712, 768, 3072), (8192, 1024, 4096),
    (8192, 2048, 2048), (2048, 4096, 4096), (16384, 768, 3072), (4096, 4096, 4096),
)  # fmt: skip
WANTED = 30
REST_WINDOWS = 5
HEADER = (
    "layer", "once_j", "once_half_j", "twice_j", "twice_half_j", "ratio", "within_bars", "windows"
)  # fmt: skip


class FeedForward(nn.Module):
    """Two products and what lies between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of `width` in and out."""
        return self.down(nn.functional.gelu(self.up(x)))


class Attention(nn.Module):
    """Self-attention in one call of SDPA over 16 sequences."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of `width` in and out."""
        rows, width = x.shape
        parts = self.qkv(x).view(16, rows // 16, 3, width // 64, 64).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        return self.out(mixed.transpose(1, 2).reshape(rows, width))


class Twice(nn.Module):
    """A layer whose weights are applied twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same work two times over; the result of the second."""
        self.layer(x)
        return self.layer(x)


class Model(nn.Module):
    """Every layer once, and every layer twice, each on its own input."""

    def __init__(self, layers: list[nn.Module], rows: list[torch.Tensor]) -> None:
        super().__init__()
        self.once = nn.ModuleList(layers)
        self.twice = nn.ModuleList(Twice(deepcopy(layer)) for layer in layers)
        self._rows = rows

    def forward(self) -> None:
        """Call all of them."""
        for stack in (self.once, self.twice):
            for layer, rows in zip(stack, self._rows, strict=True):
                layer(rows)


def layers_of(small: int) -> Iterator[tuple[str, nn.Module, int, int]]:
    """(name, layer, rows, width), the sizes divided by `small`."""
    kinds: tuple[tuple[str, Callable[[int, int], nn.Module]], ...] = (
        ("feed-forward", lambda w, h: FeedForward(w, h)),
        ("linear", lambda w, h: nn.Linear(w, h)),
        ("attention", lambda w, h: Attention(w)),
        ("norm", lambda w, h: nn.LayerNorm(w)),
    )
    for kind, make in kinds:
        for rows, width, hidden in SHAPES:
            rows, width, hidden = (
                size // small // whole * whole
                for size, whole in ((rows, 16), (width, 64), (hidden, 64))
            )
            yield f"{kind} {rows}x{width}x{hidden}", make(width, hidden), rows, width


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--device", default="cuda", show_default=True)
@click.option("--limit-s", default=240.0, show_default=True, help="Of the replay.")
@click.option("--small", default=1, show_default=True, help="Divides all sizes, to try it out.")
def main(out: Path, device: str, limit_s: float, small: int) -> None:
    """Measure, compare, write the table; ends with 1 where fewer than 28 of 30 double."""
    began = time.monotonic()
    with meters_of(device, SystemClock()) as found, torch.no_grad():
        if isinstance(found.meters, EnergyAbsent):
            sys.exit(found.meters.reason)
        kept = measured(found, device, limit_s, small)
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEADER, *kept])
    right = sum(int(line[6]) for line in kept)
    click.echo(f"{right} of {len(kept)} double within their bars; {time.monotonic() - began:.0f} s")
    sys.exit(0 if right >= WANTED - 2 else 1)


def measured(found: Meters, device: str, limit_s: float, small: int) -> list[list[str]]:
    """One line a layer."""
    assert not isinstance(found.meters, EnergyAbsent)
    torch.manual_seed(0)
    dtype = torch.float16 if device == "cuda" else torch.float32
    made = list(layers_of(small))[:WANTED]
    inputs = [torch.randn(rows, width, device=device, dtype=dtype) for _, _, rows, width in made]
    model = Model([layer for _, layer, _, _ in made], inputs).to(device, dtype).eval()
    names = [name for name, _, _, _ in made]

    def work() -> BatchDone:
        model()
        synchronize(device)
        return BatchDone(batch=0, samples=1, new_tokens=0)

    work()
    rests = []
    for _ in range(REST_WINDOWS):
        window = work_window(found.meters, work, SystemClock(), WindowTiming(min_s=1.0))
        if not isinstance(window, EnergyWindow):
            sys.exit(window.reason)
        rests.append(window_energy(window).rest_w)
    idle_w = sum(rests) / len(rests)
    idle_half_w = t_975(len(rests) - 1) * stdev(rests) / sqrt(len(rests))
    units = [
        ReplayUnit(name=f"{stack}.{at}", kind=stack, phase="forward", layers=(f"{stack}.{at}",),
                   calls=1, replayed=(0,), device_ns=1)
        for stack in ("once", "twice") for at in range(len(made))
    ]  # fmt: skip
    budget, _ = memory_budget(device)
    captured = capture_units(units, model, model, budget)
    stage = Stage(
        model=model, device=device, generate=model, captured=captured, budget_bytes=budget
    )
    bench = Bench(
        meters=found.meters, clock=SystemClock(), synchronize=lambda: synchronize(device),
        idle_w=idle_w, states=found.states,
    )  # fmt: skip
    done = replay_units([HeldUnit(unit, stage) for unit in units], bench, limit_s=limit_s)
    energies = pass_energies(done.units, idle_w)
    return [_line(name, at, energies, idle_half_w) for at, name in enumerate(names)]


def _line(name: str, at: int, energies: dict[str, PassEnergy], idle_half_w: float) -> list[str]:
    once, twice = energies[f"once.{at}"], energies[f"twice.{at}"]
    halves = [hypot(one.half_width_j or 0.0, idle_half_w * one.busy_s) for one in (once, twice)]
    within = abs(twice.dynamic_j - 2 * once.dynamic_j) <= hypot(2 * halves[0], halves[1])
    return [
        name, repr(once.dynamic_j), repr(halves[0]), repr(twice.dynamic_j), repr(halves[1]),
        f"{twice.dynamic_j / once.dynamic_j:.4f}", str(int(within)), str(once.windows + twice.windows),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
