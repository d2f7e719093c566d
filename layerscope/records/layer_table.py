"""`LayerTable`: one row per (layer, phase) and one per named bucket, in integer nanoseconds.

`check()` proves that the rows add up to what was measured as a whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from layerscope.core.cached import cached_property
from layerscope.core.columns import LayerRow
from layerscope.core.errors import AccountingError

__all__ = [
    "LayerRow",
    "LayerTable",
    "ThreadWindow",
    "Whole",
    "flops_of",
    "params_once",
    "parent_of",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ThreadWindow:
    """Rule 2 on one thread. Nanoseconds.

    Attributes:
        thread: as the system numbers it.
        window_ns: a capture's block, or from the thread's first range to its last.
        rows_ns: what its ranges and its time outside them add up to.
    """

    thread: str
    window_ns: int
    rows_ns: int


@dataclass(frozen=True, kw_only=True)
class Whole:
    """What was measured as a whole, independently of the rows. Nanoseconds; None: not measured."""

    device_events: int
    device_sum_ns: int | None  # sum of the durations of all device events
    device_active_ns: int | None  # union of their intervals
    window_span_ns: int | None  # first device or range start to last device or range end
    host_window_ns: int | None  # of the threads in `host_threads`, added up
    flops: int | None = None
    energy_nj: int | None = None  # one batch, unprofiled; the rows' joules are reconciled to it
    host_threads: tuple[
        ThreadWindow, ...
    ] = ()  # the calling thread first; empty: read from a table


@dataclass(frozen=True, kw_only=True)
class LayerTable:
    """The account of one trace.

    Attributes:
        rows: tree order, a layer's phases in the order they ran, the buckets last.
        root: name of the root row.
        expected_calls: FQN -> calls that the model's structure demands, or None with the reason
            in `notes` when that rule does not apply.
        misplaced: where compiled code's heavy operators are in other layers than eagerly, in words.
        faults: what is known to be missing from the rows, in words; each fails the check.
    """

    rows: tuple[LayerRow, ...]
    root: str
    whole: Whole
    expected_calls: Mapping[str, int] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    misplaced: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def failures(self) -> tuple[str, ...]:
        """Every rule that does not hold, in words with its difference. Empty when all hold."""
        return self._failures

    @cached_property
    def _failures(self) -> tuple[str, ...]:
        # Asked for by the screen, the record and `check()`; a table does not change.
        return (
            *self._device_failures(),
            *self._host_failures(),
            *self._tree_failures(),
            *self._call_failures(),
            *self._flops_failures(),
            *self._energy_failures(),
            *self.misplaced,
            *self.faults,
        )

    def check(self) -> None:
        """Prove the account.

        Raises:
            AccountingError: naming the first rules that fail and by how much.
        """
        failures = self.failures()
        if failures:
            more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
            raise AccountingError("the account does not add up: " + "; ".join(failures[:3]) + more)

    @property
    def device_difference_ns(self) -> int | None:
        """Rule 1: sum of the rows minus the sum over the device events; None without a device."""
        if self.whole.device_sum_ns is None:
            return None
        return sum(row.gpu_self_ns or 0 for row in self.rows) - self.whole.device_sum_ns

    @property
    def host_difference_ns(self) -> int | None:
        """Rule 2: sum of the rows minus the windows of the threads."""
        if self.whole.host_window_ns is None:
            return None
        return sum(row.cpu_self_ns or 0 for row in self.rows) - self.whole.host_window_ns

    @property
    def energy_difference_nj(self) -> int | None:
        """Rule 6: sum of the rows minus the batch measured whole; None where none was."""
        if self.whole.energy_nj is None:
            return None
        rows = sum(round(row.energy_j * 1e9) for row in self.rows if row.energy_j is not None)
        return rows - self.whole.energy_nj

    def _device_failures(self) -> list[str]:
        found = []
        if self.device_difference_ns:
            found.append(f"device time: rows minus trace = {self.device_difference_ns} ns")
        kernels = sum(row.kernels for row in self.rows)
        if kernels != self.whole.device_events:
            found.append(f"device events: rows {kernels}, trace {self.whole.device_events}")
        active, total = self.whole.device_active_ns, self.whole.device_sum_ns
        if active is not None and total is not None and active > total:
            found.append(f"device active {active} ns exceeds the sum {total} ns")
        return found

    def _host_failures(self) -> list[str]:
        found = []
        if self.host_difference_ns:
            found.append(f"host time: rows minus window = {self.host_difference_ns} ns")
        found.extend(
            f"host time of thread {one.thread}: rows minus window = {one.rows_ns - one.window_ns} ns"
            for one in self.whole.host_threads
            if one.rows_ns != one.window_ns
        )
        found.extend(
            f"{row.layer} ({row.phase}): negative host self time"
            for row in self.rows
            if row.cpu_self_ns is not None and row.cpu_self_ns < 0
        )
        return found

    def _tree_failures(self) -> list[str]:
        """Rule 3: total = self + children's totals of the same phase, on each measure."""
        found = []
        for measure in ("gpu", "cpu", "flops"):
            found.extend(self._tree_failures_of(measure))
        return found

    def _tree_failures_of(self, measure: str) -> list[str]:
        unit = "" if measure == "flops" else "_ns"
        own_of, total_of = (attrgetter(f"{measure}_{what}{unit}") for what in ("self", "total"))
        layers = [row for row in self.rows if not row.is_bucket]
        totals = {(row.layer, row.phase): total_of(row) for row in layers}
        if all(total is None for total in totals.values()):
            return []
        below: dict[tuple[str, str], int] = defaultdict(int)
        blank = {(row.layer, row.phase) for row in layers if own_of(row) is None}
        for (layer, phase), total in totals.items():
            if layer != self.root:
                above = (parent_of(layer, self.root), phase)
                below[above] += total or 0
                blank |= {above} if total is None else set()
        found = []
        for row in layers:
            key = (row.layer, row.phase)
            difference = (totals[key] or 0) - (own_of(row) or 0) - below.pop(key, 0)
            if measure == "flops" and (key in blank or totals[key] is None):
                # What is not known of a layer is not known of those above it either.
                if (key in blank) != (totals[key] is None):
                    found.append(f"{row.layer} ({row.phase}): FLOPs of a layer below are not known")
            elif difference:
                found.append(
                    f"{row.layer} ({row.phase}): {measure} total off by {difference}{unit}"
                )
        found.extend(f"{layer} ({phase}): row missing" for (layer, phase), v in below.items() if v)
        return found

    def _call_failures(self) -> list[str]:
        """Rule 4: calls per layer equal what the structure demands times the steps counted."""
        if self.expected_calls is None:
            return []
        calls: Counter[str] = Counter()
        for row in self.rows:
            if not row.is_bucket:
                calls[row.layer] += row.calls
        return [
            f"{layer}: {calls[layer]} calls, the structure demands {expected}"
            for layer, expected in self.expected_calls.items()
            if calls[layer] != expected
        ]

    def _flops_failures(self) -> list[str]:
        """Rule 5: FLOPs by layer sum to the counter's total.

        Where products are missing there is no total; that what was counted sums to the counter's sum
        is then held before it becomes rows (`with_counted_work`).
        """
        if self.whole.flops is None:
            return []
        difference = sum(row.flops_self or 0 for row in self.rows) - self.whole.flops
        return [f"FLOPs: rows minus counter = {difference}"] if difference else []

    def _energy_failures(self) -> list[str]:
        """Rule 6: joules by layer sum to the joules measured whole, to the nanojoule."""
        difference = self.energy_difference_nj
        return [f"energy: rows minus whole = {difference} nJ"] if difference else []


def flops_of(rows: Iterable[LayerRow]) -> int | None:
    """Sum of these rows' own FLOPs; None where one layer's are not known. Buckets hold none."""
    own = [row.flops_self for row in rows if not row.is_bucket]
    known = [flops for flops in own if flops is not None]
    return sum(known) if own and len(known) == len(own) else None


def parent_of(layer: str, root: str) -> str:
    """The layer above `layer` in the FQN tree; the top modules hang below the root."""
    return layer.rpartition(".")[0] or root


def params_once(rows: Iterable[LayerRow]) -> tuple[LayerRow, ...]:
    """The rows, a layer's parameters in the row of the first phase that calls it and in no other.

    A layer that none calls has them in its first row.
    """
    held = list(rows)
    first: dict[str, int] = {}
    for at, row in enumerate(held):
        if row.params is not None and (
            row.layer not in first or (row.calls and not held[first[row.layer]].calls)
        ):
            first[row.layer] = at
    return tuple(
        replace(row, params=None) if row.params is not None and first[row.layer] != at else row
        for at, row in enumerate(held)
    )
