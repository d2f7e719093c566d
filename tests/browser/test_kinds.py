"""Equal blocks as one in the Layers tab and on the report's page, and unfolded again."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from layerscope.report.csv import read_layers_csv

from .conftest import REPOSITORY, Tab
from .test_layers_tab import XL, click_box, device_sum_ns

WO = "language_model.encoder.block.*.layer.1.DenseReluDense.wo"
BLOCKS = "language_model.encoder.block.*"


def kinds_of(run: Path) -> dict[tuple[str, str], list[int]]:
    held: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in read_layers_csv(run / "layers.csv"):
        held[row.kind, row.phase].append(row.gpu_self_ns or 0)
    return held


def test_the_table_folds_and_an_arrow_unfolds(
    folded_tab: Tab, logdir: Path, tmp_path: Path
) -> None:
    tab = folded_tab
    tab.choose(XL)
    held = kinds_of(logdir / XL)
    assert tab.sum() == tab.root() == device_sum_ns(logdir, XL)
    said = tab.frame.inner_text("#sums")
    assert f"{len(held):,} kinds in 2,481 rows" in said
    assert tab.lines()[0] == f"{WO} ×24"
    first = tab.frame.locator(".lines .line").first
    cells = [cell.strip() for cell in first.locator(".cell").all_inner_texts()]
    whole = tab.root()
    own = sum(held[WO, "encoder"])
    assert cells[1] == "encoder"
    assert cells[3] == f"{own / 1e6:.2f} ms"
    assert cells[5] == f"{100 * own / whole:.2f} %"
    assert cells[6] == f"{100 * own / whole:.1f} %"
    second = tab.frame.locator(".lines .line").nth(1).locator(".cell").all_inner_texts()
    two = own + sum(held["language_model.decoder.block.*.layer.2.DenseReluDense.wo", "decode"])
    assert second[6].strip() == f"{100 * two / whole:.1f} %"

    tab.frame.click(".lines .line:first-child .arrow")
    assert tab.frame.get_attribute(".lines .line:first-child .arrow", "aria-expanded") == "true"
    inside = tab.lines()[1:25]
    assert all(line.startswith("language_model.encoder.block.") for line in inside)
    assert len(set(inside)) == 24
    assert tab.sum() == whole
    tab.frame.click(".lines .line:first-child .arrow")
    assert not set(tab.lines()) & set(inside)

    with tab.page.expect_download() as download:
        tab.frame.click("#csv")
    download.value.save_as(tmp_path / "kinds.csv")
    with (tmp_path / "kinds.csv").open(encoding="utf-8", newline="") as file:
        saved = list(csv.DictReader(file))
    assert len(saved) == len(held)
    assert (saved[0]["layer"], saved[0]["layers"], saved[0]["calls"]) == (WO, "24", "24")
    assert round(float(saved[0]["gpu_self_us"]) * 1000) == own
    tab.frame.check("#per-block")
    assert "2,481 rows" in tab.frame.inner_text("#sums")
    assert "*" not in tab.lines()[0]


def test_the_icicle_merges_equal_blocks(folded_tab: Tab, logdir: Path, screenshots: Path) -> None:
    tab = folded_tab
    tab.choose(XL)
    held = kinds_of(logdir / XL)
    tab.page.screenshot(path=str(screenshots / "kinds.png"))
    node = "layer => { const n = window.layerscopeIcicle.node(layer);"
    total = tab.frame.evaluate(
        f"{node} return n.rows.reduce((sum, row) => sum + row.self, 0); }}", WO
    )
    assert total == sum(held[WO, "encoder"])
    assert tab.frame.evaluate(f"{node} return [...n.layers].length; }}", BLOCKS) == 24
    # Any of the blocks leads to the box of all of them.
    one = tab.frame.evaluate(
        "layer => window.layerscopeIcicle.box(layer)", BLOCKS.replace("*", "7")
    )
    assert one == tab.frame.evaluate("layer => window.layerscopeIcicle.box(layer)", BLOCKS)
    # The largest part stands first.
    order = tab.frame.evaluate(
        f"{node} return n.children.map(child => child.total); }}", "generate"
    )
    assert order == sorted(order, reverse=True)
    click_box(tab, BLOCKS)
    assert tab.trail().endswith("block.* ×24")
    zoomed = sum(
        sum(times) for (kind, _), times in held.items() if f"{kind}.".startswith(f"{BLOCKS}.")
        or kind.startswith("language_model.encoder.block.0.")
    )  # fmt: skip
    assert tab.sum() == zoomed
    tab.frame.click("#icicle .order")
    assert tab.frame.inner_text("#icicle .order") == "in order of execution"
    assert tab.root() == device_sum_ns(logdir, XL)
    order = tab.frame.evaluate(
        f"{node} return n.children.map(child => child.name); }}", "language_model.encoder.block"
    )
    assert order == [str(number) for number in range(24)]


def test_a_comparison_is_folded(folded_tab: Tab, logdir: Path) -> None:
    tab = folded_tab
    tab.choose(XL, "xl-b1-eager")
    whole = device_sum_ns(logdir, XL) - device_sum_ns(logdir, "xl-b1-eager")
    assert int(tab.frame.get_attribute("#sums", "data-change") or 0) == whole
    assert "×" in tab.lines()[0]
    folded = tab.frame.locator(".lines .line").first.locator(".cell").all_inner_texts()
    tab.frame.check("#per-block")
    assert int(tab.frame.get_attribute("#sums", "data-change") or 0) == whole
    assert tab.frame.locator(".lines .line").first.locator(".cell").all_inner_texts() != folded


@pytest.fixture(scope="module")
def page_of_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from layerscope.cli.main import run

    page = tmp_path_factory.mktemp("report") / "xl.html"
    assert run(["report", str(REPOSITORY / "docs/results/h200" / XL), "--html", str(page)]) == 0
    return page


def test_the_report_folds_and_an_arrow_unfolds(
    browser: Browser, page_of_xl: Path, screenshots: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_of_xl.as_uri())
    line = page.locator(f'tr[data-kind="{WO}"]').first
    assert line.locator("th").inner_text().endswith(f"{WO} ×24")
    line.locator(".arrow").click()
    members = page.locator("tr.member")
    assert members.count() == 24
    times = [float(text) for text in members.locator("td:nth-last-child(3)").all_inner_texts()]
    held = kinds_of(REPOSITORY / "docs/results/h200" / XL)
    assert sum(times) == pytest.approx(sum(held[WO, "encoder"]) / 1e6, abs=24 * 0.0005)
    assert times == sorted(times, reverse=True)
    page.screenshot(path=str(screenshots / "report-kinds.png"), full_page=True)
    line.locator(".arrow").click()
    assert members.count() == 0
    button = page.locator("#icicle .order")
    assert button.inner_text() == "equal blocks merged"
    button.click()
    assert button.inner_text() == "in order of execution"
    assert complaints == []
    page.close()


def test_a_notebook_s_cell_draws_the_icicle(
    browser: Browser, tmp_path: Path, screenshots: Path
) -> None:
    import layerscope

    shown = layerscope.open_run(REPOSITORY / "traces/sample-tiny-b2")._repr_html_()
    cell = tmp_path / "cell.html"
    cell.write_text(f"<!doctype html><meta charset='utf-8'>{shown}", encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(cell.as_uri())
    frame = page.frame_locator("iframe")
    frame.locator("#icicle canvas").wait_for()
    assert frame.locator("#icicle .order").inner_text() == "equal blocks merged"
    frame.locator("#measure").select_option("flops_self")
    whole = frame.locator("#icicle").get_attribute("data-root-total")
    rows = layerscope.open_run(REPOSITORY / "traces/sample-tiny-b2").layers
    assert int(whole or 0) == sum(row.flops_self or 0 for row in rows)
    assert page.locator("table tr").count() > 10
    page.screenshot(path=str(screenshots / "notebook.png"))
    assert complaints == []
    page.close()
