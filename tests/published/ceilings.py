"""What docs/results/ceilings/README.md says of a CPU's ceilings beside a busy process."""

from __future__ import annotations

import re
from itertools import combinations
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
    p.says(
        "between {:.2f} and {:.2f} of what they were without",
        min(moved.values()),
        max(moved.values()),
    )
    p.says("A single measurement moved by {:.2f} to {:.2f}", min(singles()), max(singles()))
    off = [ratio for ratio in singles() if abs(ratio - 1) > 0.1]
    p.says("{} of the {} single ratios lie beyond 10 %", len(off), len(singles()))
    for name in ("float16", "bfloat16"):
        assert all(abs(pair["planted_over_as_it_is"][name] - 1) <= 0.1 for pair in pairs())
    p.given("fp16 and bf16 stayed within 10 % in every pair")
    threes = best_of_three()
    within = [
        all(abs(ratio - 1) <= 0.1 for ratio in one) for one in zip(*threes.values(), strict=True)
    ]
    p.says(
        "of the {} ways to take three, {} have every ceiling within 10 %; the worst reach {:.2f} (fp32)"
        " and {:.2f} (copy)",
        len(within),
        sum(within),
        min(threes["float32"]),
        min(threes["copy"]),
    )
    loads = [_cores(pair["as_it_is"]["load"]) for pair in pairs()]
    p.says(
        "other work took {:.1f} to {:.1f} of the {} cores", min(loads), max(loads), found["cores"]
    )


def _cores(load: str) -> float:
    """Cores that other work took, as a measurement's `load` says it."""
    match = re.search(r"other work takes ([\d.]+) of", load)
    assert match is not None, load
    return float(match[1])


def best_of_three() -> dict[str, list[float]]:
    """Of every three planted measurements the best, over the best of all without."""
    alone = best("as_it_is")
    return {
        name: [
            max(pair["planted"]["rates"][name] for pair in three) / alone[name]
            for three in combinations(pairs(), 3)
        ]
        for name in NAMES
    }
