"""The comparison on the screen and in Markdown: words, sums and hostile names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from layerscope.records.comparison import (
    Comparison,
    Condition,
    Difference,
    LayerChange,
    LayerComparison,
    MetricChange,
    Outcome,
    PhaseChange,
)
from layerscope.records.interval import Interval
from layerscope.report.compare import comparison_json, comparison_markdown, render_comparison

Screen = Callable[..., Any]


def change(layer: str, base_ns: int | None, other_ns: int | None) -> LayerChange:
    return LayerChange(
        layer=layer,
        phase="decode",
        module="Linear",
        group="other",
        base_ns=base_ns,
        other_ns=other_ns,
        base_calls=1,
        other_calls=1,
    )


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(
        base="traces/a",
        other="traces/[red]b",
        differences=(Difference(kind="way", name="dtype", base="fp16", other="bf16"),),
        metrics=(
            MetricChange(
                metric="latency",
                unit="s/batch",
                base=1.0,
                other=0.88,
                change=-0.12,
                relative=-0.12,
                interval=Interval(low=-0.15, high=-0.09, method="bootstrap", confidence=0.99),
                noise_floor=0.03,
                shown=True,
                verdict="faster by 12 % [9, 15]",
                basis="ratio of medians",
            ),
            MetricChange(
                metric="energy",
                unit="J/sample",
                base=None,
                other=2.0,
                verdict="not judged",
                absent="BASE: no NVML device",
            ),
        ),
        layers=LayerComparison(
            measure="device",
            rows=(
                change("slow|er\x1b[2J", 1_000, 51_000),
                change("gone", 2_500, None),
                change("new", None, 1_250),
            ),
            phases=(PhaseChange(name="decode", base_ns=3_500, other_ns=52_250),),
            base_whole_ns=3_500,
            other_whole_ns=52_250,
            notes=("one traced batch a side",),
        ),
        cautions=("one run a side",),
    )


@pytest.fixture
def outcome() -> Outcome:
    condition = Condition(
        text="latency>5%", metric="latency", operator=">", value=0.05, relative=True
    )
    return Outcome(
        condition=condition, crossed=False, judged=True, sentence="'latency>5%': not crossed"
    )


def test_screen(comparison: Comparison, outcome: Outcome, screen: Screen) -> None:
    shown = screen(width=200)
    render_comparison(comparison, [outcome], shown.console, top=1)
    text = shown.text
    assert "\x1b" not in text
    assert "[red]b" in text
    assert "run differently: dtype fp16 -> bf16" in text
    assert "faster by 12 % [9, 15]" in text
    assert "not judged: energy: BASE: no NVML device" in text
    assert "+0.0500" in text
    # The two rows not shown: -2.500 + 1.250 us.
    more = next(line for line in text.splitlines() if line.startswith("2 more rows"))
    assert more.split()[-1] == "-0.00125"
    assert (
        "1 appeared, 1 vanished; sum of their changes minus the change of the whole: 0 ns" in text
    )
    assert "caution: one run a side" in text
    assert "its 99 % interval excludes 0" in text
    assert "--fail-on 'latency>5%': not crossed" in text


def test_markdown(comparison: Comparison, outcome: Outcome) -> None:
    text = comparison_markdown(comparison, [outcome], top=3)
    assert "\x1b" not in text
    assert "| latency | 1 s/batch | 0.88 s/batch | -12.0 % | 3.0 % | faster by 12 %" in text
    assert r"| slow\|er\\x1b\[2J | decode |" in text
    assert "| vanished |" in text
    assert "| **whole** | **0.00350** | **0.0522** | **+0.0488** |" in text


def test_json_holds_what_is_derived(comparison: Comparison) -> None:
    import msgspec

    built = msgspec.json.decode(comparison_json(comparison, []))
    assert built["layers"]["change_ns"] == 48_750
    assert built["layers"]["unexplained_ns"] == 0
    assert [row["status"] for row in built["layers"]["rows"]] == ["both", "vanished", "appeared"]
    assert built["metrics"][1]["base"] is None
