"""A powercap folder whose counter follows the machine: the real RAPL reader reads it from files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANGE_UJ = 262_143_328_850
REST_W, WORK_W = 20.0, 40.0


@contextmanager
def fake_powercap(root: Path) -> Iterator[Path]:
    """A package that draws 20 W at all times and 40 W more for every second of this process's CPU.

    Yields:
        The folder to give to `find_domains`.
    """
    domain = root / "intel-rapl:0"
    domain.mkdir(parents=True)
    (domain / "name").write_text("package-0\n")
    (domain / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    stop = threading.Event()

    def show() -> None:
        joules = REST_W * time.monotonic() + WORK_W * time.process_time()
        fresh = domain / "fresh"
        fresh.write_text(f"{int(joules * 1e6) % RANGE_UJ}\n")
        os.replace(fresh, domain / "energy_uj")  # a reader never sees half a number

    def follow() -> None:
        while not stop.wait(0.004):
            show()

    show()
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield root
    finally:
        stop.set()
        thread.join()
