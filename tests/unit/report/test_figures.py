"""Figures say what the account holds, are the same bytes each time, and are absent with a reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.kineto import TraceWriter

from layerscope.account.account import account, work_out
from layerscope.core.units import ms_number
from layerscope.records.tables import Account
from layerscope.records.work import Ceilings
from layerscope.report.figures import write_figures
from layerscope.report.figures.phase_stack import draw_phase_stack
from layerscope.report.figures.roofline_scatter import draw_roofline, points_of
from layerscope.report.figures.style import ROLES, NotDrawn, drawing, ink_on, share_text
from layerscope.report.figures.top_layers import draw_top_layers
from layerscope.report.figures.window import draw_window
from layerscope.timeline.idle import Idle, idle_of
from layerscope.trace.columns import read_trace

MS = 1_000_000
# Layer, and its device time in ms; each launched in time, one after the other.
LAYERS = (
    ("vision_model.embeddings.patch_embedding", 1),
    ("vision_model.encoder.layers.0.mlp", 4),
    ("vision_model.encoder.layers.1.mlp", 5),
    ("qformer.encoder.layer.0.attention", 10),
    ("language_model", 20),
)
CEILINGS = Ceilings(
    key="k", device="d", measured_utc="", matmul_flops_per_s={"float16": 7e14, "float32": 5e13},
    matmul_shape={}, copy_bytes_per_s=4e12, method="by hand",
)  # fmt: skip


@pytest.fixture
def traced(tmp_path: Path) -> tuple[Account, Idle]:
    """40 ms of device time in a window of 100 ms, of which 60 pass before the first event."""
    trace = TraceWriter()
    trace.layer("generate", 0, 100 * MS)
    at = 60 * MS
    for index, (layer, ms) in enumerate(LAYERS):
        trace.layer(layer, (10 + index) * MS, MS)
        trace.launch(index, (10 + index) * MS + 5)
        trace.kernel(index, at, ms * MS)
        at += ms * MS
    columns = read_trace(trace.write(tmp_path / "t.json"))
    held = account(work_out(columns), source="t")
    idle = idle_of(work_out(columns), held.table)
    assert idle is not None
    return held, idle


def with_work(held: Account) -> Account:
    """2 GFLOP per ms of device time, 1 GB for each layer."""
    rows = tuple(
        replace(r, flops_self=r.gpu_self_ns * 2000, bytes_self=10**9) if r.gpu_self_ns else r
        for r in held.table.rows
    )
    return replace(held, table=replace(held.table, rows=rows))


def texts(figure: object) -> list[str]:
    """Every text of a figure."""
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text().strip()]  # type: ignore[attr-defined]


def bars(figure: object) -> float:
    """Sum of the widths of all bars."""
    return sum(patch.get_width() for patch in figure.axes[0].patches)  # type: ignore[attr-defined]


def test_four_figures_as_svg_and_png(traced: tuple[Account, Idle], tmp_path: Path) -> None:
    held, idle = traced
    written = write_figures(
        with_work(held), tmp_path / "run", idle=idle, ceilings=CEILINGS, name="a run"
    )
    assert written.absent == {}
    assert set(written.files) == {
        f"figure_{figure}_{kind}"
        for figure in ("phases", "window", "roofline", "top_layers")
        for kind in ("svg", "png")
    }
    for role, name in written.files.items():
        path = tmp_path / "run" / name
        if role.endswith("png"):
            with Image.open(path) as image:
                assert image.width == 1440  # 7.2 inches at 200 dpi
        else:
            root = ElementTree.parse(path).getroot()
            assert root.tag.endswith("svg")
            # Fonts as outlines: no text element asks the reader's machine for a font.
            assert not [e for e in root.iter() if e.tag.endswith("}text")]
            assert "<dc:date>" not in path.read_text(encoding="utf-8")


def test_the_same_account_gives_the_same_bytes(
    traced: tuple[Account, Idle], tmp_path: Path
) -> None:
    import matplotlib

    held, idle = traced
    once = write_figures(held, tmp_path / "a", idle=idle)
    # A user's own settings are neither used nor changed.
    with matplotlib.rc_context({"font.size": 21.0, "svg.hashsalt": "x"}):
        again = write_figures(held, tmp_path / "b", idle=idle)
        assert matplotlib.rcParams["font.size"] == 21.0
    assert once.files == again.files
    for name in once.files.values():
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("generate", 0, 100)
    held = account(work_out(read_trace(trace.write(tmp_path / "t.json"))), source="t")
    written = write_figures(held, tmp_path / "run", ceilings=CEILINGS)
    assert written.files == {}
    assert not (tmp_path / "run").exists()
    assert written.absent == {
        "phases": "no device time and no operators were traced",
        "window": "no device events in the trace: when the device was idle is unknown",
        "roofline": "no layer has counted FLOPs and bytes and a measured time",
        "top_layers": "no device time and no operators were traced",
    }
    without = write_figures(held, tmp_path / "run").absent["roofline"]
    assert without == "no ceilings: the device's matmul and copy rates were not measured"


def test_the_stacked_bars_add_up_to_the_device_time(traced: tuple[Account, Idle]) -> None:
    with drawing():
        figure = draw_phase_stack(traced[0], "a run")
    assert not isinstance(figure, NotDrawn)
    assert bars(figure) == pytest.approx(40.0)
    said = texts(figure)
    assert "Device time by phase and group: 40.0 ms" in said
    assert "10.0 ms  (25.0 %)" in said  # the vision tower, and the Q-Former
    assert {"convolution", "feed-forward", "self-attention", "other"} <= set(said)
    assert "lm_head" not in said


def test_the_window_s_bars_add_up_to_the_window(traced: tuple[Account, Idle]) -> None:
    with drawing():
        figure = draw_window(traced[1], "")
    assert not isinstance(figure, NotDrawn)
    assert bars(figure) == pytest.approx(100.0)
    said = texts(figure)
    assert "Device busy 40.0 of 100.0 ms: idle 60.0 %" in said
    assert "70.0 ms, idle 85.7 %" in said  # vision: 60 before the first event, 10 busy


def test_top_layers_take_the_blocks_of_a_stack_together(traced: tuple[Account, Idle]) -> None:
    with drawing():
        figure = draw_top_layers(traced[0], "")
    assert not isinstance(figure, NotDrawn)
    said = texts(figure)
    assert "vision_model.encoder.layers.*.mlp ×2  [vision]" in said
    assert "9.00 ms  (22.5 %)" in said
    assert "Top 4 of 4 kinds of layers by own time: 40.0 of 40.0 ms of device time" in said


def test_roofline_points_by_hand(traced: tuple[Account, Idle]) -> None:
    """Two blocks of 4 and 5 ms: 18 GFLOP in 9 ms is 2 TFLOP/s, over 2 GB is 9 FLOP per byte."""
    held = with_work(traced[0])
    points = {point.layer: point for point in points_of(held)}
    block = points["vision_model.encoder.layers.*.mlp"]
    assert (block.time_ns, block.intensity, block.tflops_per_s) == (9 * MS, 9.0, 2.0)
    with drawing():
        figure = draw_roofline(held, CEILINGS, "")
    assert not isinstance(figure, NotDrawn)
    said = texts(figure)
    assert {"fp16 matmul 700", "fp32 matmul 50", "device copy 4.00 TB/s"} <= set(said)
    lines = [line.get_xydata().tolist() for line in figure.axes[0].lines]  # type: ignore[union-attr]
    slope, fp16, fp32 = lines
    assert slope[1] == pytest.approx([175, 700])  # 7e14 / 4e12 FLOP per byte
    assert (fp16[0], fp32[0]) == (pytest.approx([175, 700]), pytest.approx([12.5, 50]))


def test_a_cpu_run_shows_the_time_inside_operators(tmp_path: Path) -> None:
    trace = TraceWriter()
    trace.layer("forward", 0, 10 * MS)
    trace.op("aten::mm", MS, 3 * MS)
    held = account(work_out(read_trace(trace.write(tmp_path / "t.json"))), source="t")
    with drawing():
        figure = draw_phase_stack(held, "")
    assert not isinstance(figure, NotDrawn)
    assert "Time inside operators (CPU) by phase and group: 3.00 ms" in texts(figure)


def test_words_of_figures() -> None:
    assert [ms_number(ns) for ns in (1_011_501_593, 210_096_345, 9_863_720, 253_056)] == [
        "1,012",
        "210.1",
        "9.86",
        "0.253",
    ]
    assert [share_text(part, 10_000) for part in (0, 0.5, 12, 4_670)] == [
        "0.00 %",
        "< 0.01 %",
        "0.12 %",
        "46.7 %",
    ]
    assert len(set(ROLES.values())) == len(ROLES)
    assert (ink_on("#0072B2"), ink_on("#F0E442")) == ("white", "black")


def test_importing_the_figures_does_not_import_matplotlib() -> None:
    code = "import sys, layerscope.report.figures; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
