"""Exponents and Pareto fronts against hand arithmetic, and rules against rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sweep_rows import row

from layerscope.core.errors import UsageError
from layerscope.records.sweep import Estimate, SweepRow
from layerscope.stats.front import known_less, pareto
from layerscope.stats.sweep_tables import (
    NUMBERS,
    exponents,
    fit,
    layer_keys,
    sizes_without_effect,
    value,
)
from layerscope.sweep.selection_rule import check_number, parse_rule, select


def test_two_points_by_hand() -> None:
    # log(8 / 2) / log(4 / 1) = 1; log(4 / 2) / log(4 / 1) = 0.5.
    assert fit([(1, 2.0), (4, 8.0)]) == (pytest.approx(1.0), pytest.approx(0.0, abs=1e-12))
    assert fit([(1, 2.0), (4, 4.0)]) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-12))


def test_three_points_by_hand() -> None:
    # x = 1, e, e^2 and ln y = 0, 2, 1: slope = (-1 * -1 + 0 * 1 + 1 * 0) / 2 = 0.5 about (1, 1).
    e = 2.718281828459045
    slope, miss = fit([(1, 1.0), (e, e**2), (e**2, e)]) or (0.0, 0.0)
    assert slope == pytest.approx(0.5)
    # The fit says ln y = 0.5, 1, 1.5: the first point is missed by e^0.5 - 1.
    assert miss == pytest.approx(e**0.5 - 1)


@pytest.mark.parametrize("pairs", [[], [(1, 2.0)], [(2, 1.0), (2, 2.0)], [(1, 0.0), (2, 1.0)]])
def test_no_exponent_without_two_positive_points(pairs: list[tuple[float, float]]) -> None:
    assert fit(pairs) is None


@given(st.floats(-3, 3), st.floats(0.001, 1000), st.permutations([1.0, 2.0, 4.0, 16.0]))
def test_a_power_law_is_found_in_any_order(power: float, scale: float, xs: list[float]) -> None:
    found = fit([(x, scale * x**power) for x in xs])
    assert found is not None
    assert found[0] == pytest.approx(power, abs=1e-9)
    assert found[1] < 1e-9


def test_exponents_per_line_and_group() -> None:
    rows = [
        row(
            {"dataset": name, "batch_size": batch},
            latency=factor * batch,
            groups={"vision.mlp": 100 * batch, "lm_head": 7, "norm": 0},
        )
        for (name, factor), batch in product(
            (("synthetic-coco", 2.0), ("synthetic-textvqa", 3.0)), (1, 4)
        )
    ]
    found = exponents(rows, ("dataset", "batch_size"))
    by = {(item.fixed["dataset"], item.of): item.exponent for item in found}
    assert by["synthetic-coco", "latency"] == pytest.approx(1.0)
    assert by["synthetic-textvqa", "vision.mlp"] == pytest.approx(1.0)
    assert by["synthetic-textvqa", "lm_head"] == pytest.approx(0.0)
    assert ("synthetic-coco", "norm") not in by
    assert {item.axis for item in found} == {"batch_size"}


def test_a_line_of_equal_work_has_no_exponent() -> None:
    def line(flops: int) -> list[SweepRow]:
        return [
            row({"max_input_len": n}, latency=n / 100, flops=flops, text_length=14)
            for n in (50, 100, 200)
        ]

    assert exponents(line(7), ("max_input_len",)) == ()
    longer = [*line(7)[:2], row({"max_input_len": 200}, latency=2.0, flops=8, text_length=14)]
    assert exponents(longer, ("max_input_len",))[0].exponent == pytest.approx(1.0)


def test_failed_cells_take_no_part() -> None:
    rows = [
        row({"batch_size": 1}, latency=1.0),
        row({"batch_size": 2}, latency=2.0),
        row({"batch_size": 4}, status="failed", reason="out of memory"),
    ]
    (found,) = exponents(rows, ("batch_size",))
    assert (found.points, found.exponent) == (2, pytest.approx(1.0))


def test_a_pareto_front_by_hand() -> None:
    rows = [
        row({"batch_size": 1}, latency=1.0, energy=10.0, wer=0.3),
        row({"batch_size": 2}, latency=4.0, energy=5.0, wer=0.3),  # 2 s a sample
        row({"batch_size": 3}, latency=6.0, energy=6.0, wer=0.3),  # beaten by the second
        row({"batch_size": 4}, latency=20.0, energy=9.0, wer=0.1),
        row({"batch_size": 5}, latency=1.0, energy=None, wer=0.1),
    ]
    front = pareto(rows)
    assert front.cells == ("batch_size=1", "batch_size=2", "batch_size=4")
    assert front.left_out == {"batch_size=5": "energy"}


def test_equal_cells_stand_on_the_front_together() -> None:
    rows = [row({"batch_size": 1, "seed": s}, latency=1.0, energy=1.0, wer=1.0) for s in (1, 2)]
    assert len(pareto(rows).cells) == 2


def test_an_objective_nobody_has_is_named() -> None:
    rows = [row({"batch_size": b}, latency=1.0 * b, energy=1.0 / b) for b in (1, 2)]
    front = pareto(rows)
    assert front.objectives == ("latency_per_sample", "energy")
    assert "wer" in front.reason
    nothing = pareto([row({"batch_size": 1}, latency=1.0)])
    assert nothing.cells == ()
    assert "wer or energy" in nothing.reason


def test_what_intervals_do_not_tell_apart_stands_on_the_front_together() -> None:
    """1.0 and 1.1 s with ±0.2: apart by value, not beyond their intervals; 2.0 s is."""
    rows = [
        row({"seed": i, "batch_size": 1}, latency=t, energy=1.0, wer=0.5, reach=0.2)
        for i, t in enumerate((1.0, 1.1, 2.0))
    ]
    assert pareto(rows).cells == (rows[0].cell, rows[1].cell)
    assert known_less(rows[0], rows[2], "latency_per_sample")
    assert not known_less(rows[0], rows[1], "latency")
    assert not known_less(rows[2], rows[0], "latency")


def test_an_interval_of_a_batch_is_divided_like_its_latency() -> None:
    """Per sample 0.25 ± 0.05 and 0.34 ± 0.05 overlap at 0.3; per batch 1 and 1.36 ± 0.2 do, too."""
    one, other = (row({"batch_size": 4}, latency=t, reach=0.2) for t in (1.0, 1.36))
    assert not known_less(one, other, "latency_per_sample")
    far = row({"batch_size": 4}, latency=1.5, reach=0.2)
    assert known_less(one, far, "latency_per_sample")


def test_without_intervals_a_difference_must_exceed_the_noise_between_runs() -> None:
    base, near, far = (
        replace(row({"batch_size": 1}), latency_s=Estimate(value=t)) for t in (1.0, 1.02, 1.04)
    )
    assert not known_less(base, near, "latency")
    assert known_less(base, far, "latency")
    counts = [row({"batch_size": 1}, flops=f) for f in (100, 101)]
    assert known_less(*counts, "flops")  # a count has no noise


def test_a_front_never_mixes_data_sets() -> None:
    """The second is slower, but of other data: nothing beats it."""
    rows = [
        row({"dataset": name, "batch_size": 1}, latency=t, energy=1.0, wer=0.1)
        for name, t in (
            ("synthetic-coco", 1.0),
            ("synthetic-textvqa", 9.0),
            ("synthetic-coco", 2.0),
        )
    ]
    front = pareto(rows)
    assert front.cells == ("dataset=synthetic-coco batch_size=1", rows[1].cell)
    assert front.datasets == ("synthetic-coco", "synthetic-textvqa")


def test_an_exponent_whose_fit_misses_by_more_than_a_quarter_says_nothing() -> None:
    straight = [row({"batch_size": b}, latency=1.0 * b) for b in (1, 2, 4)]
    bent = [row({"batch_size": b}, latency=t) for b, t in ((1, 1.0), (2, 9.0), (4, 4.0))]
    assert [e.holds for e in exponents(straight, ("batch_size",))] == [True]
    assert [e.holds for e in exponents(bent, ("batch_size",))] == [False]


points = st.lists(st.tuples(*[st.integers(1, 5)] * 3), min_size=1, max_size=12)


@given(points)
def test_a_front_is_unbeaten_and_beats_the_rest(values: list[tuple[int, int, int]]) -> None:
    rows = [
        row({"seed": i, "batch_size": 1}, wer=float(w), latency=float(t), energy=float(j))
        for i, (w, t, j) in enumerate(values)
    ]
    front = set(pareto(rows).cells)
    by = {r.cell: v for r, v in zip(rows, values, strict=True)}

    def beaten(one: str) -> bool:
        return any(
            other != by[one] and all(a <= b for a, b in zip(other, by[one], strict=True))
            for other in by.values()
        )

    assert front == {cell for cell in by if not beaten(cell)}


def test_layer_keys_and_numbers() -> None:
    one = row({"batch_size": 4, "image_size": 448}, latency=2.0)
    assert layer_keys(one) == ("synthetic-textvqa", "4", "448", "200", "eager")
    assert value(one, "latency_per_sample") == 0.5
    assert value(one, "samples_per_s") == 2.0
    assert all(value(one, name) is None or value(one, name) for name in NUMBERS)


def test_sources_that_all_reach_the_model_at_one_size_are_named() -> None:
    rows = [
        row({"image_size": s}, latency=1.0, config={"image_size_mode": "source"})
        for s in (224, 448)
    ]
    assert "224, 448 px all reached the model at 224 px" in sizes_without_effect(rows)
    assert sizes_without_effect(rows[:1]) == ""
    assert sizes_without_effect([row({"image_size": s}, pixels=s) for s in (224, 448)]) == ""


ROWS = [
    row({"batch_size": 1}, wer=0.5, energy=9.0, latency=1.0),
    row({"batch_size": 4}, wer=0.2, energy=7.0, latency=2.0),
    row({"batch_size": 8}, wer=0.25, energy=3.0, latency=3.0),
    row({"batch_size": 16}, latency=4.0),
]


@pytest.mark.parametrize(
    ("rule", "batches"),
    [
        ("wer<0.3", [4, 8]),
        ("wer < 0.3 and energy<=3", [8]),
        ("wer<0.3, energy>3", [4]),
        ("wer>=0.5 or batch_size==16", [1, 16]),
        ("wer<1 and batch=1 or wer<1 and batch=4", [1, 4]),
        ("dataset=synthetic-textvqa and batch!=1", [4, 8, 16]),
        ("dataset != 'synthetic-textvqa'", []),
        ("trace=true, batch<4", [1]),
    ],
)
def test_rules(rule: str, batches: list[int]) -> None:
    assert [r.config.batch_size for r in select(ROWS, parse_rule(rule), None)] == batches


def test_minimise_orders_and_leaves_out_what_was_not_measured() -> None:
    found = select(ROWS, parse_rule("wer<0.3"), "energy")
    assert [r.config.batch_size for r in found] == [8, 4]
    assert [r.config.batch_size for r in select(ROWS, None, "energy")] == [8, 4, 1]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("", "was expected, found nothing"),
        ("wer", "a comparison such as wer<0.3"),
        ("wer<", "a comparison such as"),
        ("wer<0.3 batch=1", "`and`, `or` or a comma"),
        ("wer<0.3 and", "a comparison such as"),
        ("energyy<3", "did you mean `energy`?"),
        ("wer<good", "good is not"),
        ("dataset<coco", "no number"),
        ("__import__('os')", "cannot be read|was expected|unknown"),
        ("wer<0.3; wer>0", "is not|was expected"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(rule: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_rule(rule)
    assert "--where" in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse_rule(text)
    except UsageError:
        return
    select(ROWS, rule, None)


def test_an_unknown_number_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean `latency`"):
        check_number("latencies", "--minimize")
