"""A log folder of real runs, TensorBoard over it, and a page in Chromium that cannot reach a network.

Screenshots land in `$LAYERSCOPE_SCREENSHOTS`, or below pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'"
)

from playwright.sync_api import Browser, Frame, Page, Route, sync_playwright
from support.chromium import chromium

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RUNS = ("docs/results/h200/xl-b16-eager", "docs/results/h200/xl-b1-eager", "traces/sample-tiny-b2")


@dataclass
class Tab:
    """The Layers tab in a page: its frame, and what went wrong so far."""

    page: Page
    frame: Frame
    complaints: list[str] = field(default_factory=list)

    def choose(self, run: str, base: str = "") -> None:
        """Pick a run, and a base to compare with; returns when both are drawn."""
        self.frame.select_option("#run", run)
        self.frame.select_option("#base", base)
        self.frame.wait_for_function(
            "([run, base]) => document.body.dataset.shown === JSON.stringify([run, base])",
            arg=[run, base or None],
        )

    def root(self) -> int:
        """The icicle's root, in the measure's exact unit."""
        return int(self.frame.get_attribute("#icicle", "data-root-total") or "-1")

    def sum(self) -> int:
        """The sum of the rows that the table shows."""
        return int(self.frame.get_attribute("#sums", "data-sum") or "-1")

    def unfold(self) -> None:
        """Each block by itself in the table, and in the order of execution in the icicle."""
        self.frame.check("#per-block")
        if self.frame.inner_text("#icicle .order") == "equal blocks merged":
            self.frame.click("#icicle .order")

    def lines(self) -> list[str]:
        """The first column of the table's lines that are drawn, from the top."""
        titles: list[str] = self.frame.eval_on_selector_all(
            ".lines .line .cell.wide", "cells => cells.map(cell => cell.title)"
        )
        return titles

    def trail(self) -> str:
        """The breadcrumb."""
        return self.frame.inner_text("#icicle nav")


def copy_runs(logdir: Path) -> None:
    for name in RUNS:
        shutil.copytree(REPOSITORY / name, logdir / Path(name).name)


def change_record(folder: Path, **fields: Any) -> dict[str, Any]:
    path = folder / "run.json"
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) | fields
    path.write_text(json.dumps(record), encoding="utf-8")
    return record


@pytest.fixture(scope="session")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traces")
    copy_runs(folder)
    return folder


@pytest.fixture(scope="session")
def address(logdir: Path) -> str:
    return serve(logdir)


def serve(logdir: Path) -> str:
    """TensorBoard with its own plugins and this one, started as its command starts it."""
    from tensorboard import default, program

    from layerscope.tab.plugin import LayersPlugin

    board = program.TensorBoard(plugins=[*default.get_static_plugins(), LayersPlugin])
    board.configure(argv=["", "--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0"])
    return str(board.launch())


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield opened
        opened.close()


def open_tab(browser: Browser, address: str) -> Tab:
    page = browser.new_page(viewport={"width": 1600, "height": 1100})
    complaints: list[str] = []

    def local_only(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "http://localhost:")):
            route.continue_()
        else:
            complaints.append(f"asked the network for {route.request.url}")
            route.abort()

    page.route("**/*", local_only)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{address.rstrip('/')}/#layerscope")
    element = page.wait_for_selector("iframe[src*='plugin_entry']", state="attached")
    assert element is not None
    frame = element.content_frame()
    assert frame is not None
    frame.wait_for_selector(".lines .line")
    return Tab(page, frame, complaints)


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Tab]:
    """Each block by itself, in the order of execution."""
    tab = open_tab(browser, address)
    tab.unfold()
    yield tab
    tab.page.close()
    assert tab.complaints == []


@pytest.fixture
def folded_tab(browser: Browser, address: str) -> Iterator[Tab]:
    """As a user finds it: equal blocks as one."""
    tab = open_tab(browser, address)
    yield tab
    tab.page.close()
    assert tab.complaints == []


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("LAYERSCOPE_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
