"""What every test shares: one thread per process, Ctrl-C, and the flag for golden texts."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings
from support.kinds import kinds

# Seconds on shared machines mean nothing: an example may take any time.
settings.register_profile("layerscope", deadline=None)
settings.load_profile("layerscope")

# Before torch is imported: two test processes with two threads each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A shell that starts the tests in the background ignores Ctrl-C for them and all they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden texts")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for kind in sorted(kinds(item.path)):
            item.add_marker(kind)
