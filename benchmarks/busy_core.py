"""Ceilings of this CPU with and without busy processes planted beside the measurement.

    python benchmarks/busy_core.py --pairs 3 --busy 1 --out busy_core.json

Each pair measures once as the machine is and once with `--busy` processes that never rest; the order
alternates. Both are full measurements as `layerscope ceilings --remeasure` makes them; nothing is kept.
Printed: every ceiling of every measurement, and for each pair the planted one over the other. What else
ran on the machine meanwhile stands in the `load` of each measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from layerscope.measure.ceilings import measure_ceilings
from layerscope.records.plausible_ceilings import rate_text
from layerscope.records.work import Ceilings

CPU = torch.device("cpu")


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Processes that want a core each all the time."""
    planted = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        time.sleep(0.3)  # until they have started
        yield
    finally:
        for process in planted:
            process.kill()
            process.wait()


def measured(processes: int) -> Ceilings:
    """One measurement."""
    with busy(processes):
        return measure_ceilings(CPU, key="benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--busy", type=int, default=1, help="planted processes")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    pairs = []
    for pair in range(chosen.pairs):
        arms = (0, chosen.busy) if pair % 2 == 0 else (chosen.busy, 0)
        found = {processes: measured(processes) for processes in arms}
        alone, planted = found[0], found[chosen.busy]
        ratios = {name: planted.rates()[name] / rate for name, rate in alone.rates().items()}
        for words, ceilings in (("as it is", alone), (f"{chosen.busy} planted", planted)):
            rates = ", ".join(f"{n} {rate_text(n, r)}" for n, r in ceilings.rates().items())
            print(f"{words:10} {rates} ({ceilings.load})", flush=True)
        print("ratio      " + ", ".join(f"{n} {r:.3f}" for n, r in ratios.items()), flush=True)
        pairs.append(
            {
                "as_it_is": {"rates": alone.rates(), "load": alone.load, "scatter": alone.scatter},
                "planted": {
                    "rates": planted.rates(), "load": planted.load, "scatter": planted.scatter,
                },
                "planted_over_as_it_is": ratios,
            }
        )  # fmt: skip
    if chosen.out:
        held = {
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "planted": chosen.busy,
            "pairs": pairs,
        }
        chosen.out.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
