"""Energy by layer in; `layer_energy.csv`, the tables and the lines that prove it out.

A blank cell is a value that was not measured. Sums of `energy_j` are exact: nanojoules in decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from layerscope.joules.end_to_end_energy import NANO
from layerscope.joules.energy_by_kind import KindEnergy, by_kind
from layerscope.joules.layer_energy import LayerEnergy, UnitEnergy
from layerscope.report.csv_lines import cell_text, write_csv
from layerscope.report.page import Grid

# A cold unit whose interval is wider than this share of the warm one says nothing.
_TOLD = 0.25
_Cell = str | int | float | None
_COLUMNS: tuple[tuple[str, Callable[[UnitEnergy, LayerEnergy], _Cell]], ...] = (
    ("unit", lambda u, _: u.name),
    ("kind", lambda u, _: u.kind),
    ("phase", lambda u, _: u.phase),
    ("energy_source", lambda u, _: u.source),
    ("layers", lambda u, _: u.layers),
    ("calls", lambda u, _: u.calls),
    ("device_us", lambda u, _: round(u.device_s * 1e6, 3)),
    ("device_share", lambda u, e: _share(u.device_s, sum(x.device_s for x in e.units))),
    ("wall_us", lambda u, _: round(u.wall_s * 1e6, 3)),
    ("energy_j", lambda u, _: u.energy_j),
    ("energy_half_j", lambda u, _: u.half_j),
    ("energy_share", lambda u, e: _share(u.energy_j, _whole_j(e))),
    ("waiting_j", lambda u, _: u.waiting_j),
    ("raw_j", lambda u, _: u.raw_j),
    ("dynamic_j_per_call", lambda u, _: u.dynamic_j),
    ("dynamic_half_j_per_call", lambda u, _: u.dynamic_half_j),
    ("counter_j_per_call", lambda u, _: u.counter_j),
    ("replay_us_per_call", lambda u, _: _scaled(u.replay_s, 1e6)),
    ("replay_w", lambda u, _: u.replay_w),
    ("mean_w", lambda u, _: u.mean_w),
    ("flops", lambda u, _: u.flops),
    ("bytes", lambda u, _: u.bytes_moved),
    ("j_per_flop", lambda u, _: u.j_per_flop),
    ("j_per_byte", lambda u, _: u.j_per_byte),
    ("windows", lambda u, _: u.windows),
    ("how", lambda u, _: u.how),
    ("why_plain", lambda u, _: u.why_plain),
    ("inputs", lambda u, _: u.inputs),
    ("temperature_c", lambda u, _: u.temperature_c),
    ("sm_clock_mhz", lambda u, _: u.sm_clock_mhz),
    ("throttled", lambda u, _: "; ".join(u.throttled)),
    ("reason", lambda u, _: u.reason),
    ("above_idle_j", lambda u, _: u.above_idle_j),
    ("above_idle_half_j", lambda u, _: u.above_idle_half_j),
    ("idle_j", lambda u, _: u.idle_j),
    ("idle_half_j", lambda u, _: u.idle_half_j),
)


def write_layer_energy_csv(found: LayerEnergy, path: Path) -> None:
    """Write one line per replayed unit and per rest.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    rows = ([cell_text(cell(unit, found)) for _, cell in _COLUMNS] for unit in found.units)
    write_csv(path, [name for name, _ in _COLUMNS], rows)


def kind_grid(found: LayerEnergy) -> Grid:
    """Energy by kind of layer beside the share of the device time."""
    kinds = by_kind(found)
    return Grid(
        title="energy by kind of layer, J of the traced batch, reconciled",
        header=(
            *("kind", "phase", "source", "layers", "J", "+-", "J share", "time share"),
            *("J/time", "waiting", "W replayed", "pJ/FLOP", "pJ/B"),
        ),
        rows=tuple(_kind_cells(kind) for kind in kinds),
        footer=(
            *("sum", "", "", f"{sum(kind.layers for kind in kinds):,}"),
            *(f"{sum(kind.energy_j for kind in kinds):,.4f}", "", "", "", "", "", "", "", ""),
        ),
        text=frozenset({"phase", "source"}),
    )


def energy_lines(found: LayerEnergy) -> Iterator[str]:
    """The proof: raw sum, reconciled sum, factor, parts against their layers, what is left open."""
    if found.reason is not None or found.end_to_end is None:
        yield f"energy by layer: not measured: {found.reason}"
        return
    whole = found.end_to_end
    rows_nj = sum(nj for nj, _ in found.by_row.values())
    replayed_j = sum(u.energy_j or 0.0 for u in found.units if u.source == "replay")
    rest_j = sum(u.energy_j or 0.0 for u in found.units if u.source == "apportioned")
    yield (
        f"energy by layer: raw sum {found.raw_j:,.6f} J, measured end to end "
        f"{whole.whole_nj / NANO:,.6f} J, factor {found.factor:.4f}; reconciled sum "
        f"{rows_nj / NANO:,.6f} J, difference {rows_nj - whole.whole_nj} nJ"
    )
    yield (
        f"{replayed_j:,.4f} J replayed, {rest_j:,.4f} J not, apportioned by {found.time_of}; idle power "
        f"{whole.idle_w:.2f} W over {whole.wall_s:.4f} s is {whole.idle_w * whole.wall_s:,.4f} J"
    )
    for part in found.parts:
        steps = ""
        if len(part.by_call) > 1:
            steps = "; by call " + ", ".join(f"{n}: {j:.4g} J" for n, j in part.by_call)
        yield (
            f"{part.part} ({part.phase}) in one go {part.whole_j:,.4f} J above idle, its layers "
            f"{part.layers_j:,.4f} J: ratio {part.ratio:.3f}, with idle power over the "
            f"{part.whole_s * 1e3:,.2f} ms of the one {part.raw_ratio:.3f}; time ratio "
            f"{part.layers_s / part.whole_s:.3f}; they cover {part.covered:.1%} of its {found.time_of}"
            f"{steps}"
        )
    told = [cold for cold in found.cold if cold.half_j and cold.half_j < _TOLD * cold.warm_j]
    for cold in told:
        reach = (cold.half_j or 0.0) / cold.warm_j
        yield (
            f"{cold.name}: cache overwritten before each call, {cold.ratio:.3f} +- {reach:.3f} of warm"
        )
    if len(told) < len(found.cold):
        yield (
            f"{len(found.cold) - len(told)} units with the cache overwritten cannot be told from warm "
            f"ones: overwriting costs too much beside them (interval above {_TOLD:.0%})"
        )
    yield from found.notes


def _kind_cells(kind: KindEnergy) -> tuple[str, ...]:
    ratio = kind.energy_over_time
    per_flop = 1e12 * kind.energy_j / kind.flops if kind.flops else None
    per_byte = 1e12 * kind.energy_j / kind.bytes_moved if kind.bytes_moved else None
    return (
        kind.kind,
        kind.phase,
        kind.source,
        f"{kind.layers:,}",
        f"{kind.energy_j:,.4f}",
        "-" if kind.half_j is None else f"{kind.half_j:.4f}",
        f"{kind.energy_share:.2%}",
        f"{kind.device_share:.2%}",
        "-" if ratio is None else f"{ratio:.2f}",
        f"{kind.waiting_share:.0%}",
        "-" if kind.replay_w is None else f"{kind.replay_w:.1f}",
        "-" if per_flop is None else f"{per_flop:.3g}",
        "-" if per_byte is None else f"{per_byte:.3g}",
    )


def _whole_j(found: LayerEnergy) -> float:
    return found.end_to_end.whole_nj / NANO if found.end_to_end else 0.0


def _share(part: float | None, whole: float) -> float | None:
    return round(part / whole, 9) if part is not None and whole else None


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
