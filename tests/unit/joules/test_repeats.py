"""Equal runs beside each other: by hand, and the committed repeats, whose bars were fixed before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from layerscope.core.errors import DataError
from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.joules.repeats import Repeat, Repeated, agreement
from layerscope.records import load
from layerscope.report.energy_repeats import read_repeats

H200 = Path(__file__).parents[3] / "docs" / "results" / "h200"
ONE = Repeat(
    above_j=10.0, above_half_j=0.3, wall_s=0.1, idle_w=100.0, energy_share=0.2, device_share=0.1
)


def test_joules_above_idle_agree_within_both_bars() -> None:
    """0.3 and 0.4 reach 0.5 together: 10.5 agrees with 10, 10.6 does not."""
    two = replace(ONE, above_half_j=0.4)
    unit = Repeated(name="u", runs=(ONE, replace(two, above_j=10.5), replace(two, above_j=10.6)))
    assert (unit.pairs, unit.pairs_alike) == (3, 2)


def test_whole_joules_at_equal_wall_time() -> None:
    """The second run waited 0.3 s where the first waited 0.1: at 0.2 s each both have 30 J."""
    unit = Repeated(name="u", runs=(ONE, replace(ONE, wall_s=0.3)))
    assert unit.at_equal_wall_j == pytest.approx((30.0, 30.0))


def test_joules_against_time_are_told_only_where_all_runs_agree() -> None:
    less = replace(ONE, energy_share=0.05)
    assert Repeated(name="u", runs=(ONE, ONE)).joules_against_time == (2.0, 2.0)
    assert Repeated(name="u", runs=(less, less)).joules_against_time == (0.5, 0.5)
    assert Repeated(name="u", runs=(ONE, less)).joules_against_time is None


@pytest.mark.parametrize("batch", [16, 1])
def test_the_committed_repeats_agree_above_idle(batch: int) -> None:
    """Bars: the windows' scatter, and the error of idle power as another run of the same batch on the
    same kind of card measured it, days before."""
    record = load(H200 / f"xl-b{batch}-eager")
    assert record.trace is not None
    whole = end_to_end_of(record.energy, record.trace, record.latency)
    assert whole is not None
    folder = H200 / "energy_by_layer" / f"b{batch}-groups"
    files = [folder / f"layer_energy-{number}.csv" for number in (1, 2, 3)]
    units = read_repeats(files, whole.reach * whole.idle_error_w)
    found = agreement(units)
    assert found.pairs == 78
    assert found.alike >= 0.9 * found.pairs
    assert found.median_half <= 0.05
    scatter_alone = agreement(read_repeats(files))
    assert scatter_alone.alike == {16: 77, 1: 63}[batch]


def test_what_changes_its_sign_between_repeats_is_not_told() -> None:
    folder = H200 / "energy_by_layer" / "b16-groups"
    units = {u.name: u for u in read_repeats([folder / f"layer_energy-{n}.csv" for n in (1, 2, 3)])}
    assert units["vision.mlp (vision)"].joules_against_time is None
    assert units["decoder.self_attention (decode)"].joules_against_time is not None


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("unit,energy_j\na,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"t\.csv: not a table of energy by layer"):
        read_repeats([tmp_path / "t.csv"])
