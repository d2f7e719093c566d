"""The Layers tab in a real browser over real runs, with no network."""

from __future__ import annotations

import csv
import json
import re
import select
import shutil
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser
from support.shared import shared

import layerscope

from .conftest import REPOSITORY, Tab, change_record, open_tab, serve

XL, ONE, TINY = "xl-b16-eager", "xl-b1-eager", "sample-tiny-b2"
BLOCK = "language_model.decoder.block.3"


def record_of(logdir: Path, run: str) -> dict[str, object]:
    record: dict[str, object] = json.loads((logdir / run / "run.json").read_text(encoding="utf-8"))
    return record


def device_sum_ns(logdir: Path, run: str) -> int:
    account = record_of(logdir, run)["account"]
    assert isinstance(account, dict)
    return round(1000 * float(account["device_sum_us"]))


def click_box(tab: Tab, layer: str) -> None:
    """Click where the icicle says that it drew this layer."""
    place = tab.frame.evaluate("layer => window.layerscopeIcicle.box(layer)", layer)
    canvas = tab.frame.locator("#icicle canvas").bounding_box()
    inside = tab.frame.evaluate(
        "() => { const b = document.querySelector('#icicle canvas').getBoundingClientRect();"
        " return [b.left, b.top]; }"
    )
    assert place is not None, f"{layer} is not drawn"
    assert canvas is not None
    x = canvas["x"] - inside[0] + place["x"] + place["width"] / 2
    tab.page.mouse.click(x, canvas["y"] - inside[1] + place["y"] + place["height"] / 2)


def test_it_lists_the_runs_newest_first(tab: Tab, logdir: Path) -> None:
    listed = tab.frame.eval_on_selector_all("#run option", "all => all.map(one => one.value)")
    assert sorted(listed) == sorted([XL, ONE, TINY])
    times = [str(record_of(logdir, run)["created_utc"]) for run in listed]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("run", [XL, ONE])
def test_root_and_column_sum_equal_the_measured_whole(tab: Tab, logdir: Path, run: str) -> None:
    tab.choose(run)
    assert tab.root() == device_sum_ns(logdir, run)
    assert tab.sum() == tab.root()


def test_a_cpu_run_shows_host_time_and_says_why_device_time_is_absent(
    tab: Tab, logdir: Path
) -> None:
    tab.choose(TINY)
    account = record_of(logdir, TINY)["account"]
    assert isinstance(account, dict)
    assert tab.root() == round(account["host_window_us"] * 1000) == tab.sum()
    button = tab.frame.locator("#measure-device")
    assert button.is_disabled()
    assert "no device events" in (button.get_attribute("title") or "")
    assert tab.frame.get_attribute("#measure-host", "aria-pressed") == "true"
    tab.choose(XL)  # device time is what was wanted all along
    assert tab.frame.get_attribute("#measure-device", "aria-pressed") == "true"


def test_phases_filter_and_add_up_to_the_root(tab: Tab) -> None:
    tab.choose(XL)
    whole, parts = tab.root(), 0
    phases = tab.frame.eval_on_selector_all("#phase option", "all => all.map(one => one.value)")
    for phase in phases[1:]:
        tab.frame.select_option("#phase", phase)
        assert tab.sum() == tab.root()
        parts += tab.root()
    assert parts == whole


def test_measures_switch(tab: Tab, logdir: Path) -> None:
    tab.choose(XL)
    with (logdir / XL / "layers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for measure, column in (("flops", "flops_self"), ("bytes", "bytes_self")):
        tab.frame.click(f"#measure-{measure}")
        assert tab.root() == sum(int(row[column]) for row in rows) == tab.sum()
    tab.frame.click("#measure-memory")
    peak = max(float(row["memory_peak_mib"] or 0) for row in rows)
    assert float(tab.frame.get_attribute("#icicle", "data-root-total") or 0) == peak


def test_energy_by_layer_appears_where_a_run_has_it(
    browser: Browser, address: str, logdir: Path, tmp_path: Path
) -> None:
    folder = logdir / "joules"
    shutil.copytree(logdir / XL, folder)
    try:
        with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        # A part of the rows, as a replay of the vision tower alone would leave it.
        measured = [row for row in rows if row["phase"] == "vision"]
        assert len(measured) > 300
        for number, row in enumerate(measured):
            row["energy_j"], row["energy_source"] = str(0.25 + 0.5 * (number == 7)), "replay"
        with (folder / "layers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        tab = open_tab(browser, address)
        tab.unfold()
        tab.choose(XL)
        assert tab.frame.is_disabled("#measure-energy")
        reason = tab.frame.get_attribute("#measure-energy", "title") or ""
        assert "energy was not measured by layer" in reason
        tab.choose("joules")
        tab.frame.click("#measure-energy")
        whole = 0.25 * len(measured) + 0.5
        assert float(tab.frame.get_attribute("#icicle", "data-root-total") or 0) == whole
        assert float(tab.frame.get_attribute("#sums", "data-sum") or 0) == whole
        assert tab.lines()[0] == measured[7]["layer"]
        with tab.page.expect_download() as download:
            tab.frame.click("#csv")
        download.value.save_as(tmp_path / "shown.csv")
        with (tmp_path / "shown.csv").open(encoding="utf-8", newline="") as file:
            saved = list(csv.DictReader(file))
        assert saved[0]["energy_j"] == "0.75"
        assert saved[-1]["energy_j"] == ""  # not measured stays blank, and comes last
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(folder)


def test_a_compiled_run_says_how_its_layers_are_known(
    browser: Browser, address: str, logdir: Path
) -> None:
    """The columns and the account's notes, as a compiled run has them."""
    folder = logdir / "compiled"
    shutil.copytree(logdir / TINY, folder)
    try:
        note = "compiled code, device time: 96.0% of one layer each, 4.0% fused over several layers"
        account = json.loads((folder / "run.json").read_text(encoding="utf-8"))["account"]
        change_record(folder, account=account | {"notes": [note]})
        (folder / "trace.json.gz").unlink()  # without it the table counts that was written
        with (folder / "layers.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["attribution"], row["modelled_us"] = "exact+fused", "1.500"
        with (folder / "layers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        tab = open_tab(browser, address)
        tab.choose("compiled")
        assert f"This run: {note}." in tab.frame.inner_text("#note")
        shown = tab.frame.inner_text(".lines")
        assert "exact+fused" in shown
        tab.choose(TINY)
        assert note not in tab.frame.inner_text("#note")
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(folder)


def test_a_click_zooms_and_the_breadcrumb_leads_back(tab: Tab) -> None:
    tab.choose(XL)
    whole = tab.sum()
    click_box(tab, "language_model.decoder")
    assert tab.trail() == "generate › language_model › decoder"
    assert 0 < tab.sum() < whole  # the table follows
    assert all(name.startswith("language_model.decoder") for name in tab.lines())
    tab.frame.click("#icicle nav button >> text=generate")
    assert tab.trail() == "generate"
    assert tab.sum() == whole


def test_keys_walk_zoom_and_leave(tab: Tab) -> None:
    tab.choose(XL)
    canvas = tab.frame.locator("#icicle canvas")
    canvas.focus()
    for key in ("ArrowDown", "ArrowRight"):
        canvas.press(key)
    assert tab.frame.inner_text("#icicle [aria-live]").startswith("qformer:")
    canvas.press("Enter")
    assert tab.trail() == "generate › qformer"
    canvas.press("Escape")
    assert tab.trail() == "generate"


def test_search_finds_a_block(tab: Tab, screenshots: Path) -> None:
    tab.choose(XL)
    tab.frame.fill("#icicle input", BLOCK)
    assert re.match(r"\d+ found, ", tab.frame.inner_text("#icicle [role=status]"))
    assert all(name.startswith(BLOCK) for name in tab.lines())
    tab.frame.press("#icicle input", "Enter")
    assert tab.trail().endswith("decoder › block › 3")
    tab.page.screenshot(path=screenshots / "search.png")


def test_selection_is_shared_both_ways(tab: Tab) -> None:
    tab.choose(XL)
    name = tab.lines()[0]
    tab.frame.click(".lines .line >> nth=0")
    assert tab.frame.inner_text("#icicle [aria-live]").startswith(f"{name}:")
    click_box(tab, "language_model.encoder")
    assert tab.frame.get_attribute(".lines .line.chosen .cell.wide", "title") == (
        "language_model.encoder"
    )


def test_the_tooltip_tells_every_column(tab: Tab) -> None:
    tab.choose(XL)
    tab.frame.select_option("#phase", "vision")
    box = tab.frame.locator("#icicle canvas").bounding_box()
    assert box is not None
    tab.page.mouse.move(box["x"] + 200, box["y"] + 32 + 10)
    text = tab.frame.inner_text("#icicle [role=tooltip]")
    assert text.startswith("vision_model")
    for column in (
        "Class",
        "Calls",
        "Device events",
        "Host time",
        "FLOPs, with layers below",
        "Parameters",
    ):
        assert column in text


def test_group_filter_sort_and_csv(tab: Tab, logdir: Path, tmp_path: Path) -> None:
    tab.choose(XL)
    tab.frame.select_option("#group", "decoder.ffn")
    with tab.page.expect_download() as download:
        tab.frame.click("#csv")
    download.value.save_as(tmp_path / "shown.csv")
    with (tmp_path / "shown.csv").open(encoding="utf-8", newline="") as file:
        shown = list(csv.DictReader(file))
    with (logdir / XL / "layers.csv").open(encoding="utf-8", newline="") as file:
        expected = [row for row in csv.DictReader(file) if row["group"] == "decoder.ffn"]
    assert len(shown) == len(expected) > 0
    times = [float(row["gpu_self_us"]) for row in shown]
    assert times == sorted((float(row["gpu_self_us"]) for row in expected), reverse=True)
    assert round(sum(times) * 1000) == tab.sum()


def test_only_the_lines_in_view_are_elements(tab: Tab) -> None:
    tab.choose(XL)
    assert len(tab.lines()) < 60
    before = tab.lines()
    tab.frame.eval_on_selector(".scroll", "box => { box.scrollTop = 30000; }")
    tab.frame.wait_for_function(
        "first => document.querySelector('.lines .cell.wide').title !== first", arg=before[0]
    )
    assert len(tab.lines()) < 60


def test_a_finding_selects_its_rows(tab: Tab) -> None:
    tab.choose(XL)
    tab.frame.click("#findings button >> text=in fp32 take")
    names = set(tab.lines())
    assert names
    assert all(name.endswith((".wo", "word_embeddings")) for name in names)
    assert tab.sum() == 63_735_464  # findings.json: concerns_ns
    tab.frame.click("#chip")
    assert tab.sum() == tab.root()


def test_compare_shows_the_changed_layer_first(
    browser: Browser, address: str, logdir: Path, screenshots: Path
) -> None:
    changed = logdir / "changed"
    shutil.copytree(logdir / XL, changed)
    try:
        with (changed / "layers.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            if row["layer"] == f"{BLOCK}.layer.2.DenseReluDense.wo" and row["phase"] == "decode":
                row["gpu_self_us"] = f"{float(row['gpu_self_us']) + 5000:.3f}"
        with (changed / "layers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        tab = open_tab(browser, address)
        tab.unfold()
        tab.choose("changed", XL)
        assert tab.lines()[0] == f"{BLOCK}.layer.2.DenseReluDense.wo"
        assert "+5 ms" in tab.frame.inner_text(".lines .line >> nth=0").replace("\n", " ")
        assert tab.frame.get_attribute("#sums", "data-change") == "5000000"
        assert tab.root() == device_sum_ns(logdir, XL) + 5_000_000
        tab.choose(XL, "changed")  # the other way round: less, and still first
        assert tab.lines()[0] == f"{BLOCK}.layer.2.DenseReluDense.wo"
        assert tab.frame.get_attribute("#sums", "data-change") == "-5000000"
        tab.choose(XL, ONE)
        assert "batch_size 1 → 16" in tab.frame.inner_text("#note")
        tab.page.screenshot(path=screenshots / "layers-tab-compare.png")
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(changed)


def test_a_new_run_appears_while_the_page_is_open(tab: Tab, logdir: Path) -> None:
    tab.choose(XL)
    folder = logdir / "later"
    shutil.copytree(logdir / TINY, folder)
    try:
        tab.frame.wait_for_selector("#run option[value=later]", state="attached", timeout=15_000)
        assert tab.frame.input_value("#run") == XL  # what was open stays open
    finally:
        shutil.rmtree(folder)


def test_names_are_text_and_never_markup(browser: Browser, address: str, logdir: Path) -> None:
    folder = logdir / "hostile"
    evil = "<img src=x onerror=alert(1)>"
    folder.mkdir()
    shutil.copyfile(logdir / TINY / "run.json", folder / "run.json")
    change_record(folder, name=evil, files={})
    (folder / "layers.csv").write_text(
        "phase,layer,module,group,depth,calls,cpu_self_us,cpu_total_us\n"
        f"other,generate,{evil},constructor,0,1,1.000,3.000\n"
        f'{evil},"{evil},""quoted""",<b>,__proto__,1,1,2.000,2.000\n',
        encoding="utf-8",
    )
    finding = {"id": evil, "sentence": evil, "rests_on": [{"layer": evil}], "saving": {}}
    (folder / "findings.json").write_text(json.dumps({"findings": [finding]}), encoding="utf-8")
    try:
        tab = open_tab(browser, address)
        tab.choose("hostile")
        assert tab.frame.query_selector_all("img, b") == []
        assert f'{evil},"quoted"' in tab.lines()
        assert tab.root() == 3000
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(folder)


def test_the_shared_trace_of_the_h200(browser: Browser, address: str, logdir: Path) -> None:
    from layerscope.account.account import account_of
    from layerscope.report.csv import write_layers_csv

    account = account_of(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    folder = logdir / "shared"
    folder.mkdir()
    try:
        write_layers_csv(account.table, folder / "layers.csv")
        assert account.table.whole.device_sum_ns is not None
        record = {
            "name": "shared",
            "created_utc": "2026-01-01T00:00:00+00:00",
            "account": {"status": "ok", "device_sum_us": account.table.whole.device_sum_ns / 1000},
        }
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        tab = open_tab(browser, address)
        tab.choose("shared")
        assert tab.root() == tab.sum() == device_sum_ns(logdir, "shared") == 210_096_345
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(folder)


def test_ten_thousand_modules_are_drawn_in_time(
    browser: Browser, address: str, logdir: Path
) -> None:
    folder = logdir / "large"
    folder.mkdir()
    shutil.copyfile(logdir / XL / "run.json", folder / "run.json")
    names = [
        f"tower.{a}" + part for a in range(100) for part in ("", *(f".{b}" for b in range(99)))
    ]
    lines = ["phase,layer,module,group,depth,calls,gpu_self_us,gpu_total_us"]
    lines += ["other,generate,M,other,0,1,0.000,9900.000", "other,tower,M,other,1,0,0.000,9900.000"]
    lines += [f"other,{name},M,norm,{name.count('.') + 1},1,1.000,1.000" for name in names]
    (folder / "layers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        tab = open_tab(browser, address)
        tab.choose("large")
        assert tab.root() == tab.sum() == 10_000 * 1000
        took_ms = tab.frame.evaluate(
            "() => { const took = []; for (let i = 0; i < 10; i += 1) {"
            " const start = performance.now(); window.layerscopeIcicle.zoom(`tower.${i}`);"
            " took.push(performance.now() - start); }"
            " window.layerscopeIcicle.zoom(''); return Math.min(...took); }"
        )
        assert took_ms < 100  # the quickest zoom of ten, because the machine is shared
        tab.page.close()
        assert tab.complaints == []
    finally:
        shutil.rmtree(folder)


def test_screenshot_of_the_xl_run(tab: Tab, screenshots: Path) -> None:
    tab.choose(XL)
    tab.page.screenshot(path=screenshots / "layers-tab.png")
    assert (screenshots / "layers-tab.png").stat().st_size > 20_000


def test_tensorboards_own_command_over_the_committed_sample(browser: Browser) -> None:
    installed = entry_points(group="tensorboard_plugins").names
    if "layerscope" not in installed:
        pytest.skip("layerscope's entry point is not installed: pip install -e . again")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(REPOSITORY / "traces")]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        tab = open_tab(browser, _address_in(server))
        tab.choose(TINY)
        assert tab.sum() == tab.root() > 0
        tab.page.close()
        assert tab.complaints == []
    finally:
        server.terminate()
        server.wait(timeout=20)


def _address_in(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    text, end = "", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([server.stderr], [], [], 1)[0]:
            text += server.stderr.readline()
        if found := re.search(r"TensorBoard \S+ at (http://\S+)", text):
            return found[1]
        assert server.poll() is None, text
    raise AssertionError(f"TensorBoard named no address within a minute: {text}")


# ---- beside the batch, and captures ---------------------------------------------------------------


def test_what_comes_before_a_batch_has_rows_beside_it(tab: Tab, logdir: Path) -> None:
    """With the times of run.json, and no phase of the account."""
    for run in (ONE, TINY):
        tab.choose(run)
        shown = tab.frame.eval_on_selector_all(
            "#beside tbody tr", "rows => rows.map(row => [...row.children].map(c => c.textContent))"
        )
        assert [row[0] for row in shown] == ["preprocessing", "copy to the device"]
        measured = shown[1:] if run == ONE else shown
        assert all(re.fullmatch(r"[\d.,]+ (µs|ms|s)", row[1]) for row in measured)
        assert all(row[2].endswith("%") for row in measured)
        if run == ONE:
            assert shown[0][1:] == [
                "not measured: the inputs were drawn, so no processor ran",
                "",
            ]
        assert "in no sum of the account" in tab.frame.inner_text("#beside caption")
        phases = tab.frame.eval_on_selector_all("#phase option", "all => all.map(one => one.value)")
        assert not {"preprocessing", "copy to the device"} & set(phases)
    tab.choose(ONE, TINY)
    head = tab.frame.eval_on_selector_all("#beside thead th", "all => all.map(o => o.textContent)")
    assert head == ["beside the batch", "host time", "of generate()", "base"]


def test_a_saved_capture(browser: Browser, tmp_path: Path, screenshots: Path) -> None:
    """Its layers, and the reasons of what it does not know; beside a run of `profile`, too."""
    net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU())
    with layerscope.capture(net) as cap:
        net(torch.ones(2, 8))
    cap.save(tmp_path / "mine")
    shutil.copytree(REPOSITORY / "traces" / TINY, tmp_path / TINY)
    tab = open_tab(browser, serve(tmp_path))
    tab.choose("mine")
    whole = cap.table.whole.host_window_ns
    assert (tab.root(), tab.sum()) == (whole, whole)
    note = tab.frame.inner_text("#note")
    assert "not known: configuration (the program ran the model by itself" in note
    assert "Sequential, captured" in tab.frame.inner_text("#where")
    assert "a capture does not see it" in tab.frame.inner_text("#beside")
    latency = tab.frame.locator("#headline .fact", has_text="Latency")
    assert latency.get_attribute("title") == "a capture measures nothing without the profiler"
    tab.page.screenshot(path=str(screenshots / "layers-tab-capture.png"))
    tab.choose(TINY, "mine")
    tab.page.screenshot(path=str(screenshots / "layers-tab-capture-base.png"))
    assert "undefined" not in tab.frame.inner_text("#runs")
    tab.page.close()
    assert tab.complaints == []
