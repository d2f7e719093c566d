"""The page that `layerscope report` makes of a sweep, in a real browser, from a file."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser
from support.report_verb import report
from support.sweep_folder import write_sweep

from .conftest import REPOSITORY

SAMPLE = REPOSITORY / "traces" / "sample-tiny-b2"


def test_a_cell_is_chosen_and_drawn(browser: Browser, tmp_path: Path, screenshots: Path) -> None:
    write_sweep(tmp_path / "sweep", SAMPLE)
    report(tmp_path / "sweep", "--html", tmp_path / "sweep.html")
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "sweep.html").as_uri())
    account = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))["account"]
    whole = str(round(account["host_window_us"] * 1000))

    def root() -> str | None:
        return page.get_attribute("#icicle", "data-root-total")

    assert root() == whole
    page.select_option("#cell", label="batch_size=4 image_size=224")
    page.select_option("#phase", "vision")
    assert 0 < int(root() or 0) < int(whole)
    page.select_option("#cell", label="batch_size=1 image_size=448")
    page.click("#reset")
    assert root() == whole
    page.screenshot(path=screenshots / "sweep-report.png", full_page=True)
    # On A4, at the page's own margins: nothing is wider than the paper, controls are gone.
    page.set_viewport_size({"width": 696, "height": 1000})
    page.emulate_media(media="print")
    assert not page.is_visible("#controls")
    assert page.is_visible("#icicle canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 696
    page.close()
    assert said == []
