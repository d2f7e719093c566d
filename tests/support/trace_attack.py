"""Bytes in, the reader's answer out: an account that adds up, or one line that says where it breaks."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

from layerscope.account.account import account, work_out
from layerscope.core.errors import DataError
from layerscope.timeline.idle import idle_of
from layerscope.trace.columns import read_trace
from layerscope.trace.layer_source import find_layers

# What a byte-wise mutation rarely makes up: the words and numbers that the reader looks for.
WORDS = [
    b'"traceEvents"', b'"ph"', b'"X"', b'"B"', b'"E"', b'"cat"', b'"cpu_op"', b'"kernel"', b'"args"',
    b'"user_annotation"', b'"python_function"', b'"cuda_runtime"', b'"nn.Module: A_0"', b'"layer:a.b"',
    b'"phase:x"', b'"correlation"', b'"External id"', b'"device"', b'"stream"', b'"ts"', b'"dur"',
    b"null", b"NaN", b"1e308", b"1e-308", b"-0.0", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551616", b"1e999999999", b"9.1e12", b"1790857026000000.123", b"[", b"{", b"}", b"]",
    b"\n  },\n  {", b"\n  ]", b"\\u0000", b"\\ud800", b"\xff", b'"\\"', b'"generate"', b"true", b'"7.0"',
]  # fmt: skip


def judge(data: bytes, path: Path, block_bytes: int = 4 << 20) -> str:
    """`read` or `refused`. Anything else that happens is a defect of the reader, and is raised."""
    path.write_bytes(data)
    try:
        columns = read_trace(path, block_bytes)
    except DataError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert "\n" not in message
        assert re.search(r"\bbytes?\b|the file is empty|the zip holds", message), (
            f"no position: {message}"
        )
        return "refused"
    workings = work_out(columns, find_layers(columns))
    found = account(workings, source="t")
    found.table.check()
    whole = found.table.whole
    assert sum(row.sum_ns for row in found.devices) == (whole.device_sum_ns or 0)
    assert sum(row.active_ns for row in found.devices) == (whole.device_active_ns or 0)
    assert sum(row.total_ns for row in found.kernels) == (whole.device_sum_ns or 0)
    assert sum(row.kernels for row in found.table.rows) == whole.device_events
    idle = idle_of(workings, found.table)
    if idle is not None:
        assert idle.active_ns + idle.idle_ns == idle.window_ns * idle.devices
    return "read"


def seeds() -> list[bytes]:
    """Small traces of every form the reader knows."""
    event: dict[str, Any] = {"ph": "X", "pid": 1, "tid": 1}
    launch = {**event, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 3, "dur": 1}
    kernel = {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 9.5, "dur": 2.25}
    events = [
        {**event, "cat": "cpu_op", "name": "layer:a", "ts": 1, "dur": 9},
        {**event, "cat": "cpu_op", "name": "layer:a.b", "ts": 2, "dur": 5.125},
        {**event, "cat": "user_annotation", "name": "mine", "ts": 2, "dur": 5},
        {**event, "cat": "python_function", "name": "nn.Module: A_0", "ts": 2, "dur": 5},
        {**event, "cat": "cpu_op", "name": "aten::mm", "ts": 2.5, "dur": 3},
        {**launch, "args": {"correlation": 5, "External id": 2}},
        {**kernel, "args": {"correlation": 5, "device": 0, "stream": 7, "grid": [1, 2]}},
        {**kernel, "cat": "gpu_memcpy", "pid": 9, "args": {"device": 0}},
        {"ph": "B", "cat": "cpu_op", "name": "o", "pid": 1, "tid": 2, "ts": 1},
        {"ph": "E", "pid": 1, "tid": 2, "ts": 4},
    ]
    # Every kind of event as a beginning and an end, nested, one left open.
    halves: list[dict[str, Any]] = []
    for whole in events[:8]:
        end = {
            "ph": "E",
            "pid": whole["pid"],
            "tid": whole["tid"],
            "ts": whole["ts"] + whole["dur"],
        }
        halves += [{k: v for k, v in whole.items() if k != "dur"} | {"ph": "B"}, end]
    halves.sort(key=lambda e: e["ts"])
    late = [{**e, "ts": e["ts"] + 1_790_857_026_000_000} for e in events]
    plain = json.dumps({"schemaVersion": 1, "traceEvents": events}, indent=2).encode()
    return [
        plain,
        json.dumps(events).encode(),
        json.dumps({"traceEvents": late, "z": {"a": [1]}}).encode(),
        json.dumps(events[2:]).encode(),
        json.dumps([events[3], *events[4:]]).encode(),
        json.dumps(events[4:]).encode(),
        json.dumps([*halves, events[8]]).encode(),
        gzip.compress(plain, mtime=0),
        _zipped(plain),
    ]


def mutated_inside(rng: random.Random, data: bytes) -> bytes:
    """As `mutated`, but below the compression: damage that the checksum does not give away."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.compress(mutated(rng, gzip.decompress(data)), 1, mtime=0)
        if data[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _zipped(mutated(rng, archive.read(archive.namelist()[0])))
    except Exception:
        pass
    return mutated(rng, data)


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.json", data)
    return packed.getvalue()


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few changes: bytes flipped, cut, doubled, moved; words put in or in place of values."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(found) + 1)
        end = min(len(found), at + rng.choice([1, 1, 4, 30, 200]))
        change = rng.randrange(6)
        if change == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            del found[at:end]
        elif change == 2:
            found[at:at] = found[at:end]
        elif change == 3:
            found[at:at] = rng.choice(WORDS)
        else:
            values = list(re.finditer(rb'(?<=: )[^,\n}\]]+|"[^"]*"', found))
            if values:
                value = rng.choice(values)
                found[value.start() : value.end()] = rng.choice(WORDS)
    return bytes(found)
