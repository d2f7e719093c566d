"""Energy by layer of two runs: above idle within both bars, whole at equal wall time."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from layerscope.differences.energy_by_unit import energy_changes
from layerscope.joules.repeats import Repeat
from layerscope.records.comparison import Comparison
from layerscope.report.compare import comparison_markdown, render_comparison

ONE = Repeat(
    above_j=10.0, above_half_j=0.3, wall_s=0.1, idle_w=100.0, energy_share=0.2, device_share=0.1
)


def test_a_run_that_waited_longer_is_no_costlier_layer() -> None:
    """20 J against 40 J as the runs went; above idle 10 and 10.4, within 0.5 of each other."""
    waits = replace(ONE, above_j=10.4, above_half_j=0.4, wall_s=0.3)
    (found,) = energy_changes({"u": ONE, "only here": ONE}, {"u": waits})
    assert (found.base_equal_wall_j, found.other_equal_wall_j) == (30.0, 30.4)
    assert round(found.half_j, 9) == 0.5
    assert not found.told_apart


def test_what_draws_more_is_told_and_comes_first() -> None:
    more, alike = replace(ONE, above_j=11.0), replace(ONE, above_j=10.1)
    found = energy_changes({"a": ONE, "b": ONE}, {"a": alike, "b": more})
    assert [(item.unit, item.told_apart) for item in found] == [("b", True), ("a", False)]


def test_the_tables_hold_both_and_say_which_are_told_apart() -> None:
    energy = energy_changes({"a": ONE, "b": ONE}, {"a": ONE, "b": replace(ONE, above_j=11.0)})
    compared = Comparison(
        base="x", other="y", differences=(), metrics=(), layers=None, energy=energy
    )
    file = StringIO()
    render_comparison(compared, (), Console(file=file, width=200), top=1)
    assert "joules of replayed units" in file.getvalue()
    assert "1 more unit" in file.getvalue()
    page = comparison_markdown(compared, (), top=5)
    assert "| b | 10.0000 | 11.0000 | +1.0000 | 0.4243 | 20.0000 | 21.0000 | differs |" in page
    assert "cannot be told apart" in page
