"""The roofline of each row: rows, counted work and measured rates in, the same rows filled in out.

Per row: intensity = FLOPs / bytes; roofline = max(Σ FLOPs / matmul rate of their dtype, bytes /
copy rate); fraction = roofline / device time. Bytes are operator traffic, which the last cache may
serve faster than memory does, so that a memory-bound fraction above 1 is possible and says just that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from layerscope.core.errors import AccountingError
from layerscope.records.layer_table import LayerRow, parent_of
from layerscope.records.waits import NO_WAIT, Waited, Waits
from layerscope.records.work import CountedWork, WorkRow
from layerscope.work.floor import Floor
from layerscope.work.rates import Rates

# A share above this is no rounding.
MOST_SHARE = 1.005

BOUNDS = ("compute", "memory", "launch", "idle", "")


def with_work(rows: Sequence[LayerRow], work: CountedWork, root: str) -> tuple[LayerRow, ...]:
    """Fill in FLOPs, MACs, bytes and peak memory; buckets stay as they are.

    Args:
        rows: the layer table's rows; a layer that did work must have its row, and so must the
            layers above it in that phase.
        root: name of the root row.

    Raises:
        AccountingError: work was counted for a (layer, phase) that has no row.
    """
    done = {(row.layer, row.phase): row for row in work.rows}
    totals: dict[tuple[str, str], int] = defaultdict(int)
    unknown: set[tuple[str, str]] = set()
    for (layer, phase), counted in done.items():
        for above in _chain(layer, root):
            totals[above, phase] += counted.counted_flops
            unknown |= {(above, phase)} if counted.flops is None else set()
    placed = {(row.layer, row.phase) for row in rows if not row.is_bucket}
    worked = [*(key for key, flops in totals.items() if flops), *sorted(unknown)]
    lost = [key for key in worked if key not in placed]
    if lost:
        layer, phase = lost[0]
        raise AccountingError(
            f"{layer} ({phase}): {totals[lost[0]]} FLOPs were counted for a row the trace lacks"
            f" ({len(lost)} such rows); count and trace must run the same batch."
        )
    return tuple(
        row
        if row.is_bucket
        else _row_with_work(
            row, done.get(_key(row)), None if _key(row) in unknown else totals[_key(row)]
        )
        for row in rows
    )


def with_roofline(
    rows: Sequence[LayerRow], work: CountedWork, rates: Rates, waits: Waits | None = None
) -> tuple[LayerRow, ...]:
    """Fill in intensity, achieved rates, roofline and what bounds the row.

    Without `waits`, as on a run without a device, nothing says which rows the device waited for.
    A row without work or without device time keeps blanks. On a CPU run the operators' own time
    stands for the device's.
    """
    done = {(row.layer, row.phase): row for row in work.rows}
    return tuple(
        row
        if row.is_bucket
        else _row_with_roofline(
            row, done.get(_key(row)), rates, (waits or {}).get(_key(row), NO_WAIT)
        )
        for row in rows
    )


def device_ns(row: LayerRow) -> int | None:
    """Device time of a row's own work; on a CPU run the time inside operators."""
    return row.gpu_self_ns if row.gpu_self_ns is not None else row.op_self_ns


def sum_ns(rows: Iterable[LayerRow]) -> int:
    """Device time of these rows' own work; on a CPU run the time inside operators."""
    return sum(device_ns(row) or 0 for row in rows)


def bound_of(
    row: LayerRow, compute_ns: float | None, memory_ns: float, waited: Waited = NO_WAIT
) -> str:
    """What keeps a row from being faster.

    - "launch": before its events the device stood idle for at least as long as they took, mostly
      because the host launched them late. On a CPU run: more host time outside operators than inside.
    - "idle": the device stood idle for as long, but waited for something other than a late launch.
    - "compute", "memory": the device worked most of the time; whichever ceiling takes longer.
    - "": no device time, or no ceiling to hold it against.

    Host time itself says nothing: a host that runs ahead of the device makes nothing wait.
    """
    busy = device_ns(row)
    if not busy:
        return ""
    if row.gpu_self_ns is None:
        if row.cpu_self_ns is not None and row.cpu_self_ns - busy > busy:
            return "launch"
    elif waited.idle_ns >= busy:
        return "launch" if 2 * waited.late_ns >= waited.idle_ns else "idle"
    if compute_ns is None or (compute_ns == 0 and memory_ns == 0):
        return ""
    return "compute" if compute_ns >= memory_ns else "memory"


@dataclass(frozen=True, kw_only=True)
class PhaseUse:
    """How much of the device one phase used, against its device time.

    Attributes:
        of_matmul_rate: Σ FLOPs / measured matmul rate of their dtype, over device time: the share of
            the reachable arithmetic that was used while a kernel ran. None without a rate, without
            time or with products missing, or where `reason` says.
        traffic_use: operator traffic / copy rate over device time; above 1 where L2 served it.
        floor_use: the phase's floor over device time; None without a floor, or where `reason` says.
        reason: why a share above 1, which cannot be, is left out.
    """

    phase: str
    device_ns: int
    flops: int | None
    bytes_moved: int
    tflops_per_s: float | None
    gb_per_s: float | None
    of_matmul_rate: float | None
    traffic_use: float | None
    floor_use: float | None
    reason: str = ""


def phase_use(
    rows: Iterable[LayerRow], work: CountedWork, rates: Rates, floor: Floor
) -> tuple[PhaseUse, ...]:
    """Use of arithmetic and memory by phase, in the order the phases first appear."""
    times: dict[str, int] = {}
    for row in rows:
        if not row.is_bucket:
            times[row.phase] = times.get(row.phase, 0) + (device_ns(row) or 0)
    floors = floor.by_phase()
    return tuple(
        _use_of(phase, [r for r in work.rows if r.phase == phase], time, rates, floors.get(phase))
        for phase, time in times.items()
    )


def _use_of(
    phase: str, counted: list[WorkRow], time_ns: int, rates: Rates, floor_ns: float | None
) -> PhaseUse:
    known = [row.flops for row in counted if row.flops is not None]
    flops = sum(known) if len(known) == len(counted) else None
    moved = sum(row.bytes_self for row in counted)
    by_row = [rates.compute_ns(row.flops_by_dtype) for row in counted]
    times = [value for value in by_row if value is not None]
    compute_ns = sum(times) if len(times) == len(by_row) and flops is not None else None
    used = compute_ns / time_ns if time_ns and compute_ns is not None else None
    floor_use = floor_ns / time_ns if time_ns and floor_ns is not None else None
    above = [
        what
        for what, share in (("share of the matmul rate", used), ("floor", floor_use))
        if share and share > MOST_SHARE
    ]
    return PhaseUse(
        phase=phase,
        device_ns=time_ns,
        flops=flops,
        bytes_moved=moved,
        tflops_per_s=flops / time_ns / 1e3 if time_ns and flops is not None else None,
        gb_per_s=moved / time_ns if time_ns else None,
        of_matmul_rate=None if "share of the matmul rate" in above else used,
        traffic_use=rates.memory_ns(moved) / time_ns if time_ns else None,
        floor_use=None if "floor" in above else floor_use,
        reason=f"{' and '.join(above)} of {phase} above its time, an error of ours"
        if above
        else "",
    )


def _row_with_work(row: LayerRow, counted: WorkRow | None, flops_total: int | None) -> LayerRow:
    return replace(
        row,
        flops_self=counted.flops if counted else 0,
        flops_total=flops_total,
        macs_total=None if flops_total is None else flops_total // 2,
        bytes_self=counted.bytes_self if counted else 0,
        memory_peak_bytes=counted.memory_peak_bytes if counted else None,
        dtype=row.dtype or (_dtypes(counted) if counted else None),
    )


def _row_with_roofline(
    row: LayerRow, counted: WorkRow | None, rates: Rates, waited: Waited
) -> LayerRow:
    busy = device_ns(row)
    if counted is None or (counted.flops == 0 and not counted.bytes_self):
        return replace(row, bound=bound_of(row, None, 0.0, waited))
    flops = counted.flops
    compute_ns = None if flops is None else rates.compute_ns(counted.flops_by_dtype)
    memory_ns = rates.memory_ns(counted.bytes_self)
    roofline = None if compute_ns is None else round(max(compute_ns, memory_ns))
    return replace(
        row,
        intensity=flops / counted.bytes_self if counted.bytes_self and flops is not None else None,
        tflops_per_s=flops / busy / 1e3 if busy and flops is not None else None,
        gb_per_s=counted.bytes_self / busy if busy else None,
        roofline_ns=roofline,
        roofline_fraction=roofline / busy if busy and roofline is not None else None,
        bound=bound_of(row, compute_ns, memory_ns, waited),
    )


def _chain(layer: str, root: str) -> Iterable[str]:
    """A layer and those above it, the root last."""
    while layer != root:
        yield layer
        layer = parent_of(layer, root)
    yield root


def _key(row: LayerRow) -> tuple[str, str]:
    return row.layer, row.phase


def _dtypes(counted: WorkRow) -> str | None:
    return "+".join(sorted(counted.flops_by_dtype)) or None
