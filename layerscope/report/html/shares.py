"""A layer table in, the report's tables out: each row with the share of the whole its bar shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from layerscope.core.units import ms_three, percent_fixed
from layerscope.joules.energy_by_kind import by_kind
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import Account, LayerTable
from layerscope.report.account_grids import group_grid, phase_grid
from layerscope.report.columns import share_of
from layerscope.report.figures.style import BLUE, ORANGE, ROLES, role_of
from layerscope.report.kinds import kinds_in
from layerscope.report.layer_energy import kind_grid
from layerscope.report.page import Grid
from layerscope.report.sums import Part, by_group, by_phase, total_of
from layerscope.work.roofline import device_ns

_KINDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedGrid:
    """A table whose rows are parts of one whole.

    Attributes:
        shares: of the whole, one a row, 0 to 1; None where not measured.
        colours: of each row's bar: what its layers do, in the figures' palette.
        places: kind, phase and number of layers of each row; empty where rows are no kinds.
    """

    grid: Grid
    shares: tuple[float | None, ...]
    colours: tuple[str, ...]
    places: tuple[tuple[str, str, int], ...] = ()


def phases(table: LayerTable) -> SharedGrid:
    """Self times by phase, summing to the measured whole."""
    return _shared(phase_grid(table), by_phase(table), table, lambda _: BLUE)


def groups(table: LayerTable) -> SharedGrid:
    """Self times by group, largest first, summing to the measured whole."""
    return _shared(group_grid(table), by_group(table), table, lambda name: ROLES[role_of(name)])


def kinds(account: Account) -> SharedGrid | None:
    """The `_KINDS` largest kinds of layers, equal blocks of a stack as one.

    None where no time by layer was measured. The last line holds what is not shown.
    """
    rows = [row for row in account.table.rows if not row.is_bucket]
    times = [(kind, total_of(map(device_ns, kind.members)) or 0) for kind in kinds_in(rows)]
    whole = total_of(map(device_ns, account.table.rows))
    if not whole:
        return None
    held = sorted((item for item in times if item[1]), key=lambda item: -item[1])
    shown, rest = held[:_KINDS], whole - sum(time for _, time in held[:_KINDS])
    on_device = account.table.whole.device_sum_ns is not None
    kernels = ("kernels",) if on_device else ()
    down_to = accumulate(time for _, time in shown)
    cells = tuple(
        (
            kind.name,
            kind.row.phase,
            kind.row.group,
            f"{kind.row.calls:,}",
            *((f"{kind.row.kernels:,}",) if on_device else ()),
            ms_three(time),
            _percent(share_of(time, whole)),
            _percent(share_of(held_so_far, whole)),
        )
        for (kind, time), held_so_far in zip(shown, down_to, strict=True)
    )
    name = "gpu self ms" if on_device else "operator self ms"
    blank = ("",) * (3 + len(kernels))
    grid = Grid(
        title=f"the {len(shown)} largest of {len(held)} kinds of layers, equal blocks as one",
        header=("layer", "phase", "group", "calls", *kernels, name, "share", "sum"),
        rows=cells,
        footer=("all others", *blank, ms_three(rest), _percent(share_of(rest, whole)), ""),
        text=frozenset({"phase", "group"}),
    )
    return SharedGrid(
        grid=grid,
        shares=tuple(share_of(time, whole) for _, time in shown),
        colours=tuple(ROLES[role_of(kind.row.group)] for kind, _ in shown),
        places=tuple((kind.row.kind, kind.row.phase, len(kind.members)) for kind, _ in shown),
    )


def energy_shares(found: LayerEnergy) -> SharedGrid | None:
    """Joules by kind of layer, most first; None where there are none."""
    if found.reason is not None:
        return None
    kinds = by_kind(found)
    return SharedGrid(
        grid=kind_grid(found),
        shares=tuple(kind.energy_share for kind in kinds),
        colours=(ORANGE,) * len(kinds),
    )


def _shared(
    grid: Grid, parts: tuple[Part, ...], table: LayerTable, colour_of: Callable[[str], str]
) -> SharedGrid:
    on_device = table.whole.device_sum_ns is not None
    shares = {part.name: part.gpu_share if on_device else part.cpu_share for part in parts}
    names = [row[0] for row in grid.rows]
    return SharedGrid(
        grid=grid,
        shares=tuple(shares[name] for name in names),
        colours=tuple(map(colour_of, names)),
    )


def _percent(share: float | None) -> str:
    return "" if share is None else percent_fixed(share)
