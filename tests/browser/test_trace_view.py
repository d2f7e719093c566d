"""The trace viewer in the Layers tab, in a real browser without a network, over the H200 trace."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from support.shared import shared

from .conftest import REPOSITORY, Tab, open_tab

XL, TINY = "xl-b16-eager", "sample-tiny-b2"
BLOCK = "language_model.decoder.block.3"
SLICES = """kind => window.layerscopeTrace.slices(kind).map(
    ({name, start, end, chosen, layer, phase}) => ({name, start, end, chosen, layer, phase}))"""


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> str:
    """TensorBoard over a run with the shared XL trace, and the CPU run of the repository."""
    from tensorboard import default, program

    from layerscope.tab.plugin import LayersPlugin

    logdir = tmp_path_factory.mktemp("traced")
    shutil.copytree(REPOSITORY / "docs/results/h200" / XL, logdir / XL)
    shutil.copy(shared("traces/xl_b16_eager_h200.trace.json.gz"), logdir / XL / "trace.json.gz")
    shutil.copytree(REPOSITORY / "traces" / TINY, logdir / TINY)
    board = program.TensorBoard(plugins=[*default.get_static_plugins(), LayersPlugin])
    board.configure(argv=["", "--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0"])
    return str(board.launch())


@pytest.fixture
def tab(browser: Browser, traced: str) -> Iterator[Tab]:
    tab = open_tab(browser, traced)
    yield tab
    tab.page.close()
    assert tab.complaints == []  # no error, and nothing asked of a network


def show(tab: Tab, run: str = XL, **choice: str) -> None:
    """Press Show and wait until the window of this choice is drawn."""
    if "step" in choice:
        tab.frame.select_option("#trace-step", choice["step"])
    tab.frame.click("#trace-open")
    wait(tab, run, choice, 0 if "layer" in choice else None)


def wait(tab: Tab, run: str, choice: dict[str, str], call: int | None) -> None:
    tab.frame.wait_for_function(
        "wanted => document.querySelector('#trace-section').dataset.window === wanted"
        " && document.querySelector('#trace-drawing canvas').dataset.drawn > 0",
        arg=json.dumps([run, choice, call], separators=(",", ":")),
    )


def slices(tab: Tab, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tab.frame.evaluate(SLICES, kind)
    return found


def sums(tab: Tab) -> tuple[str | None, str | None]:
    return (
        tab.frame.get_attribute("#trace-sums", "data-device"),
        tab.frame.get_attribute("#trace-sums", "data-host"),
    )


def canvas_place(tab: Tab, script: str) -> tuple[float, float]:
    """Where on the page the middle of a slice lies that the script picks from `view`."""
    spot = tab.frame.evaluate(
        f"() => {{ const view = window.layerscopeTrace; const slice = {script};"
        " const box = view.box(slice); return [box.x + box.width / 2, box.y + box.height / 2]; }"
    )
    tab.frame.locator("#trace-drawing canvas").scroll_into_view_if_needed()
    canvas = tab.frame.locator("#trace-drawing canvas").bounding_box()
    assert canvas is not None
    return canvas["x"] + spot[0], canvas["y"] + spot[1]


def colours(tab: Tab) -> int:
    """How many colours the canvas really holds: an empty one has one."""
    count: int = tab.frame.evaluate(
        "() => { const c = document.querySelector('#trace-drawing canvas');"
        " const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data.buffer); return new Set(d).size; }"
    )
    return count


def test_a_decoder_step_is_drawn_and_its_layers_named(tab: Tab, screenshots: Path) -> None:
    tab.choose(XL)
    began = time.monotonic()
    show(tab, step="5")
    assert time.monotonic() - began < 20  # the server reads 75 MB of JSON the first time
    steps = slices(tab, "step")
    assert {one["name"] for one in steps} == {"step 5 (decode)"}
    layers = [one for one in slices(tab, "layer") if one["chosen"]]
    names = {one["name"] for one in layers}
    assert {f"language_model.decoder.block.{i}" for i in range(24)} <= names
    assert f"{BLOCK}.layer.2.DenseReluDense.wo" in names
    assert all(name.startswith("language_model") for name in names)
    kernels = [one for one in slices(tab, "kernel") if one["chosen"]]
    assert len(kernels) == 1540
    assert sum(one["end"] - one["start"] for one in kernels) == 5_111_866
    assert all(one["layer"].startswith("language_model") for one in kernels)
    assert sums(tab) == ("5111866", "44107773")
    assert colours(tab) > 20
    assert int(tab.frame.get_attribute("#trace-drawing canvas", "data-drawn") or 0) > 3000
    tab.frame.locator("#trace-section").scroll_into_view_if_needed()
    tab.page.screenshot(path=screenshots / "trace-view.png")


def test_the_whole_run_opens_in_under_twenty_seconds(tab: Tab, screenshots: Path) -> None:
    tab.choose(XL)
    began = time.monotonic()
    show(tab)
    took = time.monotonic() - began
    assert took < 20
    counted = "kind => window.layerscopeTrace.slices(kind).length"
    assert tab.frame.evaluate(counted, "kernel") == 33_881
    assert tab.frame.evaluate(counted, "operator") == 127_781
    assert sums(tab) == ("210096345", "1011501593")
    tab.frame.locator("#trace-section").scroll_into_view_if_needed()
    tab.page.screenshot(path=screenshots / "trace-view-whole.png")


def test_a_layer_is_shown_call_by_call_with_the_tables_sum(tab: Tab) -> None:
    tab.choose(XL)
    tab.frame.select_option("#phase", "decode")
    tab.frame.fill("#icicle input", BLOCK)
    tab.frame.press("#icicle input", "Enter")
    tab.frame.click(f".lines .line .cell[title='{BLOCK}']")
    choice = {"layer": BLOCK, "phase": "decode"}
    show(tab, **choice)
    assert tab.frame.inner_text("#trace-call") == "call 1 of 19"
    tab.frame.click("#trace-after")
    wait(tab, XL, choice, 1)
    assert tab.frame.inner_text("#trace-call") == "call 2 of 19"
    tab.frame.click("#trace-every")
    wait(tab, XL, choice, None)
    chosen = [one for one in slices(tab, "kernel") if one["chosen"]]
    assert sums(tab)[0] == str(sum(one["end"] - one["start"] for one in chosen))
    assert all(one["phase"] == "decode" for one in chosen)


def test_pointing_picking_zooming_and_searching(tab: Tab, screenshots: Path) -> None:
    tab.choose(XL)
    show(tab, step="7")
    block = f"view.slices('layer').find((one) => one.name === '{BLOCK}')"
    x, y = canvas_place(tab, block)
    tab.page.mouse.move(x, y)
    tip = tab.frame.inner_text(".trace-tip")
    assert tip.startswith(BLOCK)
    assert "phase decode" in tip
    tab.page.mouse.dblclick(x, y)
    from_, to = tab.frame.evaluate("() => window.layerscopeTrace.view()")
    (inside,) = [one for one in slices(tab, "layer") if one["name"] == BLOCK and one["chosen"]][:1]
    assert from_ < inside["start"] < inside["end"] < to
    assert to - from_ < 1.3 * (inside["end"] - inside["start"])
    tab.page.mouse.click(*canvas_place(tab, block))
    tab.frame.click("#trace-to-layer")
    # Equal blocks are one box of the icicle.
    kind = BLOCK.replace("3", "*")
    assert tab.frame.inner_text("#icicle [aria-live]").startswith(f"{kind}:")
    tab.page.screenshot(path=screenshots / "trace-view-block.png")
    canvas = tab.frame.locator("#trace-drawing canvas")
    canvas.press("0")
    assert tab.frame.evaluate("() => window.layerscopeTrace.view()")[1] > to
    canvas.press("w")
    narrower = tab.frame.evaluate("() => window.layerscopeTrace.view()")
    canvas.press("d")
    moved = tab.frame.evaluate("() => window.layerscopeTrace.view()")
    assert moved[0] > narrower[0]
    tab.frame.fill("#trace-search", "DenseReluDense.wo")
    assert tab.frame.inner_text("#trace-found") == "48 found"  # 24 on the host, 24 on the device
    tab.frame.press("#trace-search", "Enter")
    assert "DenseReluDense.wo" in tab.frame.inner_text("#trace-picked")


def test_a_kernel_tells_its_layer_and_its_launch(tab: Tab) -> None:
    tab.choose(XL)
    show(tab, step="3")
    longest = (
        "view.slices('kernel').sort((a, b) => (b.end - b.start) - (a.end - a.start))"
        ".find((one) => one.chosen)"
    )
    tab.page.mouse.move(*canvas_place(tab, longest))
    tip = tab.frame.inner_text(".trace-tip")
    assert "layer language_model" in tip
    assert "after its launch" in tip


def test_a_cpu_run_shows_its_host_side_and_says_so(tab: Tab) -> None:
    tab.choose(TINY)
    show(tab, TINY)
    assert "no device events" in tab.frame.inner_text("#trace-sums")
    assert slices(tab, "layer")
    assert slices(tab, "kernel") == []


def test_what_cannot_be_shown_is_said(tab: Tab) -> None:
    tab.choose(XL)
    tab.frame.select_option("#phase", "vision")
    tab.frame.select_option("#trace-step", "5")
    tab.frame.click("#trace-open")
    tab.frame.wait_for_function(
        "() => document.querySelector('#trace-sums').textContent.includes('no call of it')"
    )
    assert "phase vision, step 5" in tab.frame.inner_text("#trace-sums")
    tab.complaints[:] = [said for said in tab.complaints if "422" not in said]  # the browser's log
