"""The pages that `layerscope sweep` wrote: their cells against `sweep.csv` beside them.

What a page says of the published tables is held against configs/reference/reference_tables.json; the
exponents by group against the cells' accounts, where those are committed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import mean

from layerscope.report.sweep.grids import NO_POWER_LAW
from layerscope.stats.sweep_tables import LARGEST_MISS
from published.data import Row, table
from published.pages import Page, page
from published.reference import tables

DIGITS = 4
_ENDS = {
    "wer": ("wer_value", "wer_value_low", "wer_value_high"),
    "latency": ("latency_s", "latency_low_s", "latency_high_s"),
    "energy": ("energy_j_per_sample", "energy_low_j_per_sample", "energy_high_j_per_sample"),
    "mean energy": tuple(
        f"energy_mean_over_batches_{end}j_per_sample" for end in ("", "low_", "high_")
    ),
}


def estimate(row: Row, name: str) -> str:
    """`0.3721 [0.365, 0.3802]` as the page writes it."""
    value, low, high = (row[column] for column in _ENDS[name])
    if not value:
        return "–"
    said = f"{float(value):.{DIGITS}g}"
    return said + (f" \\[{float(low):.{DIGITS}g}, {float(high):.{DIGITS}g}\\]" if low else "")


def flops(text: str) -> str:
    if not text:
        return "–"
    for scale, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if float(text) >= scale:
            return f"{float(text) / scale:.{DIGITS}g} {prefix}"
    return text


def _cells(p: Page, rows: Sequence[Row]) -> None:
    lines = _table_after(p, "| cell | wer |")
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        axes = line.split(" | ")[0].removeprefix("| ")
        _axes_are_of(axes, row)
        p.says(
            "{} | {} | {} | {} | {} | {} | {} |",
            f"| {axes}",
            estimate(row, "wer"),
            estimate(row, "latency"),
            estimate(row, "energy"),
            flops(row["flops_per_batch"]),
            _seen(row),
            row["status"],
        )


def _axes_are_of(axes: str, row: Row) -> None:
    """The name of a cell says what the CSV says: `batch_size=16 dataset=…`."""
    columns = {"batch_size": "batch"}
    for pair in axes.replace("\\", "").split():
        key, _, value = pair.partition("=")
        assert row.get(columns.get(key, key), value) == value, (axes, row["cell"])


def _seen(row: Row) -> str:
    if not row["pixels_seen"]:
        return ""
    steps = f"{float(row['decoder_steps']):g}"
    return f"{row['pixels_seen']} px, {row['padded_text_tokens']} text, {steps} steps"


def _beside(p: Page, rows: Sequence[Row], name: str) -> None:
    """Each line of the second table: ours as above, theirs verbatim, and the two ratios."""
    lines = _table_after(p, "| cell | quantity |")
    theirs = {str(v) for v in _numbers(tables()[THEIRS.get(name, name)])}
    measured = [row for row in rows if row["status"] == "done"]
    assert len(lines) == 4 * len(measured) or not lines
    for at, line in enumerate(lines):
        row = measured[at // 4]
        axes, quantity, _, published, *rest = line.strip("| ").split(" | ")
        kind = quantity.replace("\\", "")
        ours_is = {
            "wer_value": estimate(row, "wer"),
            "latency": estimate(row, "latency"),
            "energy": estimate(row, "mean energy"),
            "flops": flops(row["flops_last_batch"]),
        }[kind]
        assert published == "–" or _is_published(published, theirs), line
        p.says("| {} | {} | {} | {} |", axes, quantity, ours_is, published)
        p.given(" | ".join(rest))
    if lines:
        _ratios(p, lines)


def _ratios(p: Page, lines: Sequence[str]) -> None:
    """Ratios follow from the numbers of the same page, to the digits those have."""
    firsts: dict[tuple[str, str], tuple[float, float]] = {}
    for line in lines:
        axes, quantity, ours, published, our_ratio, their_ratio, *_ = line.strip("| ").split(" | ")
        group = re.sub(r"\S+=\d+", "", axes)
        if "–" in (ours, published):
            continue
        now = _leading(ours), _leading(published)
        first = firsts.setdefault((quantity, group), now)
        if their_ratio != "–":
            assert math.isclose(now[1] / first[1], _leading(their_ratio), rel_tol=2e-3), line
        if our_ratio != "–":
            assert math.isclose(now[0] / first[0], _leading(our_ratio), rel_tol=2e-3), line


def _leading(text: str) -> float:
    return float(text.split(maxsplit=1)[0])


def _numbers(value: object) -> list[object]:
    if isinstance(value, dict):
        return [found for item in value.values() for found in _numbers(item)]
    return [value]


def _is_published(shown: str, theirs: set[str]) -> bool:
    """Whether a published number, rounded as shown, stands in the table; FLOPs stand verbatim."""
    number = shown.split(maxsplit=1)[0]
    return shown in theirs or any(_rounds_to(text, number) for text in theirs)


def _rounds_to(text: str, shown: str) -> bool:
    try:
        return f"{float(text):.{DIGITS}g}" == shown
    except ValueError:
        return False


def _exponents(p: Page, rows: Sequence[Row], axis: str, layers: str | None) -> None:
    """Exponents of latency, and of groups where the cells' accounts are committed."""
    for line in _table_after(p, "| along |"):
        along, what, *_ = line.strip("| ").split(" | ")
        if what != "latency" and layers is None:
            p.given(line)  # the accounts of these cells are not committed
            continue
        fixed = dict(pair.split("=") for pair in along.replace("\\", "").split()[1:])
        mine = [r for r in rows if all(r[k] == v for k, v in fixed.items())]
        points = [(float(r[axis]), _time(r, what.replace("\\", ""), layers)) for r in mine]
        slope, miss = _fit(points)
        told = f"{slope:.2f}" if miss <= LARGEST_MISS else NO_POWER_LAW
        p.says("| {} | {} | {} | {} | {:.0f}% |", along, what, told, len(points), 100 * miss)


def _time(row: Row, what: str, layers: str | None) -> float:
    if what == "latency":
        return float(row["latency_s"])
    assert layers is not None
    return sum(
        float(r["gpu_self_us"] or 0)
        for r in table(layers)
        if (r["cell"], r["group"]) == (row["cell"], what)
    )


def _fit(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(slope, largest miss) of a line through the logarithms by least squares."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    x, y = mean(a for a, _ in logs), mean(b for _, b in logs)
    slope = sum((a - x) * (b - y) for a, b in logs) / sum((a - x) ** 2 for a, _ in logs)
    return slope, max(abs(math.exp(y + slope * (a - x) - b) - 1) for a, b in logs)


def _table_after(p: Page, header: str) -> list[str]:
    """The rows of the table with this header; none where the page lacks it."""
    lines = p.text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(header)), None)
    if start is None:
        return []
    end = next(
        i for i in range(start, len(lines) + 1) if i == len(lines) or not lines[i].startswith("|")
    )
    return lines[start + 2 : end]


def _quoted(p: Page) -> None:
    """Sentences about the published numbers, reasons and choices, which are no measurements."""
    for line in p.text.splitlines():
        if line and not line.startswith("|"):
            p.given(line)


def _declare(path: str, csv: str, name: str, axis: str, layers: str | None = None) -> None:
    @page(path)
    def claims(p: Page) -> None:
        rows = table(csv)
        _cells(p, rows)
        _beside(p, rows, name)
        _exponents(p, rows, axis, layers)
        _quoted(p)


AXES: dict[str, str] = {
    "batch_size": "batch",
    "image_size": "image_size",
    "input_length": "max_input_len",
    "optimization": "optimization",
    "device": "device",
}
THEIRS = {"device": "gpu_vs_cpu"}
for _name, _axis in AXES.items():
    _declare(f"docs/results/tiny/{_name}.md", f"tiny/{_name}.csv", _name, _axis)
    if _name != "optimization":
        _folder = f"h200/sweeps/{_name}"
        _has = _name in ("batch_size", "image_size")
        _declare(
            f"docs/results/{_folder}/sweep.md",
            f"{_folder}/sweep.csv",
            _name,
            _axis,
            f"{_folder}/sweep_layers.csv.gz" if _has else None,
        )
