"""Every figure of README.md and docs/results follows from the data committed beside it."""

from __future__ import annotations

import pytest
from published.all_pages import PAGES
from published.pages import ROOT, Page, read


@pytest.mark.parametrize("path", sorted(PAGES))
def test_the_page_says_what_its_data_say(path: str) -> None:
    unsaid = read(path).unsaid()
    assert not unsaid, f"{path}:\n" + "\n".join(unsaid)


@pytest.mark.parametrize("path", sorted(PAGES))
def test_no_figure_stands_without_its_data(path: str) -> None:
    bare = read(path).bare()
    assert not bare, f"{path}:\n" + "\n".join(bare)


def test_every_page_of_results_has_its_claims() -> None:
    there = {str(p.relative_to(ROOT)) for p in (ROOT / "docs" / "results").rglob("*.md")}
    assert there | {"README.md"} == set(PAGES)


def test_a_changed_digit_and_a_bare_figure_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "It took 1.25 s\nof 3 samples.\n\n| a | b |\n|---|---|\n| x | 7 |\n`5 ms` of torch 2.13.0\n"
    )
    monkeypatch.setattr(Page, "text", property(lambda _: text))
    page = Page("x.md")
    page.says("took {:.2f} s of {} samples", 1.25, 3)
    assert not page.unsaid()
    (bare,) = page.bare()
    assert "| x | 7 |" in bare
    page.rows("| {} | {} |", [("x", 7)])
    assert not page.bare()
    page.says("took {:.2f} s", 1.26)
    assert len(page.unsaid()) == 1
