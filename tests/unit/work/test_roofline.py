"""Roofline and floor by hand: round rates, small work, and the known floor of XL on an H200."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.errors import AccountingError
from layerscope.records.layer_table import LayerRow, LayerTable, Whole
from layerscope.records.waits import Waited
from layerscope.records.work import Ceilings, CountedWork, PartWork, WorkRow
from layerscope.work.floor import as_dtype, floor_of
from layerscope.work.rates import Rates, rates_of
from layerscope.work.roofline import bound_of, phase_use, with_roofline, with_work

# 1 FLOP takes 1 ns in fp16 and 10 ns in fp32; 1 byte takes 2 ns.
RATES = Rates(flops_per_s={"float16": 1e9, "float32": 1e8}, bytes_per_s=0.5e9)


def row(layer: str, **values: object) -> LayerRow:
    given = {
        "phase": "encoder",
        "module": "Linear",
        "group": "encoder.ffn",
        "depth": 1,
        "calls": 1,
        "kernels": 1,
        "gpu_self_ns": 1000,
        "gpu_total_ns": 1000,
        "cpu_self_ns": 100,
        "cpu_total_ns": 100,
        "params": 0,
    }
    return LayerRow(layer=layer, **{**given, **values})  # type: ignore[arg-type]


def counted(*rows: WorkRow, parts: tuple[PartWork, ...] = ()) -> CountedWork:
    return CountedWork(
        root="generate",
        rows=rows,
        parts=parts,
        flops=sum(r.flops for r in rows),
        bytes_moved=sum(r.bytes_self for r in rows),
        uncounted=(),
        moved=(),
        views=0,
        decoder_steps=0,
        memory_peak_bytes=None,
        memory_method="",
    )


def did(
    layer: str, flops: int, moved: int, dtype: str = "float16", phase: str = "encoder"
) -> WorkRow:
    return WorkRow(
        layer=layer,
        phase=phase,
        calls=1,
        flops=flops,
        bytes_self=moved,
        operators=1,
        flops_by_dtype={dtype: flops} if flops else {},
    )


def part(
    name: str, flops: dict[str, int], weights: int, inputs: int = 0, step: int = 0
) -> PartWork:
    return PartWork(
        part=name,
        phase="encoder",
        step=step,
        flops=sum(flops.values()),
        flops_by_dtype=flops,
        weight_bytes_by_dtype={"float16": weights},
        input_bytes=inputs,
    )


def test_work_joins_the_rows_and_adds_up_the_tree() -> None:
    rows = (row("generate"), row("a", cpu_total_ns=200), row("a.b"), row("(outside model)"))
    filled = with_work(rows, counted(did("a", 10, 4), did("a.b", 5, 2)), "generate")
    assert [(r.flops_self, r.flops_total, r.macs_total, r.bytes_self) for r in filled] == [
        (0, 15, 7, 0),
        (10, 15, 7, 4),
        (5, 5, 2, 2),
        (None, None, None, None),
    ]
    table = LayerTable(
        rows=filled,
        root="generate",
        whole=Whole(
            device_events=4,
            device_sum_ns=None,
            device_active_ns=None,
            window_span_ns=None,
            host_window_ns=None,
            flops=15,
        ),
    )
    assert not [failure for failure in table.failures() if "flops" in failure.lower()]


def test_work_of_a_row_the_trace_lacks_is_an_accounting_error() -> None:
    with pytest.raises(AccountingError, match=r"a\.b \(encoder\): 5 FLOPs"):
        with_work((row("generate"), row("a")), counted(did("a.b", 5, 2)), "generate")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=12))
def test_totals_of_the_root_are_the_sum_of_all(calls: list[tuple[int, int]]) -> None:
    sums: dict[str, int] = {}
    for depth, flops in calls:
        name = ".".join("abcd"[: depth + 1])
        sums[name] = sums.get(name, 0) + flops
    names = [".".join("abcd"[: n + 1]) for n in range(4)]
    rows = tuple(row(name) for name in ("generate", *names))
    filled = with_work(rows, counted(*(did(n, f, 0) for n, f in sums.items())), "generate")
    assert filled[0].flops_total == sum(sums.values())
    assert sum(r.flops_self or 0 for r in filled) == sum(sums.values())


def test_roofline_of_a_compute_and_a_memory_bound_row() -> None:
    work = counted(did("a", 600, 100), did("b", 60, 250), did("c", 30, 10, "float32"))
    a, b, c = with_roofline((row("a"), row("b"), row("c")), work, RATES)
    # a: 600 ns of arithmetic, 200 ns of bytes, 1000 ns on the device.
    assert (a.roofline_ns, a.roofline_fraction, a.bound) == (600, 0.6, "compute")
    assert (a.intensity, a.gb_per_s) == (6.0, 0.1)
    assert a.tflops_per_s == pytest.approx(0.6e-3)
    assert (b.roofline_ns, b.roofline_fraction, b.bound) == (500, 0.5, "memory")
    assert (c.roofline_ns, c.bound) == (300, "compute")  # 30 FLOPs at the fp32 rate


def test_rows_without_time_or_rate_keep_blanks() -> None:
    work = counted(did("a", 600, 100), did("b", 5, 1, "float64"))
    still, odd = with_roofline((row("a", gpu_self_ns=0, kernels=0), row("b")), work, RATES)
    assert (still.roofline_ns, still.roofline_fraction, still.bound) == (600, None, "")
    assert still.tflops_per_s is None
    assert (odd.roofline_ns, odd.roofline_fraction, odd.bound) == (None, None, "")
    assert odd.gb_per_s == 0.001
    bucket = row("(before window)")
    assert with_roofline((bucket,), work, RATES) == (bucket,)


@pytest.mark.parametrize(
    ("idle_ns", "late_ns", "bound"),
    [
        (0, 0, "compute"),
        (999, 999, "compute"),  # the device worked longer than it waited
        (1000, 1000, "launch"),
        (1000, 500, "launch"),
        (1000, 499, "idle"),  # mostly for something that had been launched in time
    ],
)
def test_bound_by_the_measured_gap(idle_ns: int, late_ns: int, bound: str) -> None:
    """1,000 ns of work: the host's own time, a tenth or a hundred times of it, says nothing."""
    waited = Waited(idle_ns=idle_ns, late_ns=late_ns)
    for host_ns in (100, 100_000, None):
        assert bound_of(row("a", cpu_self_ns=host_ns), 2.0, 1.0, waited) == bound


def test_a_host_that_runs_ahead_bounds_nothing() -> None:
    """The host takes 5,000 ns a row, the device 1,000; only before `b` had the device run dry."""
    rows = (row("a", cpu_self_ns=5000), row("b", cpu_self_ns=5000))
    work = counted(did("a", 50, 1), did("b", 50, 1))
    waits = {("b", "encoder"): Waited(idle_ns=4000, late_ns=4000)}
    assert [r.bound for r in with_roofline(rows, work, RATES, waits)] == ["compute", "launch"]


def test_bound_on_a_cpu_run_uses_operator_time() -> None:
    def on_cpu(cpu_ns: int) -> LayerRow:
        return row("a", gpu_self_ns=None, kernels=0, cpu_self_ns=cpu_ns, op_self_ns=100)

    assert bound_of(on_cpu(200), 1.0, 2.0) == "memory"
    assert bound_of(on_cpu(201), 1.0, 2.0) == "launch"
    filled = with_roofline((on_cpu(150),), counted(did("a", 50, 1)), RATES)[0]
    assert filled.roofline_fraction == 0.5


def test_rates_follow_the_fp32_setting() -> None:
    ceilings = Ceilings(
        key="",
        device="",
        measured_utc="",
        matmul_flops_per_s={"float16": 8.0, "tf32": 4.0, "float32": 1.0},
        matmul_shape={},
        copy_bytes_per_s=2.0,
        method="",
    )
    assert rates_of(ceilings, "highest").flops_per_s == {"float16": 8.0, "float32": 1.0}
    assert rates_of(ceilings, "high").flops_per_s == {"float16": 8.0, "float32": 4.0}
    without = replace(ceilings, matmul_flops_per_s={"float32": 1.0})
    assert rates_of(without, "high").flops_per_s == {"float32": 1.0}


def test_floor_takes_the_longer_of_each_part() -> None:
    parts = (
        part("encoder", {"float16": 1000}, weights=100, inputs=50),  # 1000 against 300
        part("decoder", {"float16": 10, "float32": 4}, weights=100, step=1),  # 50 against 200
        part("other", {"float16": 10**9}, weights=0),
    )
    floor = floor_of(parts, RATES)
    assert floor.floor_ns == pytest.approx(1000 + 200)
    assert floor.additive_ns == pytest.approx(1300 + 250)
    assert floor.times_above(2400) == pytest.approx(2.0)
    assert floor.by_phase() == {"encoder": pytest.approx(1200)}


def test_floor_without_a_rate_or_without_work_says_why() -> None:
    floor = floor_of((part("encoder", {"float64": 1}, 1),), RATES)
    assert (floor.floor_ns, floor.additive_ns) == (None, None)
    assert "float64" in floor.reason
    assert floor.times_above(1.0) is None
    assert floor_of((), RATES).reason == "no work was counted"


def test_uniform_variant_halves_what_was_fp32() -> None:
    mixed = replace(
        part("encoder", {"float16": 6, "float32": 4}, 0),
        weight_bytes_by_dtype={"float16": 20, "float32": 40, "int64": 8},
    )
    (uniform,) = as_dtype((mixed,), "float16", 2)
    assert uniform.flops_by_dtype == {"float16": 10}
    assert uniform.weight_bytes_by_dtype == {"float16": 40, "int64": 8}
    assert uniform.flops == mixed.flops


def test_phase_use() -> None:
    work = counted(
        did("a", 600, 100),
        did("b", 100, 50, phase="decode"),
        parts=(part("encoder", {"float16": 600}, 200),),
    )
    rows = (row("a"), row("b", phase="decode", gpu_self_ns=200), row("(outside model)"))
    encoder, decode = phase_use(rows, work, RATES, floor_of(work.parts, RATES))
    assert (encoder.phase, encoder.device_ns, encoder.flops) == ("encoder", 1000, 600)
    assert (encoder.of_matmul_rate, encoder.traffic_use) == (0.6, 0.2)
    assert encoder.floor_use == pytest.approx(0.6)
    assert (decode.of_matmul_rate, decode.traffic_use, decode.floor_use) == (0.5, 0.5, None)
    assert decode.gb_per_s == 0.25
