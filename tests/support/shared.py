"""Material shared beside the repository; tests that need it skip, saying so, where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


def shared(relative: str) -> Path:
    """A path below `../shared`, or a skip."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs {relative} in ../shared, which is not beside this checkout")
    return path
