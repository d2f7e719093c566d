"""The benchmark's generator: a trace repeated n times has n times its times, and still adds up."""

from __future__ import annotations

from pathlib import Path

from support.by_path import module_at
from support.kineto import TraceWriter

from layerscope.account.account import account_of

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "trace_reading.py"


def test_a_repeated_trace_is_so_many_times_the_trace(tmp_path: Path) -> None:
    script = module_at(SCRIPT)
    writer = TraceWriter()
    for i in range(20):
        writer.layer(f"m.{i % 2}", 1000 * i, 900)
        writer.launch(i, 1000 * i + 20)
        writer.kernel(i, 1000 * i + 500, 100 + i)
    once = writer.write(tmp_path / "once.json.gz")
    size = script.repeated(once, 20_000, tmp_path / "many.json.gz")
    assert size >= 20_000
    one, many = account_of(once).table, account_of(tmp_path / "many.json.gz").table
    many.check()
    times = many.whole.device_events // one.whole.device_events
    assert times > 1
    assert many.whole.device_events == times * one.whole.device_events
    assert [(r.layer, r.gpu_self_ns) for r in many.rows if r.kernels] == [
        (r.layer, times * (r.gpu_self_ns or 0)) for r in one.rows if r.kernels
    ]
