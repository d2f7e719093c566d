"""Where Debian's Chromium is; the one line that says how to get it where it is not."""

from __future__ import annotations

import shutil

import pytest

MISSING = "the browser tests need Chromium: apt-get install chromium (Debian), then run them again"


def chromium() -> str:
    """The path of the program; skips the test where there is none.

    All skips come from this line, so that pytest's summary folds them into one.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip(MISSING)
    return found
