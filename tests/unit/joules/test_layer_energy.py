"""Energy by layer on paper, the reconciliation's properties, and units chosen on a published run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.errors import AccountingError, UsageError
from layerscope.joules.end_to_end_energy import MeasuredWhole, end_to_end_of
from layerscope.joules.energy_by_kind import by_kind
from layerscope.joules.layer_energy import LayerEnergy, layer_energy, with_energy
from layerscope.joules.reconcile import reconcile
from layerscope.measure.replay.choose import choose_units, spread
from layerscope.records.energy_record import (
    CounterEdge,
    CounterWindow,
    DeviceState,
    EnergyBatch,
    EnergyRecord,
    EnergyWindow,
)
from layerscope.records.layer_energy import (
    ReplayChoice,
    ReplayRecord,
    ReplayUnit,
    ReplayWindow,
    read_choice,
)
from layerscope.records.layer_table import LayerRow, LayerTable, Whole
from layerscope.records.run_record import LatencySample, TracePass
from layerscope.report.csv import read_layers_csv
from layerscope.report.layer_energy import energy_lines, write_layer_energy_csv
from layerscope.timeline.idle import Idle, IdleRow
from layerscope.timeline.real_time import wall_by_row

MS = 1_000_000
PUBLISHED = Path(__file__).parents[3] / "docs" / "results" / "h200" / "xl-b16-eager" / "layers.csv"


def edge(time_s: float, joules: float) -> CounterEdge:
    return CounterEdge(time_ns=round(time_s * 1e9), late_ns=0, joules=joules)


def window(
    work_j: float, busy_s: float, passes: int, *, rest_w: float = 100.0, batches: int = 1
) -> EnergyWindow:
    """A window whose batches took `work_j` in `busy_s`, then 0.2 s of rest."""
    end_s = busy_s + 0.2
    counter = CounterWindow(
        counter="gpu 0",
        start=edge(0, 0),
        landed=edge(busy_s + 0.1, work_j + 0.1 * rest_w),
        end=edge(end_s, work_j + 0.2 * rest_w),
        after=edge(end_s + 0.1, work_j + 0.3 * rest_w),
    )
    each_ns = round(busy_s * 1e9) // batches
    done = tuple(
        EnergyBatch(
            batch=0, start_ns=n * each_ns, end_ns=(n + 1) * each_ns, samples=passes, new_tokens=0
        )
        for n in range(batches)
    )
    return EnergyWindow(counters=(counter,), batches=done)


def row(
    layer: str, phase: str, own_ms: float, total_ms: float, calls: int = 1, **more: object
) -> LayerRow:
    fields: dict[str, object] = {
        "phase": phase, "layer": layer, "module": "M", "group": "other",
        "depth": 0 if layer == "generate" else layer.count(".") + 1, "calls": calls, "kernels": 1,
        "gpu_self_ns": round(own_ms * MS), "gpu_total_ns": round(total_ms * MS),
        "cpu_self_ns": None, "cpu_total_ns": None, "params": 0,
    }  # fmt: skip
    return LayerRow(**(fields | more))  # type: ignore[arg-type]


def idle_row(layer: str, phase: str, active_ms: float, idle_ms: float) -> IdleRow:
    return IdleRow(
        layer=layer, phase=phase, gaps=1, active_ns=round(active_ms * MS),
        host_ns=round(idle_ms * MS), late_ns=0, queue_ns=0, unknown_ns=0, launches=1,
    )  # fmt: skip


# Device time 100 ms: block 0 30 ms, block 1 50 ms, the stack itself 10 ms, generate 10 ms.
TABLE = LayerTable(
    rows=(
        row("generate", "vision", 10, 100),
        row("tower", "vision", 10, 90),
        row("tower.layers", "vision", 0, 80, calls=0, kernels=0),
        row("tower.layers.0", "vision", 20, 30, flops_self=3_000_000_000),
        row("tower.layers.0.mlp", "vision", 10, 10, flops_self=0, bytes_self=7_000_000),
        row("tower.layers.1", "vision", 50, 50, flops_self=5_000_000_000),
    ),
    root="generate",
    whole=Whole(
        device_events=5, device_sum_ns=100 * MS, device_active_ns=100 * MS,
        window_span_ns=300 * MS, host_window_ns=None,
    ),
)  # fmt: skip
# The profiled window waits 200 ms, the real batch of 0.2 s waits 100 ms: half of each gap.
IDLE = Idle(
    window_ns=300 * MS, devices=1, active_ns=100 * MS, idle_ns=200 * MS, phases=(),
    rows=(
        idle_row("generate", "vision", 10, 80),
        idle_row("tower", "vision", 10, 20),
        idle_row("tower.layers.0", "vision", 20, 40),
        idle_row("tower.layers.0.mlp", "vision", 10, 20),
        idle_row("tower.layers.1", "vision", 50, 40),
    ),
)  # fmt: skip
# Four batches of 0.2 s at 40 J each; at rest 100 W.
ENERGY = EnergyRecord(windows=(window(160.0, 0.8, 1, batches=4),))
TRACE = TracePass(
    batch=0, size=1, decoder_steps=1, new_tokens=(1,), profiled_ns=1, unprofiled_ns=1,
    root="generate",
)  # fmt: skip


def unit(name: str, windows: tuple[EnergyWindow, ...], **more: object) -> ReplayUnit:
    fields: dict[str, object] = {
        "name": name, "kind": "tower.layers.*", "phase": "vision", "layers": (name,), "calls": 1,
        "replayed": (0,), "how": "CUDA graph",
        "windows": tuple(ReplayWindow(window=w, turn=n) for n, w in enumerate(windows)),
    }  # fmt: skip
    return ReplayUnit(**(fields | more))  # type: ignore[arg-type]


# 0.5 s windows: block 0 in 30 ms a pass at 400 W above idle (12 J), block 1 in 50 ms at 200 W (10 J).
BLOCK_0 = unit("tower.layers.0", (window(0.6 * 500, 0.6, 20), window(0.6 * 500, 0.6, 20)))
BLOCK_1 = unit("tower.layers.1", (window(0.5 * 300, 0.5, 10), window(0.5 * 300, 0.5, 10)))
WHOLE = unit(
    "tower whole", (window(0.9 * 350, 0.9, 10),) * 2, layers=("tower",), role="whole", kind="whole"
)


def found(*units: ReplayUnit, energy: EnergyRecord = ENERGY, **more: object) -> LayerEnergy:
    return layer_energy(
        TABLE,
        IDLE,
        ReplayRecord(choice=ReplayChoice(), units=units),
        MeasuredWhole(energy, TRACE, ()),
        **more,  # type: ignore[arg-type]
    )


def test_the_model_on_paper() -> None:
    """Whole 40 J in 0.2 s, idle 100 W = 20 J of it, dealt out with the time.

    Time: block 0 30 + 30 = 60 ms, block 1 50 + 20 = 70 ms, tower itself 20 ms, generate 50 ms.
    Raw: block 0 12 + 6 = 18 J, block 1 10 + 7 = 17 J. Mean dynamic power (12 + 10) J / 80 ms = 275 W:
    tower 2.75 + 2 = 4.75 J, generate 2.75 + 5 = 7.75 J. Sum 47.5 J, factor 40 / 47.5.
    """
    energy = found(BLOCK_0, BLOCK_1, WHOLE)
    assert energy.reason is None
    assert energy.end_to_end is not None
    assert energy.end_to_end.whole_nj == 40_000_000_000
    assert energy.end_to_end.idle_w == pytest.approx(100)
    assert energy.raw_j == pytest.approx(47.5)
    assert energy.factor == pytest.approx(40 / 47.5)
    units = {u.name: u for u in energy.units}
    for name, raw_j, wall_s in (("tower.layers.0", 18.0, 0.06), ("tower.layers.1", 17.0, 0.07)):
        assert units[name].raw_j == pytest.approx(raw_j)
        assert units[name].wall_s == pytest.approx(wall_s)
        assert units[name].energy_j == pytest.approx(raw_j * 40 / 47.5)
        assert units[name].source == "replay"
        assert units[name].half_j == pytest.approx(0, abs=1e-6)  # its windows agree
    rest = units["(rest of vision)"]
    assert rest.source == "apportioned"
    assert rest.raw_j == pytest.approx(4.75 + 7.75)
    block = units["tower.layers.0"]
    assert block.dynamic_j == pytest.approx(12)
    assert block.replay_w == pytest.approx(500)
    assert block.j_per_flop == pytest.approx(18 * 40 / 47.5 / 3e9)
    assert block.j_per_byte == pytest.approx(18 * 40 / 47.5 / 7e6)
    # Its kernels are waited for 60 - 30 ms at 100 W.
    assert block.waiting_j == pytest.approx(3 * 40 / 47.5)
    assert block.mean_w == pytest.approx(18 * 40 / 47.5 / 0.06)
    (part,) = energy.parts
    # The tower in one go: 90 ms a pass at 250 W above idle, 22.5 J; its blocks 22 J in 80 of 90 ms.
    assert part.whole_j == pytest.approx(22.5)
    assert part.ratio == pytest.approx(22 / 22.5)
    assert part.raw_ratio == pytest.approx((22 + 100 * 0.09) / (22.5 + 100 * 0.09))
    assert part.covered == pytest.approx(80 / 90)


def test_joules_are_split_into_those_above_idle_and_those_of_the_time() -> None:
    """Block 0: 12 J above idle, and 100 W over its 60 ms."""
    block = next(u for u in found(BLOCK_0, BLOCK_1).units if u.name == "tower.layers.0")
    assert block.above_idle_j == pytest.approx(12)
    assert block.idle_j == pytest.approx(6)
    assert block.raw_j == pytest.approx(18)


def test_a_layer_carries_the_error_of_the_whole() -> None:
    """Batches of 40 and 44 J: 42 with a standard error of 2, t of one degree of freedom 12.706."""
    energy = EnergyRecord(
        windows=(window(160.0, 0.8, 1, batches=4), window(176.0, 0.8, 1, batches=4))
    )
    block = next(u for u in found(BLOCK_0, BLOCK_1, energy=energy).units if u.name[-1] == "0")
    assert block.half_j == pytest.approx((block.energy_j or 0) * 12.706 * 2 / 42, rel=1e-6)
    assert block.above_idle_half_j == pytest.approx(0, abs=1e-6)  # replay knows nothing of it


def test_a_layer_carries_the_error_of_the_time_and_of_idle_power() -> None:
    """Batches of 0.2 and 0.3 s, rest at 100 and 110 W: 0.25 ± 0.05 s, 105 ± 5 W, times 12.706."""
    energy = EnergyRecord(
        windows=(
            window(160.0, 0.8, 1, batches=4),
            window(240.0, 1.2, 1, batches=4, rest_w=110.0),
        )
    )
    block = next(u for u in found(BLOCK_0, BLOCK_1, energy=energy).units if u.name[-1] == "0")
    whole = found(BLOCK_0, BLOCK_1, energy=energy).end_to_end
    assert whole is not None
    assert (whole.wall_error_s, whole.idle_error_w) == (pytest.approx(0.05), pytest.approx(5))
    # Above idle a pass of 30 ms is wrong by 63.5 W x 30 ms, all windows alike.
    assert block.above_idle_half_j == pytest.approx(12.706 * 5 * 0.03)
    of_time = 105 * block.wall_s * 12.706 * 0.05 / 0.25
    assert block.idle_half_j == pytest.approx(
        ((12.706 * 5 * block.wall_s) ** 2 + of_time**2) ** 0.5
    )


def doubts(*units: ReplayUnit) -> list[str]:
    return [note for note in found(*units).notes if "cap" in note or "longer" in note]


def test_more_than_the_board_may_draw_is_a_doubt() -> None:
    """12 J in each of 30 passes: block 0's joules over its 60 ms are 253 W; the board may draw 250."""
    limited = [
        replace(w, states=(DeviceState(device="0", time_ns=0, power_limit_w=250.0),))
        for w in BLOCK_0.windows
    ]
    (said,) = doubts(replace(BLOCK_0, windows=tuple(limited)), BLOCK_1)
    assert said.startswith(
        "1 unit above the board's cap of 250 W over their part of the run, most tower"
    )
    assert "253 W" in said
    assert doubts(BLOCK_0, BLOCK_1) == []  # nobody said what the board may draw


def test_a_replay_slower_than_the_run_is_a_doubt() -> None:
    """34.5 ms a pass alone, 30 ms of device time in the run: 15 % longer."""
    slow = unit("tower.layers.0", (window(0.69 * 500, 0.69, 20),) * 2)
    (said,) = doubts(slow, BLOCK_1)
    assert said.startswith(
        "1 unit took over 10% longer replayed than in the run, most tower.layers.0: 15%"
    )
    waits = replace(slow, how="plain")
    assert doubts(waits, BLOCK_1) == []  # it waits for launches in the run, too


def test_the_table_s_columns_sum_to_the_whole_and_name_their_source() -> None:
    energy = found(BLOCK_0, BLOCK_1)
    table = with_energy(TABLE, energy)
    table.check()
    assert table.energy_difference_nj == 0
    sources = {r.layer: r.energy_source for r in table.rows}
    assert sources == {
        "generate": "apportioned",
        "tower": "apportioned",
        "tower.layers": None,  # a list of blocks does nothing
        "tower.layers.0": "replay",
        "tower.layers.0.mlp": None,  # its joules stand at the block
        "tower.layers.1": "replay",
    }
    assert sum(round((r.energy_j or 0) * 1e9) for r in table.rows) == 40_000_000_000
    wrong = replace(table, whole=replace(table.whole, energy_nj=40_000_000_001))
    with pytest.raises(AccountingError, match="energy: rows minus whole = -1 nJ"):
        wrong.check()


@pytest.mark.parametrize(("longest_ms", "said"), [(30, True), (10, False)])
def test_a_pause_of_the_host_is_named_where_its_idle_joules_go(longest_ms: int, said: bool) -> None:
    """30 of the trace's 200 ms of idle time in one gap."""
    rows = (*IDLE.rows[:2], replace(IDLE.rows[2], longest_ns=longest_ms * MS), *IDLE.rows[3:])
    energy = layer_energy(
        TABLE, replace(IDLE, rows=rows), ReplayRecord(choice=ReplayChoice(), units=(BLOCK_0,)),
        MeasuredWhole(ENERGY, TRACE, ()),
    )  # fmt: skip
    words = "one wait of 30.0 ms before tower.layers.0 (vision) is 15% of the trace's idle time"
    assert any(note.startswith(words) for note in energy.notes) == said


def test_units_with_a_reason_are_apportioned_and_keep_their_line(tmp_path: Path) -> None:
    refused = unit("tower.layers.1", (), reason="changes its input in place: a tensor")
    energy = found(BLOCK_0, refused)
    line = next(u for u in energy.units if u.name == "tower.layers.1")
    assert (line.source, line.energy_j, line.reason) == (None, None, refused.reason)
    assert energy.by_row["tower.layers.1", "vision"][1] == "apportioned"
    with_energy(TABLE, energy).check()
    assert any("1 of 2 units were not replayed" in note for note in energy.notes)
    write_layer_energy_csv(energy, tmp_path / "e.csv")
    text = (tmp_path / "e.csv").read_text()
    assert "changes its input in place" in text
    parts = {kind.kind: kind for kind in by_kind(energy)}
    assert set(parts) == {"tower.layers.*", "(rest of vision)"}
    assert sum(p.energy_share for p in parts.values()) == pytest.approx(1)
    assert sum(p.device_share for p in parts.values()) == pytest.approx(1)


def test_what_was_not_replayed_draws_what_its_kind_draws() -> None:
    """Kind A at 400 W above idle, kind B at 200 W, both together at 275 W.

    A third of kind A was not reached, 10 ms: 4 J and 2 J of idle power. `generate` is of no kind that
    was replayed: 2.75 J and 5 J.
    """
    kinds = [replace(BLOCK_0, kind="A"), replace(BLOCK_1, kind="B")]
    late = unit("tower", (), kind="A", reason="no window was measured: limit of 9 s reached")
    energy = found(*kinds, late)
    assert energy.raw_j == pytest.approx(18 + 17 + 6 + 7.75)
    held = energy.by_row["tower", "vision"]
    assert held == (pytest.approx(6e9 * 40 / 48.75), "apportioned")
    with_energy(TABLE, energy).check()


def test_nothing_replayed_shares_the_joules_above_idle_by_device_time() -> None:
    """20 J above idle over 100 ms of device time: 200 W; the raw sum is the whole by itself."""
    energy = found(unit("tower.layers.0", (), reason="fails on replay"))
    assert energy.factor == pytest.approx(1)
    joules, source = energy.by_row["tower.layers.1", "vision"]
    assert (joules / 1e9, source) == (pytest.approx(10 + 7), "apportioned")


def test_several_layers_replayed_together_are_shared_by_device_time() -> None:
    both = unit(
        "tower.mlp (vision)", (window(0.8 * 400, 0.8, 10),) * 2,
        layers=("tower.layers.0", "tower.layers.1"), kind="vision.mlp",
    )  # fmt: skip
    energy = found(both)
    (line,) = (u for u in energy.units if u.name == both.name)
    assert line.source == "replay"
    assert line.raw_j == pytest.approx(24 + 13)
    shares = [energy.by_row[f"tower.layers.{n}", "vision"] for n in (0, 1)]
    assert [source for _, source in shares] == ["apportioned", "apportioned"]
    assert shares[0][0] / shares[1][0] == pytest.approx(30 / 50)
    with_energy(TABLE, energy).check()


def test_what_is_known_inside_a_compiled_part_is_apportioned() -> None:
    part = unit("tower", (window(0.9 * 350, 0.9, 10),) * 2, kind="tower")
    energy = found(part, compiled=("tower",))
    held = {layer: source for (layer, _), (_, source) in energy.by_row.items()}
    assert set(held) == {r.layer for r in TABLE.rows} - {"tower.layers"}
    assert set(held.values()) == {"apportioned"}
    with_energy(TABLE, energy).check()
    eager = found(part)
    assert eager.by_row["tower", "vision"][1] == "replay"


def test_a_compiled_part_that_took_far_longer_alone_is_not_believed() -> None:
    """The tower has 90 ms of the run's kernels and 60 of its waits. Alone it took 310 ms."""
    part = unit("tower", (window(3.1 * 350, 3.1, 10),) * 2, kind="tower")
    energy = found(part, compiled=("tower",))
    (line,) = (u for u in energy.units if u.name == "tower")
    assert line.reason == (
        "replayed alone it took 310.0 ms, in the run 150.0 ms: it did something else"
    )
    assert (line.source, line.energy_j) == (None, None)
    with_energy(TABLE, energy).check()
    assert found(part).units[0].source == "replay"  # an eager part waits for its launches
    shorter = unit("tower", (window(2.9 * 350, 2.9, 10),) * 2, kind="tower")
    assert found(shorter, compiled=("tower",)).units[0].source == "replay"


def test_where_little_was_replayed_the_rest_has_what_is_left() -> None:
    """Block 0 is 30 of 100 ms: its 12 J and 6 J of idle power stay what they are.

    20 J are above idle, 8 of them not block 0's; over 70 ms, with the idle power of each row's time.
    """
    energy = found(BLOCK_0)
    assert energy.factor == pytest.approx(1)
    assert energy.by_row["tower.layers.0", "vision"] == (pytest.approx(18e9), "replay")
    assert energy.by_row["tower.layers.1", "vision"] == (
        pytest.approx((8 * 50 / 70 + 7) * 1e9), "apportioned",
    )  # fmt: skip
    with_energy(TABLE, energy).check()
    assert any("only 30% of the device time was replayed" in note for note in energy.notes)
    # More than the whole: nothing is left to deal out, and the factor says so.
    hot = unit("tower.layers.0", (window(0.6 * 900, 0.6, 20),) * 2)
    assert found(hot).factor < 1


def test_steps_between_two_lengths_are_interpolated() -> None:
    """Calls 1 to 5, replayed at 1, 3 and 5: 10, 14 and 30 J mean (10 + 12 + 14 + 22 + 30) / 5."""
    from layerscope.joules.energy_checks import over_calls

    assert over_calls([1, 3, 5], {1: 10.0, 3: 14.0, 5: 30.0}) == pytest.approx(88 / 5)
    assert over_calls([4], {4: 3.0}) == 3.0


@given(st.integers(1, 400), st.floats(-5, 5), st.floats(0, 50))
def test_the_chosen_steps_stand_for_all_where_the_cost_is_linear(
    calls: int, slope: float, start: float
) -> None:
    chosen = spread(calls)
    mean = sum(start + slope * at for at in chosen) / len(chosen)
    assert mean == pytest.approx(start + slope * (calls - 1) / 2, abs=1e-6)
    assert {0, calls - 1} <= set(chosen)


_amounts = st.floats(-1e3, 1e6, allow_nan=False, allow_infinity=False)


@given(st.lists(_amounts, min_size=1, max_size=60), st.integers(0, 10**14))
def test_reconciled_values_sum_to_the_whole_in_proportion(values: list[float], whole: int) -> None:
    estimates = dict(enumerate(values))
    if sum(map(_exact, values)) <= 0:
        with pytest.raises(ValueError, match="sum to nothing"):
            reconcile(estimates, whole)
        return
    made = reconcile(estimates, whole)
    assert sum(made.values()) == whole
    total = sum(map(_exact, values))
    for key, value in estimates.items():
        assert abs(made[key] - _exact(value) * whole / total) < 1


def _exact(value: float):  # type: ignore[no-untyped-def]
    from fractions import Fraction

    return Fraction(value)


@given(st.floats(0.05, 2.0))
def test_time_by_row_sums_to_the_real_batch(wall_s: float) -> None:
    """Also where the batch took less time than its kernels did in the trace."""
    times = wall_by_row(TABLE, IDLE, wall_s)
    assert sum(times.values()) == pytest.approx(wall_s)
    assert min(times.values()) >= 0


def test_without_joules_there_is_a_reason_and_no_number() -> None:
    absent = found(BLOCK_0, energy=EnergyRecord(reason="no RAPL package counter"))
    assert absent.reason == "no RAPL package counter"
    assert with_energy(TABLE, absent) is TABLE
    assert list(energy_lines(absent)) == ["energy by layer: not measured: no RAPL package counter"]
    lost = layer_energy(
        TABLE,
        IDLE,
        ReplayRecord(choice=ReplayChoice(), reason="GPU is lost"),
        MeasuredWhole(ENERGY, TRACE, ()),
    )
    assert lost.reason == "GPU is lost"


def sample(batch: int, steps: int) -> LatencySample:
    return LatencySample(
        batch=batch, size=1, warmup=False, full=True, generate_ns=1, preprocess_ns=None, copy_ns=0,
        decoder_steps=steps, new_tokens=(steps,),
    )  # fmt: skip


def test_batches_of_other_lengths_do_not_count_towards_the_whole() -> None:
    other = window(400.0, 0.8, 1, batches=4)
    other = replace(other, batches=tuple(replace(b, batch=1) for b in other.batches))
    record = replace(ENERGY, windows=(*ENERGY.windows, other))
    unlike = end_to_end_of(record, TRACE, (sample(0, 20), sample(1, 50)))
    alike = end_to_end_of(record, TRACE, (sample(0, 20), sample(1, 20)))
    assert unlike is not None
    assert alike is not None
    assert unlike.whole_nj == 40_000_000_000
    assert alike.whole_nj == 70_000_000_000


@pytest.mark.parametrize(("words", "most"), [("blocks", 150), ("groups", 40)])
def test_units_of_the_published_run_are_disjoint_and_cover_it(words: str, most: int) -> None:
    """InstructBLIP-XL on an H200, batch 16: what would be replayed there."""
    rows = read_layers_csv(PUBLISHED)
    units = choose_units(rows, read_choice(words))
    layers = [u for u in units if u.role == "layer"]
    assert len(units) <= most
    assert len({u.name for u in units}) == len(units)
    seen: set[tuple[str, str]] = set()
    covered = 0
    for one in layers:
        assert len(one.replayed) in (1, 2, 4)
        for r in rows:
            inside = r.phase == one.phase and any(
                r.layer == fqn or r.layer.startswith(f"{fqn}.") for fqn in one.layers
            )
            if inside:
                assert (r.layer, r.phase) not in seen
                seen.add((r.layer, r.phase))
                covered += r.gpu_self_ns or 0
    assert covered == sum(u.device_ns for u in layers)
    assert covered > 0.98 * sum(r.gpu_self_ns or 0 for r in rows)
    assert {u.layers[0] for u in units if u.role == "whole"} == {
        "vision_model", "qformer", "language_model.encoder", "language_model.decoder",
    }  # fmt: skip
    decode = [u for u in layers if u.phase == "decode" and u.calls == 19]
    assert {u.replayed for u in decode} == {(1, 10, 10, 19)}


def test_parts_narrow_the_choice_and_unknown_words_are_refused() -> None:
    rows = read_layers_csv(PUBLISHED)
    units = choose_units(rows, read_choice("qformer, lm_head"))
    assert {u.phase for u in units if u.role == "layer"} == {"qformer", "prefill", "decode"}
    with pytest.raises(UsageError, match="unknown word `decodr`"):
        read_choice("blocks,decodr")
    with pytest.raises(UsageError, match="choose one"):
        read_choice("blocks,groups")
    assert read_choice("groups,cold") == ReplayChoice(granularity="groups", cold=True)


def test_a_compiled_part_is_one_unit_and_its_step_another() -> None:
    rows = (
        row("generate", "vision", 0, 0, 1),
        row("vision_model", "vision", 1, 5),
        row("vision_model.layers", "vision", 0, 4, 0),
        row("vision_model.layers.0", "vision", 4, 4),  # known from inside the compiled code
        row("language_model", "encoder", 0, 7, 0),
        row("language_model.shared", "encoder", 1, 1),
        row("language_model.encoder", "encoder", 6, 6),
        row("language_model", "prefill", 2, 2),
        row("language_model", "decode", 9, 9, 6),
    )
    parts = ("vision_model", "language_model.encoder", "language_model")
    units = choose_units(rows, ReplayChoice(), parts)
    assert [(u.name, u.replayed) for u in units] == [
        ("vision_model (vision)", (0,)),
        ("language_model (prefill)", (0,)),
        ("language_model (decode)", (1, 3, 4, 6)),
        ("language_model.shared (encoder)", (0,)),
        ("language_model.encoder (encoder)", (0,)),
    ]
