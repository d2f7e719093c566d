"""What docs/results/ceilings/README.md says of a CPU's ceilings beside a busy process."""

from __future__ import annotations

import re
from typing import Any

from layerscope.records.plausible_ceilings import rate_text
from published.data import document
from published.pages import Page, page

NAMES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32", "copy": "copy"}


def pairs() -> list[dict[str, Any]]:
    return document("ceilings/busy_core.json")["pairs"]


def best(arm: str) -> dict[str, float]:
    """The largest of each rate over the pairs, which is what is kept after five."""
    return {name: max(pair[arm]["rates"][name] for pair in pairs()) for name in NAMES}


def best_over_best() -> dict[str, float]:
    alone, planted = best("as_it_is"), best("planted")
    return {name: planted[name] / alone[name] for name in NAMES}


def ratio_lines() -> list[str]:
    """`| pair 1 | 1.08 | … |`, then the best of all over the best of all."""
    lines = [
        f"| pair {n} | " + " | ".join(f"{p['planted_over_as_it_is'][k]:.2f}" for k in NAMES) + " |"
        for n, p in enumerate(pairs(), 1)
    ]
    last = " | ".join(f"{value:.2f}" for value in best_over_best().values())
    return [*lines, f"| best of all ÷ best of all | {last} |"]


def rate_line(words: str, arm: str) -> str:
    """`| as it was, best | 0.36 TFLOP/s | … |`."""
    return f"| {words} | " + " | ".join(rate_text(k, v) for k, v in best(arm).items()) + " |"


def singles() -> list[float]:
    return [ratio for pair in pairs() for ratio in pair["planted_over_as_it_is"].values()]


@page("docs/results/ceilings/README.md")
def beside_a_busy_core(p: Page) -> None:
    found = document("ceilings/busy_core.json")
    p.given("moves no ceiling by more than 10 %", "(Intel Xeon, torch 2.13.0,")
    assert found["torch"].startswith("2.13.0")
    assert found["planted"] == 1
    p.says("--pairs {} --out", len(pairs()))
    for line in (
        *ratio_lines(),
        rate_line("as it was", "as_it_is"),
        rate_line("planted", "planted"),
    ):
        p.says("{}", line)
    moved = best_over_best()
    assert all(ratio >= 0.9 for ratio in moved.values())
    p.given("lowers no best of 5 measurements by more than 10 %")
    p.says("the least is {:.2f} of what it was without", min(moved.values()))
    within = [ratio for ratio in singles() if abs(ratio - 1) <= 0.1]
    short = [ratio for ratio in singles() if ratio < 0.9]
    p.says("Of the {} single ratios", len(singles()))
    p.says("{} are within 10 %", len(within))
    p.says("{} of the others fall short of it, the least {:.2f}", len(short), min(short))
    assert len(within) + len(short) + 1 == len(singles())
    assert max(singles()) == max(pair["planted_over_as_it_is"]["float32"] for pair in pairs())
    p.says("by {:.2f}: this", max(singles()))
    alone = [pair["as_it_is"]["rates"]["float32"] / 1e12 for pair in pairs()]
    p.says("{:.3f} to {:.3f} TFLOP/s in the {} measurements", min(alone), max(alone), len(pairs()))
    loads = [_cores(pair["as_it_is"]["load"]) for pair in pairs()]
    assert min(loads) == max(loads)
    p.says(
        "before the {} measurements without it, other work took {:.1f} of the {} cores",
        len(loads),
        max(loads),
        found["cores"],
    )


def _cores(load: str) -> float:
    """Cores that other work took, as a measurement's `load` says it."""
    match = re.search(r"other work takes ([\d.]+) of", load)
    assert match is not None, load
    return float(match[1])
