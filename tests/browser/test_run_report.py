"""The page that `layerscope report` makes of a run: a finding shows all of its rows in the icicle."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser
from support.report_verb import report

from .conftest import REPOSITORY

RUN = REPOSITORY / "docs" / "results" / "h200" / "xl-b16-eager"


def test_a_finding_marks_all_of_its_rows_the_largest_first(
    browser: Browser, tmp_path: Path
) -> None:
    """48 `wo` and one embedding, of four phases: 63.735 ms, as findings.json has it."""
    report(RUN, "--html", tmp_path / "run.html")
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "run.html").as_uri())
    page.click("li:has-text('parameters in fp32') button.show")
    assert page.inner_text("#icicle [role=status]") == "49 marked, 63.735 ms"
    # In the encoder each `wo` takes longer, and the largest of them is chosen.
    assert page.inner_text("#icicle [aria-live]").startswith("language_model.encoder.block.")
    page.click("li:has-text('chose its math kernel') button.show")
    assert page.inner_text("#icicle [role=status]").startswith("48 marked, ")
    page.close()
    assert said == []
