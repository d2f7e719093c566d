"""The reader cuts a trace between events in any layout and says where a damaged one breaks."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kineto import TraceWriter

from layerscope.core.errors import DataError
from layerscope.trace.columns import read_trace
from layerscope.trace.events import EventStream


def blocks_of(text: bytes, size: int) -> list[bytes]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def names_in(text: bytes, size: int) -> list[str]:
    stream = EventStream(blocks_of(text, size), Path("t.json"))
    return [event.name for piece in stream.pieces() for event in piece]


TRICKY = [
    "plain",
    "br{ace",
    "},{",
    'quote"quote',
    "back\\slash",
    "\n  },\n  {",
    "[]",
    "ünï",
    '"',
    '\\"',
]


def events(names: list[str]) -> list[dict[str, object]]:
    return [
        {"ph": "X", "cat": "cpu_op", "name": n, "pid": 1, "tid": 1, "ts": i, "dur": 1,
         "args": {"grid": [1, 2], "deep": [{"a": {"b": [{}]}}], "External id": i}}
        for i, n in enumerate(names)
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("bare", [True, False])
def test_every_event_comes_out_once_in_order_whatever_the_layout(
    size: int, indent: int | None, bare: bool
) -> None:
    listed = events(TRICKY * 3)
    document = (
        listed if bare else {"a": [{"traceEvents": []}], "traceEvents": listed, "z": [{}, {}]}
    )
    assert names_in(json.dumps(document, indent=indent).encode(), size) == TRICKY * 3


@given(
    names=st.lists(st.text(max_size=12), max_size=20),
    size=st.integers(1, 300),
    indent=st.sampled_from([None, 0, 2]),
)
@settings(max_examples=150, deadline=None)
def test_cuts_never_depend_on_where_a_block_ends(
    names: list[str], size: int, indent: int | None
) -> None:
    text = json.dumps({"x": "y", "traceEvents": events(names)}, indent=indent).encode()
    assert names_in(text, size) == names


@given(size=st.integers(5, 700), kineto=st.booleans(), count=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_kineto_layout_and_compact_layout_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, size: int, kineto: bool, count: int
) -> None:
    writer = TraceWriter()
    for i in range(count):
        writer.op(f"aten::op{i}", 1000 * i, 17 * i)
        writer.kernel(i, 1000 * i, i)
    path = writer.write(tmp_path_factory.mktemp("t") / "t.json.gz", kineto=kineto)
    columns = read_trace(path, block_bytes=size)
    assert columns.spans.dur_ns.tolist() == [17 * i for i in range(count)]
    assert columns.spans.start_ns.tolist() == [1000 * i for i in range(count)]
    assert columns.device.dur_ns.tolist() == list(range(count))
    assert columns.device.correlation.tolist() == list(range(count))


def test_metadata_before_the_events_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"schemaVersion": 1, "deviceProperties": [{"name": "X"}], "traceEvents": []}')
    assert read_trace(path).metadata == {"schemaVersion": 1, "deviceProperties": [{"name": "X"}]}


@pytest.mark.parametrize("clock_us", [4_614_274_607_850, 9_100_000_000_000, 1_790_857_026_000_000])
def test_nanoseconds_survive_clocks_of_any_size(tmp_path: Path, clock_us: int) -> None:
    rng = random.Random(0)
    fractions = [0, 1, 499, 500, 501, 999, *(rng.randrange(1000) for _ in range(50))]
    rows = ",".join(
        f'{{"ph":"X","cat":"cpu_op","name":"o","ts":{clock_us + i}.{f:03d},"dur":0.00{f % 10}}}'
        for i, f in enumerate(fractions)
    )
    path = tmp_path / "t.json"
    path.write_text(f'{{"traceEvents":[{rows}]}}')
    spans = read_trace(path).spans
    assert spans.start_ns.tolist() == [(clock_us + i) * 1000 + f for i, f in enumerate(fractions)]
    assert spans.dur_ns.tolist() == [f % 10 for f in fractions]


GOOD = json.dumps({"traceEvents": events(["a", "b", "c"])}).encode()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello", "neither a JSON object nor a list"),
        (b'{"config": {"a": 1}}', "no `traceEvents`"),
        (b"   ", "no `traceEvents`"),
        (GOOD[:-40], "ends inside the list of events"),
        (GOOD[:60], "ends inside the list of events"),
        (GOOD.replace(b'"ts": 1', b'"ts": x'), "damaged JSON"),
        (GOOD.replace(b'"ts": 1', b'"ts": "noon"'), "damaged JSON"),
        (gzip.compress(GOOD)[:-30], "ends early"),
        (gzip.compress(GOOD)[:-8] + b"\xff" * 8, "damaged gzip"),
        (b"\x1f\x8b", "ends early"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_trace(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_trace(tmp_path / "none.json")


@given(cut=st.integers(1, len(GOOD) - 2), kineto=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_cut_file_never_passes_for_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, cut: int, kineto: bool
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.json"
    if kineto:
        writer = TraceWriter()
        for i in range(3):
            writer.op(f"o{i}", i, 1)
        text = writer.write(path).read_bytes()
        end = text.rindex(b"]")
        path.write_bytes(text[: cut % end])
    else:
        path.write_bytes(GOOD[:cut])
    with pytest.raises(DataError):
        read_trace(path)


def test_kinds_of_events_are_told_apart(tmp_path: Path) -> None:
    writer = TraceWriter()
    writer.kernel(1, 0, 5)
    writer.kernel(2, 5, 5, cat="gpu_memcpy")
    writer.kernel(3, 10, 5, cat="gpu_memset")
    writer.kernel(4, 0, 15, cat="gpu_user_annotation")
    writer.launch(1, 0)
    writer.launch(2, 1, driver=True)
    writer.launch(3, 2, name="cudaGraphLaunch")
    writer._add("python", "python_function", 0, 1, 1, 1)
    columns = read_trace(writer.write(tmp_path / "t.json"))
    assert len(columns.device.name) == 3
    assert columns.launches.kind.tolist() == [1, 2, 3]
    assert len(columns.spans.name) == 0


def test_string_and_float_ids_link_as_integers_do(tmp_path: Path) -> None:
    writer = TraceWriter()
    writer.launch("12", 0)
    writer.launch(13.0, 1)
    writer.launch("abc", 2)
    writer.kernel(12, 5, 1)
    writer.kernel("13", 6, 1)
    writer.kernel("abc", 7, 1)
    columns = read_trace(writer.write(tmp_path / "t.json"))
    assert columns.launches.correlation.tolist() == columns.device.correlation.tolist()
