"""Judgements beside the published tables, with the published tables themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.sweep_rows import about, row

from layerscope.published.reference import (
    REFERENCE_PARAMETERS,
    Judgement,
    judge,
    published_row,
    ratio,
)
from layerscope.published.reference_tables import reference_tables
from layerscope.records import Interval
from layerscope.records.sweep import Estimate, ReferenceLink, SweepRow

TABLES = reference_tables()
XL: dict[str, Any] = {"model": "Salesforce/instructblip-flan-t5-xl", "device": "cuda"}


def xl(settings: dict[str, Any], **fields: Any) -> SweepRow:
    config = XL | {"dataset": "textvqa"} | fields.pop("config", {})
    return row(
        settings,
        **({"parameters": REFERENCE_PARAMETERS, "config": config} | fields),
    )


def judged(
    rows: list[SweepRow], table: str, axes: tuple[str, ...]
) -> dict[tuple[str, str], Judgement]:
    found = judge(rows, axes, ReferenceLink(table=table), TABLES)
    return {(item.cell, item.quantity): item for item in found}


def test_the_published_row_is_found_by_axis_and_data_set() -> None:
    link = ReferenceLink(table="input_length")
    found = published_row(xl({"max_input_len": 50, "dataset": "scienceqa"}), link, TABLES)
    assert not isinstance(found, str)
    assert (found.latency_s, found.flops) == (1.1235731393914474, 9.82e12)
    assert found.flops_rounding == pytest.approx(0.005e12)


def test_a_link_may_name_the_data_set_that_random_inputs_stand_for() -> None:
    one = xl({"image_size": 224, "dataset": "synthetic-random"})
    without = published_row(one, ReferenceLink(table="image_size"), TABLES)
    assert without == "synthetic-random stands for no data set of the published table"
    named = published_row(one, ReferenceLink(table="image_size", dataset="COCO"), TABLES)
    assert not isinstance(named, str)
    assert named.wer == 0.881649374961853


@pytest.mark.parametrize(
    ("settings", "table", "said"),
    [
        ({"batch_size": 2}, "batch_size", "no row batch_size 2"),
        ({"optimization": "flash", "dataset": "scienceqa"}, "optimization", "Can't be used"),
        ({"batch_size": 4, "dataset": "coco"}, "batch_size", "is of TextVQA"),
        ({"device": "cuda"}, "gpu_vs_cpu", "no row device cuda"),
    ],
)
def test_why_there_is_no_published_row(settings: dict[str, Any], table: str, said: str) -> None:
    found = published_row(xl(settings), ReferenceLink(table=table), TABLES)
    assert isinstance(found, str)
    assert said in found


def test_a_ratio_by_hand() -> None:
    # ln(6 / 4) = 0.405 up; below: ln(4 / 2) = 0.693 and the base's ln(2 / 1) = 0.693.
    one = Estimate(value=4.0, interval=Interval(low=2.0, high=6.0, method="test"))
    base = Estimate(value=1.0, interval=Interval(low=1.0, high=2.0, method="test"))
    found = ratio(one, base)
    assert found.value == 4.0
    assert found.interval is not None
    assert found.interval.high == pytest.approx(6.0)
    assert found.interval.low == pytest.approx(4.0 * math.exp(-math.log(2) * math.sqrt(2)))


def test_a_ratio_without_intervals_is_not_judged() -> None:
    found = ratio(Estimate(value=4.0), about(2.0, 0.1))
    assert (found.value, found.interval) == (2.0, None)


def batches(second_s: float, **fields: Any) -> dict[tuple[str, str], Judgement]:
    rows = [
        xl({"batch_size": 1}, latency=0.1, energy=40.0, reach=0.001, **fields),
        xl({"batch_size": 4}, latency=second_s, energy=20.0, reach=0.001, **fields),
    ]
    return judged(rows, "batch_size", ("batch_size",))


def test_a_ratio_that_agrees_and_one_that_differs() -> None:
    published = 0.5948651920572917 / 0.2999109442647298  # 1.983
    agrees = batches(0.1 * published)["batch_size=4", "latency"]
    assert agrees.verdict == "agrees"
    assert agrees.their_ratio == pytest.approx(published)
    differs = batches(0.1 * published * 1.2)["batch_size=4", "latency"]
    assert differs.verdict == "differs"
    assert "below our interval" in differs.reason
    first = batches(0.2)["batch_size=1", "latency"]
    assert first.verdict == "not comparable"
    assert "first row" in first.reason


def test_untrained_weights_keep_the_ratio_and_lose_wer_and_flops() -> None:
    found = batches(0.2, trained=False, flops_reference=Estimate(value=2.89e12))
    assert found["batch_size=4", "latency"].verdict == "agrees"
    assert "weights are not trained" in found["batch_size=4", "latency"].reason
    for quantity in ("wer_value", "flops"):
        assert found["batch_size=4", quantity].verdict == "not comparable"


def test_random_inputs_of_exact_length_are_named() -> None:
    rows = [
        xl({"image_size": 224, "seed": s}, latency=0.5, reach=0.03, trained=False, text_length=200,
           config={"dataset": "synthetic-random"})
        for s in (0, 1)
    ]  # fmt: skip
    rows.append(xl({"image_size": 336, "seed": 0}, latency=0.5, reach=0.03, trained=False,
                   text_length=200, config={"dataset": "synthetic-random"}))  # fmt: skip
    link = ReferenceLink(table="image_size", dataset="TextVQA")
    found = judge(rows, ("image_size", "seed"), link, TABLES)
    last = next(i for i in found if i.cell == "image_size=336 seed=0" and i.quantity == "latency")
    assert (last.verdict, last.our_ratio is not None) == ("agrees", True)
    assert last.reason.endswith("and every input is 200 tokens long")


@pytest.mark.parametrize(("reach", "verdict"), [(0.03, "agrees"), (0.1, "cannot be told apart")])
def test_a_wide_interval_agrees_with_nothing(reach: float, verdict: str) -> None:
    """0.5 ± 0.03 over itself reaches 9 % from 1; ± 0.1 reaches 33 %: 0.75 would be inside, too."""
    rows = [xl({"image_size": size}, latency=0.5, reach=reach) for size in (224, 336)]
    found = judge(
        rows, ("image_size",), ReferenceLink(table="image_size", dataset="TextVQA"), TABLES
    )
    (last,) = [i for i in found if i.cell == "image_size=336" and i.quantity == "latency"]
    assert last.verdict == verdict
    assert ("reaches more than 10%" in last.reason) == (verdict != "agrees")


def test_wer_and_flops_are_judged_as_they_stand() -> None:
    settings = {"batch_size": 4}
    good = xl(settings, wer=3.0, reach=0.1, flops_reference=Estimate(value=2.893e12))
    found = judged([good], "batch_size", ("batch_size",))
    assert found["batch_size=4", "wer_value"].verdict == "agrees"
    assert found["batch_size=4", "flops"].verdict == "agrees"  # 2.893 prints as 2.89
    bad = xl(settings, wer=2.0, reach=0.1, flops_reference=Estimate(value=2.90e12))
    found = judged([bad], "batch_size", ("batch_size",))
    assert found["batch_size=4", "wer_value"].verdict == "differs"
    assert found["batch_size=4", "flops"].verdict == "differs"
    assert "+0.35%" in found["batch_size=4", "flops"].reason


def test_another_size_than_the_published_model_saw() -> None:
    rows = [
        xl({"image_size": size}, latency=0.5, reach=0.03, pixels=size, energy=1.0)
        for size in (224, 448)
    ]
    found = judged(rows, "image_size", ("image_size",))
    assert "really saw 448 px" in found["image_size=448", "latency"].reason


def test_another_model_is_never_judged_but_stands_beside() -> None:
    rows = [row({"batch_size": b}, latency=float(b), reach=0.03) for b in (1, 4)]
    found = judged(rows, "batch_size", ("batch_size",))
    assert {item.verdict for item in found.values()} == {"not comparable"}
    assert all("another model" in item.reason for item in found.values())
    assert found["batch_size=4", "latency"].theirs == 0.5948651920572917


def test_the_cpu_row_is_shown_and_not_judged() -> None:
    one = xl({"device": "cpu"}, latency=1.0, energy=5.0, reach=0.1, config={"dataset": "scienceqa"})
    found = judged([one], "gpu_vs_cpu", ("device",))
    assert found["device=cpu", "energy"].theirs == 53.02778070171674
    assert "not stated" in found["device=cpu", "energy"].reason


def test_cells_without_a_run_are_left_out() -> None:
    rows = [xl({"batch_size": 1}, status="failed", reason="out of memory")]
    assert judged(rows, "batch_size", ("batch_size",)) == {}
