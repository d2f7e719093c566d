"""Random trees of ranges and launches against the slow obvious reference, equal to the nanosecond."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter
from support.slow_reference import Range, Work, device_self, host_self

from layerscope.account.account import account_of
from layerscope.records.tables import Account


@st.composite
def nested(draw: st.DrawFn, start: int, end: int, path: str, depth: int) -> list[Range]:
    """Disjoint ranges inside [start, end), each with ranges of its own inside."""
    found: list[Range] = []
    at = start
    for index in range(draw(st.integers(0, 3 if depth else 4))):
        if end - at < 2:
            break
        begin = draw(st.integers(at, end - 1))
        stop = draw(st.integers(begin + 1, end))
        fqn = f"{path}.m{index}" if path else draw(st.sampled_from(["a", "b", "generate", "c"]))
        if path == "generate":
            fqn = draw(st.sampled_from(["a", "b", "c"]))
        found.append(Range(fqn, begin, stop, 1))
        if depth < 3:
            found += draw(nested(begin, stop, fqn, depth + 1))
        at = stop
    return found


@st.composite
def traces(draw: st.DrawFn) -> tuple[list[Range], list[Work]]:
    ranges = draw(nested(1000, 1000 + draw(st.integers(10, 5000)), "", 0))
    launch = st.one_of(st.none(), st.integers(900, 6200))
    work = draw(
        st.lists(
            st.builds(
                Work,
                start=st.integers(0, 9000),
                duration=st.integers(0, 10**6),
                launched_at=launch,
                tid=st.sampled_from([1, 1, 1, 2]),
            ),
            max_size=30,
        )
    )
    return ranges, work


def write(ranges: list[Range], work: list[Work], path: Path, *, shuffle: bool) -> Account:
    writer = TraceWriter()
    for r in ranges:
        writer.layer(r.fqn, r.start, r.end - r.start, tid=r.tid)
    for index, item in enumerate(work):
        if item.launched_at is not None:
            writer.launch(index, item.launched_at, driver=index % 2 == 0, tid=item.tid)
        writer.kernel(index, item.start, item.duration, name=f"k{index % 3}")
    if shuffle:
        # Launches and kernels may come first; equal ranges keep their order, as Kineto keeps it.
        writer.events.sort(key=lambda e: e["cat"], reverse=True)
    return account_of(writer.write(path))


@given(trace=traces(), shuffle=st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_nanosecond_lands_where_the_slow_reference_puts_it(
    tmp_path_factory: pytest.TempPathFactory, trace: tuple[list[Range], list[Work]], shuffle: bool
) -> None:
    ranges, work = trace
    account = write(ranges, work, tmp_path_factory.mktemp("t") / "t.json", shuffle=shuffle)
    table = account.table
    assert table.failures() == ()
    gpu: Counter[str] = Counter()
    cpu: Counter[str] = Counter()
    for row in table.rows:
        gpu[row.layer] += row.gpu_self_ns or 0
        cpu[row.layer] += row.cpu_self_ns or 0
    renamed = Counter[str]()
    for fqn, value in device_self(ranges, work).items():
        renamed[fqn] += value
    assert +gpu == +renamed
    assert +cpu == +host_self(ranges)
    assert sum(gpu.values()) == sum(item.duration for item in work)
    assert sum(row.total_ns for row in account.kernels) == sum(item.duration for item in work)
    assert sum(row.kernels for row in table.rows) == len(work)


@given(trace=traces())
@settings(max_examples=60, deadline=None)
def test_totals_are_what_lies_below_in_the_tree(
    tmp_path_factory: pytest.TempPathFactory, trace: tuple[list[Range], list[Work]]
) -> None:
    ranges, work = trace
    table = write(ranges, work, tmp_path_factory.mktemp("t") / "t.json", shuffle=False).table
    for row in table.rows:
        if row.is_bucket or row.gpu_total_ns is None:
            continue
        below = sum(
            other.gpu_self_ns or 0
            for other in table.rows
            if not other.is_bucket
            and other.phase == row.phase
            and (
                row.layer == table.root
                or other.layer == row.layer
                or other.layer.startswith(row.layer + ".")
            )
        )
        assert row.gpu_total_ns == below
