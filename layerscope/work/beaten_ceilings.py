"""Ceilings and the rows of a run in, ceilings that nothing in the run beats out, with what was said.

A ceiling that a layer runs above is none: it is raised to what the layer reached. Not every row can
show that. A convolution may multiply less than it counts (Winograd) or in TF32, a fused attention may
skip what a mask hides, and the time of a compiled layer may be a share of a kernel's: such rows raise
nothing by themselves. Bytes that the last cache can hold need not travel at the memory's rate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from layerscope.core.units import two_digits
from layerscope.core.words import counted
from layerscope.records.layer_table import LayerRow
from layerscope.records.plausible_ceilings import impossible, rate_text
from layerscope.records.work import COPY, Ceilings, CountedWork, Raised
from layerscope.work.rates import Rates, rates_of
from layerscope.work.roofline import device_ns

# What lies nearer is within the rounding of the clocks.
BEATS = 1.005
# Below this much time a row's rate is the clock's resolution rather than the device's speed.
LEAST_NS = 10_000
# No last cache of a GPU is that many times as fast as its memory; the near caches of a CPU are faster.
CACHE_OVER_MEMORY = {True: 4.0, False: 20.0}
_TIMED = frozenset({None, "range", "exact"})
Fp32Matmul = Literal["highest", "high"]


@dataclass(frozen=True, slots=True)
class Believed:
    """What is left of the ceilings, None where not even the copy rate is one, and what changed."""

    ceilings: Ceilings | None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Used:
    """One row: what it did, and how long it took."""

    row: LayerRow
    flops_by_dtype: dict[str, int]
    time_ns: int
    events: int

    @property
    def where(self) -> str:
        return f"{self.row.layer} ({self.row.phase})"


def believed(
    ceilings: Ceilings,
    rows: Sequence[LayerRow],
    work: CountedWork | None,
    fp32_matmul: Fp32Matmul,
    fused_attention: Collection[tuple[str, str]] = (),
) -> Believed:
    """Leave out what cannot be a rate, raise what the rows beat.

    Args:
        rows: with FLOPs, bytes and times; their rooflines are not looked at.
        work: what was counted; without it a row's `dtype` says what its FLOPs were.
        fused_attention: (layer, phase) of rows whose attention was one kernel.
    """
    wrong = impossible(ceilings)
    if COPY in wrong:
        return Believed(None, (f"the recorded ceilings are not used: {'; '.join(wrong.values())}",))
    lines = [f"a recorded ceiling is not used: {reason}" for reason in wrong.values()]
    held = replace(
        ceilings,
        matmul_flops_per_s={
            name: rate for name, rate in ceilings.matmul_flops_per_s.items() if name not in wrong
        },
        absent={**ceilings.absent, **{name: f"not used: {why}" for name, why in wrong.items()}},
    )
    used = _used_rows(rows, work)
    fused = set(fused_attention)
    held, beaten = _raised_by_rows(held, used, fp32_matmul, fused)
    lines += beaten
    held, beaten = _raised_by_phases(held, used, fp32_matmul, fused)
    return Believed(held, (*lines, *beaten))


def _used_rows(rows: Sequence[LayerRow], work: CountedWork | None) -> list[_Used]:
    counted = {(w.layer, w.phase): w for w in work.rows} if work is not None else {}
    found = []
    for row in rows:
        time, done = device_ns(row), counted.get((row.layer, row.phase))
        if row.is_bucket or not time or not (row.flops_self or row.bytes_self):
            continue
        if done is not None:
            by_dtype = dict(done.flops_by_dtype)
        else:
            by_dtype = {row.dtype: row.flops_self} if row.flops_self and row.dtype else {}
        operators = done.operators if done is not None else row.calls
        found.append(_Used(row, by_dtype, time, max(row.kernels or operators, 1)))
    return found


def _raised_by_rows(
    held: Ceilings, used: Sequence[_Used], fp32_matmul: Fp32Matmul, fused: set[tuple[str, str]]
) -> tuple[Ceilings, list[str]]:
    rates = rates_of(held, fp32_matmul)
    best: dict[str, tuple[float, str]] = {}
    above: dict[str, int] = {}
    passed_over: list[str] = []
    unjudged: list[float] = []

    def reached(name: str, factor: float, where: str) -> None:
        above[name] = above.get(name, 0) + 1
        per_s = factor * held.rates()[name]
        if per_s > best.get(name, (0.0, ""))[0]:
            best[name] = (per_s, where)

    for one in used:
        if one.time_ns < LEAST_NS:
            continue
        by_compute = (rates.compute_ns(one.flops_by_dtype) or 0.0) / one.time_ns
        by_memory = rates.memory_ns(one.row.bytes_self or 0) / one.time_ns
        if by_compute > BEATS and not _shows_a_rate(one, fused):
            passed_over.append(one.where)
        elif by_compute > BEATS:
            for name in _names(held, one, fp32_matmul):
                reached(name, by_compute, one.where)
        if by_memory > BEATS and held.cache_bytes is None:
            unjudged.append(by_memory)
        elif by_memory > BEATS and not _cached(one, rates, held.cache_bytes or 0, by_memory):
            reached(COPY, by_memory, one.where)
    raised, lines = _raise(held, best, above)
    return raised, [*lines, *_left(passed_over, unjudged)]


def _left(passed_over: Sequence[str], unjudged: Sequence[float]) -> Iterator[str]:
    """What stands above a ceiling and raises none."""
    if passed_over:
        more = f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else ""
        yield (
            f"{passed_over[0]}{more} above a matmul ceiling that stays as it is: a convolution, a "
            "fused attention or a shared kernel may do less than is counted"
        )
    if unjudged:
        yield (
            f"{counted(len(unjudged), 'row')} above the copy ceiling, up to "
            f"{two_digits(max(unjudged))} times: whether the last cache explains "
            "them is not known, its size was not recorded"
        )


def _raised_by_phases(
    held: Ceilings, used: Sequence[_Used], fp32_matmul: Fp32Matmul, fused: set[tuple[str, str]]
) -> tuple[Ceilings, list[str]]:
    """Where rows share kernels, the phase as a whole may still beat what its rows may not."""
    rates = rates_of(held, fp32_matmul)
    best: dict[str, tuple[float, str]] = {}
    for phase in dict.fromkeys(one.row.phase for one in used):
        rows = [one for one in used if one.row.phase == phase]
        time = sum(one.time_ns for one in rows)
        products = [one for one in rows if not _counts_more(one, fused)]
        needed = sum(rates.compute_ns(one.flops_by_dtype) or 0.0 for one in products)
        if time < LEAST_NS or needed <= BEATS * time:
            continue
        for name in {n for one in products for n in _names(held, one, fp32_matmul)}:
            reached = needed / time * held.rates()[name]
            if reached > best.get(name, (0.0, ""))[0]:
                best[name] = (reached, f"the phase {phase} as a whole")
    return _raise(held, best, {})


def _raise(
    held: Ceilings, best: dict[str, tuple[float, str]], above: dict[str, int]
) -> tuple[Ceilings, list[str]]:
    """Each rate to what was reached, unless the maker's own rate says that it cannot be true."""
    raised, lines = {r.rate: r for r in held.raised}, []
    rates: dict[str, float] = {}
    for name, (reached, where) in best.items():
        before = held.rates()[name]
        tried = held.with_rates({name: reached})
        if name in impossible(tried):
            lines.append(
                f"{where} seems to run at {rate_text(name, reached)} ({name}), beyond what the maker "
                f"states: its time or its count is wrong, an error of ours; the ceiling of "
                f"{rate_text(name, before)} stays"
            )
            continue
        rates[name] = reached
        first = raised[name].before_per_s if name in raised else before
        raised[name] = Raised(rate=name, before_per_s=first, after_per_s=reached, by=where)
        count = above.get(name, 0)
        rows = f", one of {count} rows above it" if count > 1 else ""
        lines.append(
            f"ceiling {name} raised from {rate_text(name, before)} to {rate_text(name, reached)} by "
            f"{where} of this run{rows}: what a layer beats is no ceiling"
        )
    return replace(held.with_rates(rates), raised=tuple(raised.values())), lines


def _names(held: Ceilings, one: _Used, fp32_matmul: Fp32Matmul) -> list[str]:
    """The ceilings that a row's FLOPs were held against."""
    high = fp32_matmul == "high" and "tf32" in held.matmul_flops_per_s
    dtypes = [dtype for dtype, flops in one.flops_by_dtype.items() if flops]
    return ["tf32" if dtype == "float32" and high else dtype for dtype in dtypes]


def _shows_a_rate(one: _Used, fused: set[tuple[str, str]]) -> bool:
    """Whether the row's FLOPs all ran in the row's time."""
    return (
        one.row.attribution in _TIMED and not one.row.modelled_ns and not _counts_more(one, fused)
    )


def _counts_more(one: _Used, fused: set[tuple[str, str]]) -> bool:
    """Whether the row may have done less than is counted for it."""
    return "Conv" in one.row.module or (one.row.layer, one.row.phase) in fused


def _cached(one: _Used, rates: Rates, cache_bytes: int, factor: float) -> bool:
    """Whether a cache explains the speed: it holds what memory cannot have carried for one event."""
    on_device = one.row.gpu_self_ns is not None
    carried = rates.bytes_per_s * one.time_ns / 1e9
    beyond = ((one.row.bytes_self or 0) - carried) / one.events
    return beyond <= cache_bytes and factor <= CACHE_OVER_MEMORY[on_device]


def with_rooflines_again(
    rows: Sequence[LayerRow], before: Ceilings, after: Ceilings, fp32_matmul: Fp32Matmul
) -> tuple[LayerRow, ...]:
    """Rows read from a table alone, their rooflines moved from one set of ceilings to another.

    A row whose roofline is not what its dtype, FLOPs and bytes give under `before` stays as it is.
    """
    old, new = rates_of(before, fp32_matmul), rates_of(after, fp32_matmul)
    return tuple(_moved(row, old, new) for row in rows)


def _moved(row: LayerRow, old: Rates, new: Rates) -> LayerRow:
    time = device_ns(row)
    by_dtype = {row.dtype: row.flops_self} if row.flops_self and row.dtype else {}
    if row.roofline_ns is None or not time:
        return row
    was, now = (_roofline_ns(row, by_dtype, rates) for rates in (old, new))
    if was is None or now is None or abs(was - row.roofline_ns) > max(1.0, 0.005 * was):
        return row
    return replace(row, roofline_ns=round(now), roofline_fraction=round(now) / time)


def _roofline_ns(row: LayerRow, by_dtype: dict[str, int], rates: Rates) -> float | None:
    compute_ns = rates.compute_ns(by_dtype)
    return None if compute_ns is None else max(compute_ns, rates.memory_ns(row.bytes_self or 0))
