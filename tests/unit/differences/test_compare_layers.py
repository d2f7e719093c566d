"""Per-layer differences: hand arithmetic, sums for any two tables, and a real capture slowed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import account_of
from layerscope.core.errors import DataError
from layerscope.core.vocabulary import OUTSIDE_MODEL
from layerscope.differences import Subject, compare, compare_layers
from layerscope.records import LayerTable
from layerscope.records.comparison import LayerChange


def trace(
    path: Path, layers: list[tuple[str, int, int]], *, device: bool, root: int = 10_000
) -> LayerTable:
    """Layers as (FQN, host ns, device ns) one after another inside `generate`."""
    writer = TraceWriter()
    writer.layer("generate", 1_000, root)
    at = 1_100
    for index, (fqn, host, gpu) in enumerate(layers):
        writer.layer(fqn, at, host)
        if device:
            writer.launch(index, at + 1)
            writer.kernel(index, 20_000 + index, gpu)
        at += host
    return account_of(writer.write(path)).table


def by_name(rows: tuple[LayerChange, ...]) -> dict[tuple[str, str], LayerChange]:
    return {(row.layer, row.phase): row for row in rows}


def test_device_time_by_hand(tmp_path: Path) -> None:
    base = trace(tmp_path / "a.json", [("a", 500, 70), ("b", 500, 40), ("c", 9, 5)], device=True)
    other = trace(tmp_path / "b.json", [("a", 500, 90), ("b", 700, 10), ("d", 9, 1)], device=True)
    found = compare_layers(base, other)
    assert found.measure == "device"
    assert [(r.layer, r.base_ns, r.other_ns, r.change_ns, r.status) for r in found.rows[:4]] == [
        ("b", 40, 10, -30, "both"),
        ("a", 70, 90, 20, "both"),
        ("c", 5, None, -5, "vanished"),
        ("d", None, 1, 1, "appeared"),
    ]
    assert (found.base_whole_ns, found.other_whole_ns, found.change_ns) == (115, 101, -14)
    assert found.unexplained_ns == 0
    assert sum(part.change_ns for part in found.phases) == -14


def test_host_time_where_one_side_has_no_device(tmp_path: Path) -> None:
    base = trace(tmp_path / "a.json", [("a", 500, 70)], device=True)
    other = trace(tmp_path / "b.json", [("a", 800, 0)], device=False, root=10_400)
    found = compare_layers(base, other)
    assert found.measure == "host"
    assert found.rows[0].layer == "a"
    assert found.rows[0].change_ns == 300
    # The root lost nothing: it is 400 longer, 300 of which lie in its child.
    assert [row.change_ns for row in found.rows if row.layer == "generate"] == [100]
    assert found.change_ns == 400
    assert any("only one of the two traces holds device events" in note for note in found.notes)


def test_calls_that_differ_are_named(tmp_path: Path) -> None:
    base = trace(tmp_path / "a.json", [("a", 500, 7)], device=True)
    other = trace(tmp_path / "b.json", [("a", 500, 7), ("a", 500, 7)], device=True)
    found = compare_layers(base, other)
    assert any("1 and 2 calls" in note for note in found.notes)


def test_traces_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    host = trace(tmp_path / "a.json", [("a", 500, 0)], device=False)
    writer = TraceWriter()
    writer.launch(1, 5)
    writer.kernel(1, 10, 7)
    device = account_of(writer.write(tmp_path / "b.json")).table
    assert device.whole.host_window_ns is None
    with pytest.raises(DataError, match="no kind of time in common"):
        compare_layers(host, device)
    with pytest.raises(DataError, match="nothing to compare"):
        compare(Subject(name="a", table=host), Subject(name="b", table_absent="no trace"))


def test_a_failing_account_is_said_and_its_gap_shows(tmp_path: Path) -> None:
    base = trace(tmp_path / "a.json", [("a", 500, 70), ("b", 1, 30)], device=True)
    broken = replace(base, rows=tuple(row for row in base.rows if row.layer != "a"))
    found = compare_layers(base, broken)
    assert found.unexplained_ns == -70
    assert any("OTHER does not add up" in note for note in found.notes)


def test_bare_traces_have_layers_and_no_significance(tmp_path: Path) -> None:
    table = trace(tmp_path / "a.json", [("a", 500, 70)], device=True)
    found = compare(Subject(name="a.json", table=table), Subject(name="b.json", table=table))
    assert found.metrics == ()
    assert found.metrics_absent == "no run record beside a.json and b.json"
    assert "no significance" in found.cautions[0]
    assert found.layers is not None


layer_lists = st.lists(
    st.tuples(
        st.sampled_from(["a", "a.x", "b", "b.y.z", "vision_model", "c"]),
        st.integers(1, 900),
        st.integers(0, 10**6),
    ),
    max_size=8,
)


@given(first=layer_lists, second=layer_lists, devices=st.tuples(st.booleans(), st.booleans()))
@settings(max_examples=80, deadline=None)
def test_differences_sum_to_the_difference_of_the_wholes(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, int, int]],
    second: list[tuple[str, int, int]],
    devices: tuple[bool, bool],
) -> None:
    folder = tmp_path_factory.mktemp("t")
    base = trace(folder / "a.json", first, device=devices[0])
    other = trace(folder / "b.json", second, device=devices[1], root=12_345)
    found = compare_layers(base, other)
    assert found.unexplained_ns == 0
    assert sum(row.change_ns for row in found.rows) == found.other_whole_ns - found.base_whole_ns
    assert sum(part.change_ns for part in found.phases) == found.change_ns
    sizes = [abs(row.change_ns) for row in found.rows]
    assert sizes == sorted(sizes, reverse=True)
    back = by_name(compare_layers(other, base).rows)
    assert {key: -row.change_ns for key, row in by_name(found.rows).items()} == {
        key: row.change_ns for key, row in back.items()
    }


def test_a_gap_between_calls_of_the_root_is_a_difference_too(tmp_path: Path) -> None:
    def two_calls(path: Path, gap: int) -> LayerTable:
        writer = TraceWriter()
        writer.layer("generate", 1_000, 100)
        writer.layer("generate", 1_100 + gap, 100)
        return account_of(writer.write(path)).table

    found = compare_layers(two_calls(tmp_path / "a.json", 10), two_calls(tmp_path / "b.json", 50))
    assert found.rows[0].layer == OUTSIDE_MODEL
    assert found.rows[0].change_ns == found.change_ns == 40


@pytest.mark.parametrize("slowed", ["1", "3.inner"])
def test_a_layer_slowed_on_purpose_is_named_first(tmp_path: Path, slowed: str) -> None:
    import torch
    from torch import nn

    import layerscope

    class Slow(nn.Module):
        """Multiplies, and waits first where it was told to."""

        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.inner_weight = nn.Parameter(torch.eye(16))
            self.seconds = seconds

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.seconds:
                time.sleep(self.seconds)
            return x @ self.inner_weight

    class Holder(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(x)
            return result

    def net(waits: dict[str, float]) -> nn.Module:
        return nn.Sequential(
            nn.Linear(16, 16),
            Slow(waits.get("1", 0.0)),
            nn.ReLU(),
            Holder(Slow(waits.get("3.inner", 0.0))),
        )

    def table(waits: dict[str, float]) -> LayerTable:
        model = net(waits)
        model(torch.ones(2, 16))  # first calls cost what later ones do not
        with torch.no_grad(), layerscope.capture(model) as cap:
            for _ in range(3):
                model(torch.ones(2, 16))
        return cap.table

    found = compare_layers(table({}), table({slowed: 0.1}))
    assert found.measure == "host"
    assert found.rows[0].layer == slowed
    assert found.rows[0].change_ns > 250_000_000
    assert found.unexplained_ns == 0
