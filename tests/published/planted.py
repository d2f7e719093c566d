"""What docs/results/planted/README.md says of the delays that were planted."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import Any

from published.data import Row, document, table
from published.pages import Page, page

_HELD = ("right", "unknown", "wrong", "off", "lost")


@page("docs/results/planted/README.md")
def planted_delays(p: Page) -> None:
    p.given(
        "torch 2.13",
        "within 2 % of its true length",
        "within 2 % of their length",
        "allowed for 2 % of the delays",
        "24 small models",
        "8 to 30 ms on the CPU, 1 to 8 ms on a GPU",
        "made more than 2 %",
    )
    _on_a_cpu(p)
    _on_a_gpu(p)


def _on_a_cpu(p: Page) -> None:
    rows, record, found = _judged(p, "cpu")
    named = 100 * (found["right"] + found["off"]) / len(rows)
    p.says(
        "{} off, {} lost; {:.1f} % in their own layer, {:.1f} % also within",
        *(found["off"], found["lost"], named, 100 * found["right"] / len(rows)),
    )
    p.says(
        "found up to {:.1f} % too long",
        100 * max(_error(row) for row in rows if row["verdict"] == "off"),
    )
    assert len(rows) >= 1000
    assert not found["wrong"] + found["unknown"] + found["lost"]
    assert named >= 98
    p.says("{} times. Such a delay", sum(m["measured_anew"] for m in record["modes"].values()))


def _on_a_gpu(p: Page) -> None:
    rows, record, found = _judged(p, "h200")
    p.given("one H200, torch 2.11.0+cu130, transformers 5.24")
    p.says("{} off, {} lost; lengths within", found["off"], found["lost"])
    p.says("lengths within {:.2f} %", 100 * max(_error(r) for r in rows if r["found_us"]))
    assert not record["failed"] + record["left_out"]
    assert len(rows) >= 300
    assert not found["wrong"] + found["lost"] + found["off"] + found["unknown"]


def _judged(p: Page, device: str) -> tuple[tuple[Row, ...], Any, Counter[str]]:
    """The rows, the record and the verdicts of a device, whose table by mode the page has."""
    rows, record = table(f"planted/{device}.csv"), document(f"planted/{device}.json")
    found = Counter(row["verdict"] for row in rows)
    p.says("{:,} delays: {:,} right, {} unknown, {} wrong", len(rows), *_of(found)[:3])
    for mode, sums in record["modes"].items():
        mine = [row for row in rows if row["mode"] == mode]
        counts = Counter(row["verdict"] for row in mine)
        assert _of(counts) == [sums[name] for name in _HELD], mode
        errors = [_error(row) for row in mine if row["verdict"] in ("right", "off")]
        p.says(
            "| {} | {} | {} | {} | {} | {} | {:.2f}% | {:.2f}% | {} |",
            *(mode, len(mine), len({row["model"] for row in mine})),
            *(counts["right"], counts["unknown"], counts["wrong"]),
            *(100 * median(errors), 100 * max(errors), sums["measured_anew"]),
        )
    return rows, record, found


def _of(found: Counter[str]) -> list[int]:
    return [found[name] for name in _HELD]


def _error(row: Row) -> float:
    return abs(float(row["found_us"]) / float(row["planted_us"]) - 1)
