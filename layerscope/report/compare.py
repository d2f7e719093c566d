"""A comparison and what became of its conditions in; screen, Markdown or JSON out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console

from layerscope.core.files import json_text
from layerscope.core.microseconds import us_grouped
from layerscope.core.units import ms_three, prefixed
from layerscope.differences.noise import CONFIDENCE
from layerscope.records.comparison import (
    SCHEMA_VERSION,
    Comparison,
    EnergyChange,
    LayerChange,
    LayerComparison,
    MetricChange,
    Outcome,
)
from layerscope.report.kinds import counted_name
from layerscope.report.markdown import escape
from layerscope.report.page import Grid, Page

_KINDS = {
    "environment": "unlike environment",
    "work": "asked for",
    "way": "run differently",
    "noted": "noted",
}
_NAMES = {
    "latency": "latency",
    "ttft": "time to first token",
    "energy": "energy",
    "wer": "WER",
    "flops": "FLOPs",
    "device": "device time",
    "host": "host window",
}


def render_comparison(
    comparison: Comparison,
    outcomes: Sequence[Outcome],
    console: Console,
    *,
    top: int,
    per_block: bool = False,
) -> None:
    """Print what was unlike, the headline numbers with verdicts, the layers, the conditions.

    Args:
        top: at most this many kinds; what the others change together is printed beneath.
        per_block: each layer by itself instead of equal blocks as one.
    """
    page = Page(console)
    page.line(f"base   {comparison.base}", style="bold")
    page.line(f"other  {comparison.other}", style="bold")
    for kind, text in _unlike(comparison):
        page.line(f"{kind}: {text}", style="yellow" if kind == _KINDS["environment"] else "")
    if comparison.metrics:
        page.grid(_headline_grid(comparison.metrics))
    else:
        page.line(f"no headline numbers: {comparison.metrics_absent}")
    if comparison.layers is None:
        page.line()
        page.line(f"no layers: {comparison.layers_absent}")
    else:
        page.grid(_phase_grid(comparison.layers))
        page.grid(_layer_grid(comparison.layers, top, per_block=per_block))
        page.line()
        for line in _layer_lines(comparison.layers):
            page.line(line)
    if comparison.energy:
        page.grid(_energy_grid(comparison.energy, top))
    page.line()
    for line in _limits(comparison):
        page.line(line)
    for outcome in outcomes:
        page.line(f"--fail-on {outcome.sentence}", style="bold red" if outcome.crossed else "")


def comparison_markdown(
    comparison: Comparison, outcomes: Sequence[Outcome], *, top: int, per_block: bool = False
) -> str:
    """The same as Markdown, for a pull request."""
    parts = [f"**base** {escape(comparison.base)}  \n**other** {escape(comparison.other)}"]
    parts += [f"- {kind}: {escape(text)}" for kind, text in _unlike(comparison)]
    if comparison.metrics:
        parts.append(_markdown(_headline_grid(comparison.metrics)))
    else:
        parts.append(escape(f"No headline numbers: {comparison.metrics_absent}"))
    if comparison.layers is None:
        parts.append(escape(f"No layers: {comparison.layers_absent}"))
    else:
        parts.append(_markdown(_phase_grid(comparison.layers)))
        parts.append(_markdown(_layer_grid(comparison.layers, top, per_block=per_block)))
        parts += [escape(line) for line in _layer_lines(comparison.layers)]
    if comparison.energy:
        parts.append(_markdown(_energy_grid(comparison.energy, top)))
    parts += [escape(line) for line in _limits(comparison)]
    parts += [escape(f"--fail-on {outcome.sentence}") for outcome in outcomes]
    return "\n\n".join(parts) + "\n"


def comparison_json(comparison: Comparison, outcomes: Sequence[Outcome]) -> str:
    """Everything, all layers included, as indented JSON. Times are integer nanoseconds."""
    built: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **msgspec.to_builtins(comparison),
        "conditions": msgspec.to_builtins(tuple(outcomes)),
    }
    layers = comparison.layers
    if layers is not None:
        built["layers"]["change_ns"] = layers.change_ns
        built["layers"]["unexplained_ns"] = layers.unexplained_ns
        for held, row in zip(built["layers"]["rows"], layers.rows, strict=True):
            held |= {"change_ns": row.change_ns, "status": row.status}
    return json_text(built)


def comparison_grids(comparison: Comparison, top: int = 15) -> list[Grid]:
    """The tables of a comparison: the headline, phases, the kinds of layers that changed most."""
    grids = [_headline_grid(comparison.metrics)] if comparison.metrics else []
    if comparison.layers is not None:
        layers = comparison.layers
        grids += [_phase_grid(layers), _layer_grid(layers, top, per_block=False)]
    return grids


def _unlike(comparison: Comparison) -> list[tuple[str, str]]:
    """One line a kind, the noted ones together."""
    found: dict[str, list[str]] = {}
    for item in comparison.differences:
        found.setdefault(_KINDS[item.kind], []).append(f"{item.name} {item.base} -> {item.other}")
    return [(kind, "; ".join(texts)) for kind, texts in found.items()]


def _limits(comparison: Comparison) -> list[str]:
    lines = [f"caution: {text}" for text in comparison.cautions]
    lines += [f"not judged: {_NAMES[m.metric]}: {m.absent}" for m in comparison.metrics if m.absent]
    judged = [item for item in comparison.metrics if item.interval is not None]
    if judged:
        share = 100 * CONFIDENCE
        lines.append(
            f"a difference is shown when its {share:.0f} % interval excludes 0 and it exceeds the "
            "noise floor; how each was judged:"
        )
        lines += [
            f"  {_NAMES[item.metric]}: {item.basis}" for item in comparison.metrics if item.basis
        ]
    return lines


def _headline_grid(metrics: Sequence[MetricChange]) -> Grid:
    return Grid(
        title="headline",
        header=("metric", "base", "other", "change", "noise floor", "verdict"),
        rows=tuple(
            (
                _NAMES[item.metric],
                _amount(item.base, item.unit),
                _amount(item.other, item.unit),
                _change(item),
                _floor(item),
                item.verdict,
            )
            for item in metrics
        ),
        text=frozenset({"verdict"}),
    )


def _change(item: MetricChange) -> str:
    if item.interval_form == "absolute":
        return "" if item.change is None else f"{item.change:+.4f}"
    return "" if item.relative is None else f"{100 * item.relative:+.1f} %"


def _floor(item: MetricChange) -> str:
    if item.noise_floor is None:
        return ""
    if item.interval_form == "absolute":
        return f"{item.noise_floor:.4f}"
    return f"{100 * item.noise_floor:.1f} %"


def _phase_grid(layers: LayerComparison) -> Grid:
    return Grid(
        title=f"{layers.measure} time by phase, ms",
        header=("phase", "base", "other", "change"),
        rows=tuple(
            (part.name, ms_three(part.base_ns), ms_three(part.other_ns), _ms(part.change_ns))
            for part in layers.phases
        ),
        footer=(
            "whole",
            ms_three(layers.base_whole_ns),
            ms_three(layers.other_whole_ns),
            _ms(layers.change_ns),
        ),
    )


def _layer_grid(layers: LayerComparison, top: int, *, per_block: bool) -> Grid:
    kinds = _kinds(layers.rows, per_block=per_block)
    shown, hidden = kinds[:top], kinds[top:]
    footer = None
    if hidden:
        more = f"{len(hidden):,} more row{'' if len(hidden) == 1 else 's'}"
        change = sum(_changes(members)[2] for members in hidden)
        footer = (more, "", "", "", "", _ms(change), "")
    blocks = "layer, each block" if per_block else "kind, equal blocks as one"
    return Grid(
        title=f"{layers.measure} self time by {blocks}, ms, largest change first",
        header=("layer", "phase", "module", "base", "other", "change", "status"),
        rows=tuple(_layer_row(members, per_block=per_block) for members in shown),
        footer=footer,
        text=frozenset({"phase", "module", "status"}),
        spare=("module", "status"),
    )


def _energy_grid(energy: Sequence[EnergyChange], top: int) -> Grid:
    hidden = energy[top:]
    more = f"{len(hidden):,} more unit{'' if len(hidden) == 1 else 's'}"
    return Grid(
        title="joules of replayed units, largest change above idle first",
        header=(
            *(
                "unit",
                "base above idle",
                "other",
                "change",
                "+-",
                "base at equal wall time",
                "other",
            ),
            "verdict",
        ),
        rows=tuple(
            (
                item.unit,
                f"{item.base_above_idle_j:.4f}",
                f"{item.other_above_idle_j:.4f}",
                f"{item.change_j:+.4f}",
                f"{item.half_j:.4f}",
                f"{item.base_equal_wall_j:.4f}",
                f"{item.other_equal_wall_j:.4f}",
                "differs" if item.told_apart else "cannot be told apart",
            )
            for item in energy[:top]
        ),
        footer=(more, *[""] * 7) if hidden else None,
        text=frozenset({"verdict"}),
    )


def _kinds(rows: Sequence[LayerChange], *, per_block: bool) -> list[list[LayerChange]]:
    """Rows by (kind, phase), largest change of their sums first; by name where it is equal."""
    held: dict[tuple[str, str], list[LayerChange]] = {}
    for row in rows:
        held.setdefault((row.layer if per_block else row.kind, row.phase), []).append(row)
    return sorted(held.values(), key=lambda m: (-abs(_changes(m)[2]), m[0].kind, m[0].phase))


def _changes(members: Sequence[LayerChange]) -> tuple[int | None, int | None, int]:
    """Base, other and change, summed; a side is None where it has none of these rows."""
    sides = []
    for side in ("base_ns", "other_ns"):
        known = [ns for row in members if (ns := getattr(row, side)) is not None]
        sides.append(sum(known) if known else None)
    return sides[0], sides[1], sum(row.change_ns for row in members)


def _layer_row(members: Sequence[LayerChange], *, per_block: bool) -> tuple[str, ...]:
    first = members[0]
    base, other, change = _changes(members)
    statuses = {row.status for row in members}
    classes = {row.module for row in members}
    return (
        first.layer if per_block else counted_name(first.kind, len(members)),
        first.phase,
        first.module if len(classes) == 1 else "",
        "" if base is None else ms_three(base),
        "" if other is None else ms_three(other),
        _ms(change),
        _status(members) if statuses != {"both"} else "",
    )


def _status(members: Sequence[LayerChange]) -> str:
    """`appeared` of a row, or of how many of a kind."""
    counts = Counter(row.status for row in members if row.status != "both")
    if len(members) == 1:
        return members[0].status
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def _layer_lines(layers: LayerComparison) -> list[str]:
    appeared = sum(row.status == "appeared" for row in layers.rows)
    vanished = sum(row.status == "vanished" for row in layers.rows)
    lines = []
    if layers.rows and layers.rows[0].change_ns:
        first = layers.rows[0]
        lines.append(
            f"largest change: {first.layer} ({first.phase}) {_us(first.change_ns)} us; "
            f"the whole changed by {_us(layers.change_ns)} us"
        )
    lines.append(
        f"{len(layers.rows):,} rows, {appeared} appeared, {vanished} vanished; sum of their changes "
        f"minus the change of the whole: {layers.unexplained_ns} ns"
    )
    return lines + [f"note: {note}" for note in layers.notes]


def _us(ns: int) -> str:
    return f"+{us_grouped(ns)}" if ns > 0 else us_grouped(ns)


def _ms(ns: int) -> str:
    return f"+{ms_three(ns)}" if ns > 0 else ms_three(ns)


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    number, prefix = prefixed(value) if unit.upper().startswith("FLOP") else (value, "")
    if prefix:
        return f"{number:.4f} {prefix}{unit}"
    return f"{value:.4g} {unit}".rstrip()


def _markdown(grid: Grid) -> str:
    left = [index == 0 or name in grid.text for index, name in enumerate(grid.header)]
    lines = [
        _line(grid.header),
        "|" + "|".join("---" if is_left else "---:" for is_left in left) + "|",
        *(_line([escape(cell) for cell in row]) for row in grid.rows),
    ]
    if grid.footer is not None:
        lines.append(_line([f"**{escape(cell)}**" if cell else "" for cell in grid.footer]))
    return f"**{escape(grid.title)}**\n\n" + "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
