"""Ceilings that a run's rows beat, by hand: what raises them, what does not, and what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.records.layer_table import LayerRow
from layerscope.records.work import Ceilings, CountedWork, PartWork, Raised, WorkRow
from layerscope.work.beaten_ceilings import BEATS, believed, with_rooflines_again
from layerscope.work.floor import floor_of
from layerscope.work.rates import rates_of
from layerscope.work.roofline import phase_use, with_roofline

MS = 1_000_000
MB = 1_000_000
# 1 TFLOP/s is 1e9 FLOP a millisecond; 1 TB/s is 1e9 bytes a millisecond.
GIGA = 10**9


def ceilings(**changed: object) -> Ceilings:
    plain = Ceilings(
        key="k",
        device="d",
        measured_utc="2026-11-27T00:00:00Z",
        matmul_flops_per_s={"float16": 700e12, "tf32": 350e12, "float32": 50e12},
        matmul_shape={},
        copy_bytes_per_s=4e12,
        method="",
        cache_bytes=60 * MB,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def row(layer: str, flops: int = 0, moved: int = 0, ns: int = MS, **values: object) -> LayerRow:
    plain = {
        "phase": "vision", "module": "Linear", "group": "vision.mlp", "depth": 1, "calls": 1,
        "kernels": 1, "gpu_self_ns": ns, "gpu_total_ns": ns, "cpu_self_ns": 1, "cpu_total_ns": 1,
        "params": 0, "flops_self": flops, "bytes_self": moved, "dtype": "float16",
    }  # fmt: skip
    return LayerRow(layer=layer, **{**plain, **values})  # type: ignore[arg-type]


def work_of(*rows: LayerRow, dtypes: dict[str, dict[str, int]] | None = None) -> CountedWork:
    counted = tuple(
        WorkRow(
            layer=r.layer, phase=r.phase, calls=1, flops=r.flops_self or 0,
            bytes_self=r.bytes_self or 0, operators=4,
            flops_by_dtype=(dtypes or {}).get(r.layer)
            or ({"float16": r.flops_self} if r.flops_self else {}),
        )
        for r in rows
    )  # fmt: skip
    return CountedWork(
        root="generate", rows=counted, parts=(), flops=0, bytes_moved=0, uncounted=(), moved=(),
        views=0, decoder_steps=0, memory_peak_bytes=None, memory_method="",
    )  # fmt: skip


def test_a_compute_bound_row_above_its_ceiling_raises_it_and_says_so() -> None:
    rows = (row("fc1", 720 * GIGA), row("fc2", 773 * GIGA), row("qkv", 600 * GIGA))
    found = believed(ceilings(), rows, work_of(*rows), "highest")
    assert found.ceilings is not None
    assert found.ceilings.matmul_flops_per_s["float16"] == pytest.approx(773e12)
    assert found.ceilings.matmul_flops_per_s["float32"] == 50e12
    (raised,) = found.ceilings.raised
    assert (raised.rate, raised.before_per_s, raised.by) == ("float16", 700e12, "fc2 (vision)")
    (line,) = found.lines
    assert "float16 raised from 700 TFLOP/s to 773 TFLOP/s by fc2 (vision) of this run" in line
    assert "one of 2 rows above it" in line


def test_a_run_held_against_a_poisoned_ceiling_says_so_instead_of_mfu_834() -> None:
    poisoned = ceilings(matmul_flops_per_s={"float32": 1.4e9}, cache_bytes=None)
    rows = (row("a", 11 * GIGA // 1000, ns=MS, dtype="float32"),)
    work = work_of(*rows, dtypes={"a": {"float32": 11 * GIGA // 1000}})
    found = believed(poisoned, rows, work, "highest")
    assert found.ceilings is not None
    assert "float32 raised from 0.00140 TFLOP/s to 0.0110 TFLOP/s" in found.lines[0]
    rates = rates_of(found.ceilings, "highest")
    (use,) = phase_use(rows, work, rates, floor_of(work.parts, rates))
    assert use.of_matmul_rate == pytest.approx(1.0)


def test_fp32_rows_under_tf32_raise_tf32() -> None:
    rows = (row("wo", 390 * GIGA, dtype="float32"),)
    work = work_of(*rows, dtypes={"wo": {"float32": 390 * GIGA}})
    found = believed(ceilings(), rows, work, "high")
    assert found.ceilings is not None
    assert found.ceilings.matmul_flops_per_s["tf32"] == pytest.approx(390e12)
    assert found.ceilings.matmul_flops_per_s["float32"] == 50e12


@pytest.mark.parametrize(
    "values",
    [
        {"module": "Conv2d"},  # may multiply less than it counts
        {"attribution": "graph~"},  # its time is a share of a kernel's
        {"modelled_ns": 5},
    ],
)
def test_rows_that_show_no_rate_raise_nothing_and_are_named(values: dict[str, object]) -> None:
    rows = (row("odd", 900 * GIGA, **values), row("rest", 10 * GIGA, ns=9 * MS))
    found = believed(ceilings(), rows, work_of(*rows), "highest")
    assert found.ceilings == ceilings()
    (line,) = found.lines
    assert line.startswith("odd (vision) above a matmul ceiling that stays")


def test_fused_attention_shows_no_rate_but_the_math_path_does() -> None:
    rows = (row("attention", 900 * GIGA), row("rest", 10 * GIGA, ns=9 * MS))
    fused = believed(ceilings(), rows, work_of(*rows), "highest", {("attention", "vision")})
    assert fused.ceilings == ceilings()
    plain = believed(ceilings(), rows, work_of(*rows), "highest")
    assert plain.ceilings is not None
    assert plain.ceilings.raised


def test_layers_that_share_kernels_raise_by_their_phase() -> None:
    """Each row's time is modelled; together they did 1,600 GFLOP in 2 ms."""
    rows = tuple(
        row(name, flops * GIGA, attribution="graph") for name, flops in (("a", 1500), ("b", 100))
    )
    found = believed(ceilings(), rows, work_of(*rows), "highest")
    assert found.ceilings is not None
    assert found.ceilings.matmul_flops_per_s["float16"] == pytest.approx(800e12)
    assert "the phase vision as a whole" in found.lines[-1]


def test_a_rate_beyond_the_makers_is_an_error_of_ours_and_no_ceiling() -> None:
    held = ceilings(datasheet_flops_per_s={"float16": 989e12}, datasheet_bytes_per_s=4.8e12)
    rows = (row("fc2", 1500 * GIGA),)
    found = believed(held, rows, work_of(*rows), "highest")
    assert found.ceilings == held
    assert "an error of ours" in found.lines[0]
    assert "700 TFLOP/s stays" in found.lines[0]


def test_bytes_that_the_last_cache_can_hold_do_not_raise_the_copy() -> None:
    """At 4 TB/s memory carries 40 MB in 10 us. A row that moved 90 had 50 from somewhere."""
    fits = (row("add", moved=90 * MB, ns=10_000),)
    assert believed(ceilings(), fits, work_of(*fits), "highest").ceilings == ceilings()
    small = ceilings(cache_bytes=40 * MB)
    found = believed(small, fits, work_of(*fits), "highest")
    assert found.ceilings is not None
    assert found.ceilings.copy_bytes_per_s == pytest.approx(9e12)
    assert "copy raised from 4,000 GB/s to 9,000 GB/s by add (vision)" in found.lines[0]
    # Two kernels: each can find 40 MB in the cache.
    two = (replace(fits[0], kernels=2),)
    assert believed(small, two, work_of(*two), "highest").ceilings == small


def test_no_cache_is_that_much_faster_than_memory() -> None:
    rows = (row("add", moved=50 * MB, ns=10_000),)
    slow = ceilings(copy_bytes_per_s=1e11)
    found = believed(slow, rows, work_of(*rows), "highest")
    assert found.ceilings is not None
    assert found.ceilings.copy_bytes_per_s == pytest.approx(5e12)


def test_a_cache_that_was_not_recorded_leaves_the_question_open() -> None:
    rows = (row("add", moved=88 * MB, ns=10_000),)
    old = ceilings(cache_bytes=None)
    found = believed(old, rows, work_of(*rows), "highest")
    assert found.ceilings == old
    assert "1 row above the copy ceiling, up to 2.2 times" in found.lines[0]


def test_a_row_too_short_for_the_clock_raises_nothing() -> None:
    rows = (row("tiny", 9 * GIGA, ns=9_999),)
    assert believed(ceilings(), rows, work_of(*rows), "highest").ceilings == ceilings()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_rate_is_not_used(wrong: float) -> None:
    rows = (row("fc2", 100 * GIGA),)
    held = ceilings(matmul_flops_per_s={"float16": wrong, "float32": 50e12})
    found = believed(held, rows, work_of(*rows), "highest")
    assert found.ceilings is not None
    assert set(found.ceilings.matmul_flops_per_s) == {"float32"}
    assert "not used" in found.ceilings.absent["float16"]
    without = believed(ceilings(copy_bytes_per_s=wrong), rows, work_of(*rows), "highest")
    assert without.ceilings is None
    assert "not used: copy" in without.lines[0]


def test_an_earlier_raise_keeps_its_beginning() -> None:
    step = Raised(rate="float16", before_per_s=600e12, after_per_s=700e12, by="an earlier run")
    rows = (row("fc2", 773 * GIGA),)
    found = believed(ceilings(raised=(step,)), rows, work_of(*rows), "highest")
    assert found.ceilings is not None
    (raised,) = found.ceilings.raised
    assert (raised.before_per_s, raised.after_per_s) == (600e12, pytest.approx(773e12))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000), st.integers(0, 10**10), st.integers(10_000, 10**7),
            st.sampled_from(["float16", "float32"]),
        ),
        min_size=1, max_size=8,
    ),
    st.sampled_from(["highest", "high"]),
)  # fmt: skip
def test_no_row_of_a_product_beats_what_is_believed(
    made: list[tuple[int, int, int, str]], fp32: str
) -> None:
    rows = tuple(row(f"l{i}", f * GIGA, b, ns) for i, (f, b, ns, _) in enumerate(made))
    dtypes = {f"l{i}": {d: f * GIGA} for i, (f, _, _, d) in enumerate(made) if f}
    work = work_of(*rows, dtypes=dtypes)
    first = believed(ceilings(cache_bytes=0), rows, work, fp32)  # type: ignore[arg-type]
    assert first.ceilings is not None
    rates = rates_of(first.ceilings, fp32)  # type: ignore[arg-type]
    for one in with_roofline(rows, work, rates):
        if one.roofline_fraction is not None:
            assert one.roofline_fraction <= BEATS + 1e-3
    for name, rate in ceilings().rates().items():
        assert first.ceilings.rates()[name] >= rate  # a ceiling is only ever raised
    again = believed(first.ceilings, rows, work, fp32)  # type: ignore[arg-type]
    assert again.ceilings == first.ceilings
    assert not again.lines


def test_a_table_read_back_is_doubted_by_its_own_columns() -> None:
    """Without the counted work: dtype, FLOPs, bytes and the roofline that was written."""
    before = ceilings()
    counted = (row("fc2", 770 * GIGA), row("norm", moved=8 * MB, dtype=None))
    rows = with_roofline(counted, work_of(*counted), rates_of(before, "highest"))
    odd = replace(rows[0], layer="odd", roofline_ns=77)  # not what its numbers give: left alone
    found = believed(before, rows, None, "highest")
    assert found.ceilings is not None
    assert found.ceilings.matmul_flops_per_s["float16"] == pytest.approx(770e12)
    moved = with_rooflines_again((*rows, odd), before, found.ceilings, "highest")
    assert moved[0].roofline_ns == MS
    assert moved[0].roofline_fraction == pytest.approx(1.0)
    assert moved[1:] == (rows[1], odd)


def test_a_floor_above_the_measurement_is_absent_with_the_reason() -> None:
    part = PartWork(
        part="decoder", phase="decode", step=1, flops=GIGA, flops_by_dtype={"float16": GIGA},
        weight_bytes_by_dtype={"float16": 40 * MB}, input_bytes=0,
    )  # fmt: skip
    rates = rates_of(ceilings(), "highest")
    floor = floor_of((part,), rates)
    assert floor.floor_ns == pytest.approx(10_000)  # 40 MB at 4 TB/s
    assert floor.held_against(10_000, (part,), 60 * MB) is floor
    assert floor.held_against(None, (part,), 60 * MB) is floor
    cached = floor.held_against(1900, (part,), 60 * MB)
    assert (cached.floor_ns, cached.additive_ns, cached.by_phase()) == (None, None, {})
    assert "an error of ours: 0.010 ms would exceed the 0.002 ms" in cached.reason
    assert "40 MB, which the last cache of 60 MB holds" in cached.reason
    assert "ceilings --remeasure" in floor.held_against(1900, (part,), 30 * MB).reason
    assert "ceilings --remeasure" in floor.held_against(1900, (part,), None).reason


def test_a_share_above_one_is_left_out_with_the_reason() -> None:
    rows = (row("conv", 900 * GIGA, module="Conv2d"),)
    work = work_of(*rows)
    rates = rates_of(ceilings(), "highest")
    (use,) = phase_use(rows, work, rates, floor_of((), rates))
    assert use.of_matmul_rate is None
    assert use.reason == "share of the matmul rate of vision above its time, an error of ours"
