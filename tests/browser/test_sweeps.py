"""Sweeps in a real browser: the view in the Layers tab, and TensorBoard's own pages over them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.sweep_folder import REASON, latency_s, write_sweep

from .conftest import REPOSITORY, Tab, open_tab, serve

SAMPLE = REPOSITORY / "traces" / "sample-tiny-b2"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log") / "sweep-mine"
    write_sweep(folder, SAMPLE)
    return folder


@pytest.fixture(scope="module")
def board(root: Path) -> str:
    return serve(root.parent)


@pytest.fixture(scope="module")
def opened(browser: Browser, board: str) -> Iterator[Tab]:
    tab = open_tab(browser, board)
    yield tab
    tab.page.close()
    assert tab.complaints == []


@pytest.fixture
def sweeps(opened: Tab) -> Tab:
    """One page for all tests; each begins where a newcomer does."""
    opened.frame.click("#view-sweeps")
    opened.frame.wait_for_selector("#sweep-chart svg")
    for name, value in (("measure", "latency"), ("axis", "batch_size"), ("line", "")):
        opened.frame.select_option(f"#sweep-{name}", value)
    opened.frame.uncheck("#sweep-log")
    return opened


def said(tab: Tab) -> list[str]:
    """What each drawn point says of itself."""
    labels: list[str] = tab.frame.eval_on_selector_all(
        ".mark", "marks => marks.map(mark => mark.getAttribute('aria-label'))"
    )
    return labels


def shown_csv(tab: Tab, folder: Path) -> list[dict[str, str]]:
    with tab.page.expect_download() as download:
        tab.frame.click("#sweep-csv")
    download.value.save_as(folder / "shown.csv")
    with (folder / "shown.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def op_times_us(root: Path) -> dict[str, float]:
    with next(root.glob("cells/*/layers.csv")).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["op_self_us"]]
    return {row["group"] + str(i): float(row["op_self_us"]) for i, row in enumerate(rows)}


def test_latency_against_an_axis_with_its_intervals(sweeps: Tab, screenshots: Path) -> None:
    assert sweeps.frame.input_value("#sweep-axis") == "batch_size"
    assert said(sweeps)[:3] == [
        "batch_size=1 image_size=224: 100 ms [90 ms, 110 ms]",
        "batch_size=2 image_size=224: 200 ms [180 ms, 220 ms]",
        "batch_size=4 image_size=224: 400 ms [360 ms, 440 ms]",
    ]
    assert sweeps.frame.inner_text("#sweep-chart .entries").split("\n") == [
        "image_size=224", "image_size=448",
    ]  # fmt: skip
    assert "Energy per sample is absent: no counter on this machine" in sweeps.frame.inner_text(
        "#sweep-note"
    )
    sweeps.page.screenshot(path=screenshots / "sweep.png")
    sweeps.frame.select_option("#sweep-axis", "image_size")
    assert said(sweeps)[:2] == [
        "batch_size=1 image_size=224: 100 ms [90 ms, 110 ms]",
        "batch_size=1 image_size=448: 200 ms [180 ms, 220 ms]",
    ]
    sweeps.frame.select_option("#sweep-line", label="batch_size=4")
    assert len(said(sweeps)) == 1


def test_marks_stand_where_their_numbers_say(sweeps: Tab) -> None:
    def heights() -> list[float]:
        tops: list[float] = sweeps.frame.eval_on_selector_all(
            ".mark", "marks => marks.slice(0, 3).map(m => m.getBBox().y + m.getBBox().height / 2)"
        )
        return tops

    one, two, four = heights()
    assert (one - four) / (one - two) == pytest.approx(3, rel=0.01)  # 0.1, 0.2 and 0.4 s
    sweeps.frame.check("#sweep-log")
    one, two, four = heights()
    assert (one - four) / (one - two) == pytest.approx(2, rel=0.01)


def test_a_cell_without_a_number_is_named_with_its_reason(sweeps: Tab) -> None:
    missing = sweeps.frame.inner_text("#sweep-missing")
    assert missing == f"Not drawn, {REASON}: batch_size=4 image_size=448"
    assert sweeps.frame.query_selector_all("#sweeps b") == []
    assert "6 cells, 5 with a number" in sweeps.frame.inner_text("#sweep-sums")


def test_time_by_group_adds_up_to_the_cells_whole(
    sweeps: Tab, root: Path, tmp_path: Path, screenshots: Path
) -> None:
    sweeps.frame.select_option("#sweep-measure", "group_operators")
    rows = shown_csv(sweeps, tmp_path)
    assert len(rows) == 3  # of one image size
    sweeps.page.screenshot(path=screenshots / "sweep-groups.png")
    whole = sum(op_times_us(root).values())
    for row in rows:
        columns = [float(v) for k, v in row.items() if k.endswith("(us)") and k != "Sum (us)"]
        names = [k for k in row if k.endswith("(us)")]
        assert float(row["sum (us)"]) == pytest.approx(whole, abs=0.01)
        assert sum(columns) - float(row["sum (us)"]) == pytest.approx(whole, abs=0.01)
        assert any(re.match(r"the other \d+ groups", name) for name in names)
    sweeps.frame.select_option("#sweep-group", "vision.attention")
    (row, *_) = shown_csv(sweeps, tmp_path)
    mine = {k: v for k, v in op_times_us(root).items() if re.fullmatch(r"vision\.attention\d+", k)}
    assert float(row["value (us)"]) == pytest.approx(sum(mine.values()), abs=0.01)


def test_the_table_is_saved_as_shown(sweeps: Tab, tmp_path: Path) -> None:
    rows = shown_csv(sweeps, tmp_path)
    assert len(rows) == 6
    by_place = {(row["batch_size"], row["image_size"]): row for row in rows}
    row = by_place["2", "448"]
    took = latency_s({"batch_size": 2, "image_size": 448})
    assert float(row["value (s)"]) == pytest.approx(took)
    assert float(row["high (s)"]) == pytest.approx(1.1 * took)
    assert by_place["4", "448"]["value (s)"] == ""
    assert by_place["4", "448"]["status"] == "failed"


def test_a_point_opens_its_run_by_mouse_and_by_key(sweeps: Tab) -> None:
    mark = "[aria-label^='batch_size=2 image_size=448:']"
    sweeps.frame.click(mark)
    assert sweeps.frame.inner_text("#sweep-list .line.chosen .cell >> nth=0") == "2"
    sweeps.frame.click("#sweep-open")
    run = sweeps.frame.input_value("#run")
    assert run.startswith("sweep-mine/cells/")
    sweeps.frame.wait_for_function(
        "run => document.body.dataset.shown === JSON.stringify([run, null])", arg=run
    )
    assert "batch 2 · 448 px" in sweeps.frame.inner_text("#where")
    sweeps.frame.click("#view-sweeps")
    sweeps.frame.focus("[aria-label^='batch_size=1 image_size=224:']")
    sweeps.page.keyboard.press("Enter")
    assert sweeps.frame.is_visible("#runs")
    assert sweeps.frame.input_value("#run") != run
    sweeps.frame.click("#view-sweeps")
    sweeps.frame.click("#sweep-list .line >> text=failed")
    assert sweeps.frame.is_disabled("#sweep-open")  # it has no run


def test_a_sweep_that_still_runs_says_so_and_its_tables_appear(
    browser: Browser, tmp_path: Path
) -> None:
    root = tmp_path / "log" / "growing"
    write_sweep(root, SAMPLE, tables=False)
    tab = open_tab(browser, serve(root.parent))
    tab.frame.click("#view-sweeps")
    tab.frame.wait_for_function("document.body.dataset.sweep === 'growing'")
    assert "no tables yet" in tab.frame.inner_text("#sweep-note")
    (tmp_path / "whole").mkdir()
    write_sweep(tmp_path / "whole", SAMPLE)
    for name in ("sweep_groups.csv", "sweep.csv"):
        (tmp_path / "whole" / name).rename(root / name)
    tab.frame.wait_for_selector("#sweep-chart .mark", timeout=15_000)
    tab.page.close()
    assert tab.complaints == []


def test_tensorboards_own_pages_show_the_sweep(
    browser: Browser, root: Path, screenshots: Path
) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    address = serve(root).rstrip("/")
    page.goto(f"{address}/#hparams")
    table = page.locator("tf-hparams-table-view")
    table.get_by_text("latency, s per batch", exact=False).first.wait_for(timeout=30_000)
    for text in ("WER", "FLOPs per batch", "batch_size", "image_size", "448.00"):
        # Its rows come after its head.
        table.get_by_text(text, exact=False).first.wait_for(state="attached", timeout=30_000)
    page.screenshot(path=screenshots / "hparams.png")
    page.goto(f"{address}/#images")
    page.reload()
    page.get_by_text("figures/against_batch_size").first.wait_for(timeout=30_000)
    page.wait_for_function(
        """() => {
          const find = (root) => [...root.querySelectorAll("*")].flatMap((one) =>
            [...(one.matches("img") ? [one] : []), ...(one.shadowRoot ? find(one.shadowRoot) : [])]);
          const images = find(document).filter((one) => one.src.includes("/images/"));
          return images.length === 2 && images.every((one) => one.naturalWidth > 600);
        }""",
        timeout=30_000,
    )
    page.screenshot(path=screenshots / "images.png")
    page.close()
