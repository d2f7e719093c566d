"""The ranks of a distributed run and their sum, by hand and as a user asks for them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.account.account import account_of
from layerscope.account.ranks import named, rank_sum
from layerscope.cli.main import cli
from layerscope.core.errors import DataError
from layerscope.runs.run import Run


def rank(path: Path, number: int, spans: list[tuple[str, int, int]], size: int = 2) -> Path:
    """A trace of one rank: layers one after the other, each with a kernel of half its host time."""
    writer = TraceWriter()
    at = 0
    for correlation, (fqn, host, device) in enumerate(spans):
        writer.layer(fqn, at, host)
        writer.launch(correlation, at + 1)
        writer.kernel(correlation, 10_000 + at, device, device=number)
        at += host
    document = {
        "distributedInfo": {"rank": number, "world_size": size},
        "traceEvents": writer.events,
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    folder = tmp_path / "ranks"
    folder.mkdir()
    rank(folder / "a.json", 0, [("fc", 100, 50), ("head", 20, 5)])
    rank(folder / "b.json", 1, [("fc", 200, 70), ("extra", 30, 9), ("head", 40, 6)])
    return folder


def test_the_sum_by_hand(two: Path) -> None:
    found = Run.open(sorted(two.iterdir())).account
    total = found.table
    total.check()
    assert {
        r.layer: (r.calls, r.kernels, r.gpu_self_ns, r.cpu_self_ns) for r in total.rows if r.calls
    } == {"fc": (2, 2, 120, 300), "head": (2, 2, 11, 60), "extra": (1, 1, 9, 30)}
    assert total.whole.device_sum_ns == 140
    assert total.whole.host_window_ns == 120 + 270
    assert [d.device for d in found.devices] == [
        "rank 0 of 2, device 0",
        "rank 1 of 2, device 1",
    ]
    layers = [row.layer for row in total.rows if row.calls]
    assert layers == ["fc", "extra", "head"]  # where rank 1 has it


def test_as_a_user_asks(two: Path, tmp_path: Path) -> None:
    table = tmp_path / "layers.csv"
    for paths in ([str(two)], [str(p) for p in sorted(two.iterdir())]):
        done = CliRunner().invoke(cli, ["layers", *paths, "--csv", str(table)])
        assert done.exit_code == 0, done.output
        assert "by rank" in done.output
        assert "rank 1 of 2" in done.output
        assert "difference 0 ns" in done.output
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert sum(float(row["gpu_self_us"]) for row in rows) == pytest.approx(0.140)


def test_a_rank_that_is_missing_is_said_and_one_given_twice_is_refused(tmp_path: Path) -> None:
    first = rank(tmp_path / "a.json", 0, [("fc", 100, 50)], size=3)
    second = rank(tmp_path / "b.json", 1, [("fc", 100, 50)], size=3)
    notes = Run.open([first, second]).account.table.notes
    assert "2 of 3 ranks: the others' time is not in the sum" in notes
    with pytest.raises(DataError, match="2 traces of rank 0 of 3; give each rank once"):
        _ = Run.open([first, rank(tmp_path / "c.json", 0, [("fc", 1, 1)], size=3)]).account
    with pytest.raises(DataError, match="give each rank once"):
        _ = Run.open([first, first]).account


def test_layers_of_two_kinds_do_not_add_up(tmp_path: Path) -> None:
    operators = TraceWriter()
    operators.op("aten::mm", 0, 10)
    other = operators.write(tmp_path / "o.json")
    with pytest.raises(DataError, match="not of one kind"):
        _ = Run.open([rank(tmp_path / "a.json", 0, [("fc", 9, 9)]), other]).account


spans = st.lists(
    st.tuples(st.sampled_from(["a", "a.b", "b", "c.d"]), st.integers(1, 99), st.integers(0, 99)),
    min_size=1,
    max_size=6,
)


@given(ranks=st.lists(spans, min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_ranks_conserve(
    tmp_path_factory: pytest.TempPathFactory, ranks: list[list[tuple[str, int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("ranks")
    accounts = [account_of(rank(folder / f"{i}.json", i, s)) for i, s in enumerate(ranks)]
    total = rank_sum(named(accounts), "all").table
    assert total.failures() == ()
    assert total.whole.device_sum_ns == sum(device for s in ranks for _, _, device in s)
    assert total.whole.host_window_ns == sum(host for s in ranks for _, host, _ in s)
    assert sum(row.calls for row in total.rows) == sum(len(s) for s in ranks)
