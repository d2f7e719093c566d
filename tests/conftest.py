"""What every test shares: one thread per process and the flag for golden texts."""

from __future__ import annotations

import os

import pytest

# Before torch is imported: two test processes with two threads each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden texts")
