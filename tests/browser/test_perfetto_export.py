"""Perfetto's own trace processor reads the exported trace: every slice, counter and argument."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.shared import shared

from layerscope.account.account import work_out
from layerscope.report.perfetto import write_perfetto
from layerscope.trace.columns import read_trace

pytest.importorskip("perfetto", reason="perfetto is not installed: pip install '.[dev]'")

from support.trace_processor import trace_processor

TRACKS = """select t.name, count(*), sum(s.dur) from slice s join thread_track tt on s.track_id = tt.id
            join thread t using (utid) join process p using (upid)
            where p.name = 'layerscope' group by t.name order by t.name"""
DEVICE = "category in ('kernel', 'gpu_memcpy', 'gpu_memset')"


def test_the_xl_trace_to_the_nanosecond(browser: Browser, tmp_path: Path) -> None:
    source = shared("traces/xl_b16_eager_h200.trace.json.gz")
    workings = work_out(read_trace(source))
    path = tmp_path / "xl.perfetto.json.gz"
    marked = write_perfetto(source, workings, path)
    with trace_processor(browser, path) as processor:
        problems = processor.query(
            "select name, value from stats where value > 0 and severity != 'info'"
        )
        assert problems == []
        tracks = {name: (count, total) for name, count, total in processor.query(TRACKS)}
        assert {name: count for name, (count, _) in tracks.items()} == marked.tracks
        assert tracks["device 0 idle"][1] == 801_405_248
        # Slices that nest on the host nest here: the depth is that of the call tree.
        depth = "select max(depth) from slice where category = 'layerscope_layer'"
        assert processor.query(depth) == [(6,)]
        assert processor.query(f"select count(*), sum(dur) from slice where {DEVICE}") == [
            (33_881, 210_096_345)
        ]
        layer = f"""select sum(dur) from slice where {DEVICE}
            and extract_arg(arg_set_id, 'args.layer') glob 'language_model.decoder*'"""
        assert processor.query(layer) == [(107_309_857,)]
        step = f"""select sum(dur) from slice where {DEVICE}
            and extract_arg(arg_set_id, 'args.step') = 5"""
        assert processor.query(step) == [(5_111_866,)]
        counters = "select name, count(*) from counter c join counter_track t on c.track_id = t.id"
        assert processor.query(f"{counters} group by name") == [("device 0 idle %", marked.points)]


def test_a_broken_file_is_refused(browser: Browser, tmp_path: Path) -> None:
    """The judge itself: what is no trace does not pass as one."""
    path = tmp_path / "broken.json"
    path.write_text('{"traceEvents":[{"ph":"X","name":"a","ts":1,"dur":')
    with pytest.raises(ValueError, match="incomplete"), trace_processor(browser, path):
        pass
