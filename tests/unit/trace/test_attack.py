"""Nothing breaks the reader: hostile times, bombs, deep nesting, random damage."""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.slow_reference import Range, Work, clamped, device_self, host_self
from support.trace_attack import judge, mutated, seeds

from layerscope.account.account import account_of
from layerscope.core.errors import DataError
from layerscope.trace import events
from layerscope.trace.columns import read_trace

DAY_NS = 86_400 * 10**9
# Of the µs since 1970 a float keeps a quarter; 2**59 ns are 18 years.
CLOCKS = [0, 3, -5000, 1_790_857_026_000_000_123, 1 << 59]


def us(ns: int) -> str:
    sign, size = ("-", -ns) if ns < 0 else ("", ns)
    return f"{sign}{size // 1000}.{size % 1000:03d}"


def event(cat: str, name: str, start: int, dur: int, pid: int, tid: int, args: str) -> str:
    return (
        f'{{"ph":"X","cat":"{cat}","name":"{name}","pid":{pid},"tid":{tid},'
        f'"ts":{us(start)},"dur":{us(dur)},"args":{{{args}}}}}'
    )


@st.composite
def hostile(draw: st.DrawFn) -> tuple[list[Range], list[Work], int, list[int]]:
    """Ranges that nest, overlap, cross and repeat, in no order; lengths of 0, below 0 and huge."""
    zero = draw(st.sampled_from(CLOCKS))
    length = st.one_of(st.integers(-3, 12), st.sampled_from([0, 40, DAY_NS]))
    ranges = []
    for _ in range(draw(st.integers(0, 12))):
        start = zero + draw(st.integers(0, 30))
        fqn = draw(st.sampled_from(["a", "a.b", "c", "generate"]))
        ranges.append(Range(fqn, start, start + draw(length), 1))
    if ranges and draw(st.booleans()):
        ranges += draw(st.lists(st.sampled_from(ranges), max_size=3))
    lengths = [r.end - r.start for r in ranges]
    launched = st.one_of(st.none(), st.integers(-2, 60).map(lambda at: zero + at))
    work = draw(
        st.lists(
            st.builds(
                Work,
                start=st.integers(0, 90).map(lambda at: zero + at),
                duration=st.one_of(st.integers(0, 50), st.just(DAY_NS)),
                launched_at=launched,
                tid=st.sampled_from([1, 1, 2]),
            ),
            max_size=12,
        )
    )
    return ranges, work, draw(st.integers(30, 4000)), lengths


@given(trace=hostile(), order=st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_hostile_spans_land_where_the_slow_reference_puts_them(
    tmp_path_factory: pytest.TempPathFactory,
    trace: tuple[list[Range], list[Work], int, list[int]],
    order: random.Random,
) -> None:
    ranges, work, block, lengths = trace
    rows = [
        event("cpu_op", f"layer:{r.fqn}", r.start, length, 9, r.tid, "")
        for r, length in zip(ranges, lengths, strict=True)
    ]
    for index, item in enumerate(work):
        if item.launched_at is not None:
            link = f'"correlation":{index}'
            rows.append(event("cuda_runtime", "l", item.launched_at, 1, 9, item.tid, link))
        link = f'"correlation":{index},"device":0,"stream":7'
        rows.append(event("kernel", "k", item.start, item.duration, 0, 7, link))
    # Equal intervals keep the file's order, by which the reference tells the inner one, too.
    spans, rest = rows[: len(ranges)], rows[len(ranges) :]
    order.shuffle(rest)
    path = tmp_path_factory.mktemp("t") / "t.json"
    path.write_text("[" + ",\n".join([*rest[::2], *spans, *rest[1::2]]) + "]")
    assert read_trace(path, block).device.dur_ns.sum() == sum(item.duration for item in work)
    table = account_of(path).table
    assert table.failures() == ()
    nested = clamped([Range(r.fqn, r.start, max(r.start, r.end), r.tid) for r in ranges])
    gpu: Counter[str] = Counter()
    cpu: Counter[str] = Counter()
    for row in table.rows:
        gpu[row.layer] += row.gpu_self_ns or 0
        cpu[row.layer] += row.cpu_self_ns or 0
    assert +gpu == +device_self(nested, work)
    assert +cpu == +host_self(nested)


@pytest.mark.parametrize(
    "value",
    ["NaN", "Infinity", "1e999", "-1e999", "9223372036854775807", "9223372036854775808", "1e30",
     "1e999999999", "true", "[]", '"noon"', "1e-999999999999"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["ts", "dur"])
@pytest.mark.parametrize("late", [False, True])
def test_a_time_that_is_none_is_refused_with_its_place(
    tmp_path: Path, key: str, value: str, late: bool
) -> None:
    # After a time that floats cannot hold, times are read as text: another way in.
    before = event("cpu_op", "o", (1 << 59) if late else 5, 1, 1, 1, "")
    broken = event("cpu_op", "o", 5, 1, 1, 1, "").replace(
        f'"{key}":0.00', f'"{key}":{value},"x":0.00'
    )
    path = tmp_path / "t.json"
    path.write_text(f"[{before},{broken}]")
    if value.startswith("1e-9"):  # tiny, so 0
        spans = read_trace(path).spans
        assert 0 in (spans.start_ns[1], spans.dur_ns[1])
        return
    with pytest.raises(DataError, match=" byte ") as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_durations_beyond_64_bits_in_sum_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text("[" + ",".join([event("kernel", "k", 0, 1 << 60, 0, 7, "")] * 9) + "]")
    with pytest.raises(DataError, match="durations of"):
        read_trace(path)


def test_ids_of_any_size_stay_apart(tmp_path: Path) -> None:
    ids = ["9223372036854775807", "9223372036854775808", "18446744073709551616", "-2", '"x"', "1.5"]
    launches = [event("cuda_runtime", "l", 1, 1, 1, 1, f'"correlation":{i}') for i in ids]
    kernels = [event("kernel", "k", 9, 1, 0, 7, f'"correlation":{i}') for i in ids]
    path = tmp_path / "t.json"
    path.write_text("[" + ",".join(launches + kernels) + "]")
    columns = read_trace(path)
    assert len(set(columns.launches.correlation.tolist())) == len(ids)
    assert columns.launches.correlation.tolist() == columns.device.correlation.tolist()


LIMITED = """
import sys
from pathlib import Path
from layerscope.core.errors import DataError
from layerscope.trace.columns import read_trace
try:
    read_trace(Path(sys.argv[1]))
except DataError as error:
    print(error)
# Not getrusage's: that begins with the size of the process this one was started from.
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def limited(path: Path) -> tuple[str, int]:
    """What the reader said, and its peak memory in MiB, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    said, _, peak = done.stdout.strip().rpartition("\n")
    return said, int(peak)


@pytest.mark.parametrize("form", ["gzip", "zip"])
@pytest.mark.parametrize(
    "filling",
    [b" " * 64, b'{"a":"' + b"x" * 55 + b'"},', b'"' + b"x" * 63],
    ids=["spaces", "events", "one text"],
)
def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path, form: str, filling: bytes) -> None:
    path = tmp_path / "bomb"
    block = filling * (1 << 14)
    if form == "gzip":
        with gzip.open(path, "wb", 6) as file:
            file.write(b"[")
            for _ in range(40):
                file.write(block)
    else:
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("t.json", "w", force_zip64=True) as member,
        ):
            member.write(b"[")
            for _ in range(40):
                member.write(block)
    assert path.stat().st_size < 1 << 20
    said, peak = limited(path)
    assert said.startswith(f"{path}: ")
    assert "unfold" in said or "longer than" in said
    assert peak < 250


DEEP = 200_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP,
        '{"a":' * DEEP,
        '{"traceEvents":[{"args":' + '{"a":' * DEEP + "1" + "}" * DEEP + "}]}",
        '{"x":' + "[" * DEEP + "]" * DEEP + ',"traceEvents":[]}',
        '{"traceEvents":[],"x":' + "[" * DEEP + "]" * DEEP + "}",
        "[" + '{"ph":"X","args":' * DEEP,
    ],
)
def test_deep_nesting_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text)
    before = time.process_time()
    with pytest.raises(DataError, match="byte"):
        read_trace(path)
    assert time.process_time() - before < 5


def test_a_piece_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_PIECE_BYTES", 1 << 16)
    path = tmp_path / "t.json"
    path.write_text('[{"name":"' + "x" * (1 << 18))
    with pytest.raises(DataError, match="one event is longer than 65,536 bytes"):
        read_trace(path, 1 << 10)
    path.write_text('{"name":"' + "x" * (1 << 18))
    with pytest.raises(DataError, match="no `traceEvents` in the first 65,536 bytes"):
        read_trace(path, 1 << 10)
    path.write_text('{"traceEvents":[],"name":"' + "x" * (1 << 18))
    with pytest.raises(DataError, match="more than 65,536 bytes after the events"):
        read_trace(path, 1 << 10)


@pytest.mark.parametrize("seed", range(len(seeds())))
def test_every_seed_of_the_fuzz_run_is_read(tmp_path: Path, seed: int) -> None:
    assert judge(seeds()[seed], tmp_path / "t") == "read"


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_read_or_refused_in_one_line(tmp_path: Path, seed: int) -> None:
    """What `scripts/fuzz_trace.py` does for minutes, for a second, without its guidance."""
    rng = random.Random(seed)
    found = Counter(
        judge(mutated(rng, rng.choice(seeds())), tmp_path / "t", rng.choice([17, 64, 4 << 20]))
        for _ in range(500)
    )
    assert found.total() == 500
    assert found["read"] > 20
    assert found["refused"] > 20


@pytest.mark.parametrize("at", [12, 16])
@pytest.mark.parametrize("value", [0, 0x7FFFFFFF, 0xFFFFFFF0])
def test_a_zip_whose_list_lies_elsewhere_is_refused(tmp_path: Path, at: int, value: int) -> None:
    """Found by mutation: told to seek before the file, zipfile raises what a bad disk raises."""
    data = bytearray(seeds()[-1])
    end = data.rindex(b"PK\x05\x06") + at  # 12: size of the list of files, 16: its offset
    data[end : end + 4] = value.to_bytes(4, "little")
    path = tmp_path / "t.zip"
    path.write_bytes(data)
    with pytest.raises(DataError, match="zip"):
        read_trace(path)
