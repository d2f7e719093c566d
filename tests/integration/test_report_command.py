"""`layerscope report` as a user runs it, on real folders with and without their trace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from support.chromium import chromium
from support.report_verb import report

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "traces" / "sample-tiny-b2"
XL = ROOT / "docs" / "results" / "h200" / "xl-b16-eager"


def device_sum(folder: Path) -> str:
    saved = json.loads((folder / "run.json").read_text())["account"]
    return f"{saved['device_sum_us'] or saved['host_window_us']:,.3f}"


def test_a_folder_without_its_trace_makes_a_whole_report(tmp_path: Path) -> None:
    assert not (XL / "trace.json.gz").exists()
    page = tmp_path / "report.html"
    assert report(XL, "--html", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3_000_000
    assert device_sum(XL) in text
    assert text.count("<figure>") == 4
    assert "decode is launch-bound" in text
    assert "language_model.decoder.block.*.layer.0.SelfAttention" in text
    assert "no counted work" in text  # what is not there is said
    assert str(ROOT) not in text  # where it was read says nothing to whom it is sent
    again = tmp_path / "again.html"
    report(XL, "--html", again)
    assert again.read_bytes() == page.read_bytes()


def test_a_run_with_its_trace_gets_its_figures_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("figures"))
    page = tmp_path / "report.html"
    assert report(folder, "--html", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert device_sum(SAMPLE) in text
    assert text.count("<figure>") >= 2
    assert "no device events in the trace" in text  # why the window is not drawn
    again = tmp_path / "again.html"
    report(folder, "--html", again)
    assert again.read_bytes() == page.read_bytes()


def test_markdown_goes_to_the_screen_or_to_a_file(tmp_path: Path) -> None:
    code, shown, _ = report(XL, "--markdown")
    assert code == 0
    assert shown.startswith("### layerscope: instructblip-flan-t5-xl, batch 16, 224 px\n")
    assert device_sum(XL) in shown
    assert len(shown) < 65_536
    file = tmp_path / "comment.md"
    assert report(XL, "--markdown", file) == (0, "", "")
    assert file.read_text(encoding="utf-8") == shown


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    assert report(XL)[::2] == (2, "nothing to write: give --html FILE, --markdown, or both.")
    assert report(tmp_path / "gone", "--markdown")[::2] == (
        4,
        f"{tmp_path / 'gone'}: no such folder.",
    )
    code, _, line = report(tmp_path, "--markdown")
    assert (code, "neither run.json nor sweep.json" in line) == (4, True)
    code, _, line = report(SAMPLE / "trace.json.gz", "--markdown")
    assert (code, "layerscope layers" in line) == (2, True)
    code, _, line = report(XL, "--html", tmp_path / "no" / "such.html")
    assert (code, "cannot write the report" in line) == (3, True)


def test_a_run_without_account_is_reported_by_its_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(XL / "run.json", folder)
    page = tmp_path / "report.html"
    assert report(folder, "--html", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "0.6741 s" in text
    assert "neither trace.json.gz nor layers.csv is in the folder" in text
    assert "<script" not in text


def test_an_account_that_does_not_add_up_is_written_and_ends_with_5(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(XL / "run.json", folder)
    lines = (XL / "layers.csv").read_text().splitlines(keepends=True)
    wo = next(i for i, line in enumerate(lines) if line.startswith("encoder,") and ".wo," in line)
    (folder / "layers.csv").write_text("".join(lines[:wo] + lines[wo + 1 :]))
    page = tmp_path / "report.html"
    code, _, line = report(folder, "--html", page)
    assert (code, "does not add up" in line) == (5, True)
    assert "The account does not add up" in page.read_text(encoding="utf-8")


def test_in_a_browser_the_root_is_the_device_sum(tmp_path: Path) -> None:
    browser = chromium()
    page = tmp_path / "report.html"
    report(XL, "--html", page)
    shown = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
            "--virtual-time-budget=3000", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert console == []
    root = re.search(r'data-root-total="(\d+)"', shown.stdout)
    saved = json.loads((XL / "run.json").read_text())["account"]
    assert root is not None
    assert int(root[1]) == round(saved["device_sum_us"] * 1000)
    assert re.search(r'<form id="controls">', shown.stdout)  # no longer hidden: the script ran
