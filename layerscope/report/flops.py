"""One batch's counted work and its cross-checks in, the screen of `layerscope flops` or its JSON out."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

from rich.console import Console

from layerscope.core.files import json_text
from layerscope.core.units import percent_fixed
from layerscope.records.cross_check import CrossChecked
from layerscope.records.work import Check, CountedWork, OperatorCount, PartWork
from layerscope.report.page import Grid, Page

# Of the JSON. 1 (2026-11): first version.
FLOPS_SCHEMA = 1
NOT_RUN = "-"
_STYLES = {"equal": "green", "differs": "bold red", "not run": "yellow"}


def render_flops(checked: CrossChecked, console: Console) -> None:
    """Print what ran, the checks side by side, the work by part, what is not counted, the verdict."""
    page = Page(console)
    for label, value in _what_ran(checked):
        page.field(label, value)
    page.grid(_check_grid(checked.checks))
    _remarks(page, checked.checks)
    page.grid(_part_grid(checked.work))
    _not_counted(page, checked.work)
    page.line()
    page.line(f"convention: {checked.work.flop_convention}; MACs are half the FLOPs")
    page.line(counts(checked.checks), style=_STYLES["differs" if checked.differing else "equal"])


def result_of(check: Check) -> str:
    """ "equal", "differs" or "not run"."""
    if not check.ran:
        return "not run"
    return "differs" if check.failed else "equal"


def counts(checks: tuple[Check, ...]) -> str:
    """How many checks are equal, differ or did not run."""
    found = Counter(map(result_of, checks))
    said = ", ".join(f"{found[result]} {result}" for result in _STYLES if found[result])
    return f"{len(checks)} checks: {said}"


def flops_json(checked: CrossChecked) -> str:
    """The same for programs. Keys are stable; null is a side that was not counted."""
    work, model, config = checked.work, checked.model, checked.config
    found: dict[str, Any] = {
        "schema_version": FLOPS_SCHEMA,
        "model": model.name,
        "weights": model.weights,
        "device": config.device,
        "dtype": config.dtype,
        "dtype_layout": config.dtype_layout,
        "attention": model.attention,
        "batch_size": len(checked.batch.sample_ids),
        "pixel_values_shape": checked.batch.pixel_values_shape,
        "new_tokens": checked.new_tokens,
        "decoder_steps": work.decoder_steps,
        "choices": checked.choices,
        "flop_convention": work.flop_convention,
        "flops": work.flops,
        "macs": work.macs,
        "missing": _operators(work.missing),
        "parts": [
            {"part": part, "phase": phase, "calls": calls, "flops": flops, "macs": _macs(flops)}
            for part, phase, calls, flops in _parts(work.parts)
        ],
        "checks": [
            {
                **dataclasses.asdict(check),
                "difference": check.difference,
                "result": result_of(check),
            }
            for check in checked.checks
        ],
        "uncounted": _operators(work.uncounted),
        "moved": _operators(work.moved),
        "views": work.views,
        "differing": [check.name for check in checked.differing],
    }
    return json_text(found)


def _what_ran(checked: CrossChecked) -> list[tuple[str, str]]:
    config, model, batch = checked.config, checked.model, checked.batch
    on = checked.environment.gpu_name if config.device == "cuda" else checked.environment.cpu_model
    shape = " x ".join(map(str, batch.pixel_values_shape))
    tokens = " ".join(map(str, sorted(set(checked.new_tokens))))
    return [
        *(("chosen", choice) for choice in checked.choices),
        ("model", f"{model.name} ({model.source}; {model.weights}): {model.params:,} parameters"),
        ("device", f"{config.device}: {on or 'name unknown'}; torch {checked.environment.torch}"),
        ("mode", f"eager; {config.dtype}; attention {config.attention}"),
        (
            "batch",
            f"{len(batch.sample_ids)} samples of {config.dataset}; pixel_values {shape}; text padded "
            f"to {batch.padded_text_length}, Q-Former's to {batch.padded_qformer_length} tokens",
        ),
        ("new tokens", f"{tokens} per sample; {checked.work.decoder_steps} decoder steps"),
    ]


def _check_grid(checks: tuple[Check, ...]) -> Grid:
    return Grid(
        title="the same work counted in other ways",
        header=("check", "numbers", "ours", "theirs", "difference", "result"),
        rows=tuple(
            (
                check.name,
                f"{check.compared:,}" if check.ran else NOT_RUN,
                _shown(check.ours),
                _shown(check.theirs),
                _shown(check.difference),
                result_of(check),
            )
            for check in checks
        ),
        text=frozenset({"result"}),
    )


def _remarks(page: Page, checks: tuple[Check, ...]) -> None:
    """Under the table, because a reason or a list of operators is wider than a column."""
    page.line()
    for check in checks:
        style = _STYLES[result_of(check)]
        if not check.ran:
            page.line(f"{check.name}: not run: {check.reason}", style=style)
        elif check.failed:
            page.line(f"{check.name}: differs by {check.difference:+,}", style=style)
        elif check.notes:
            page.line(f"{check.name}:")
        for line in check.unequal:
            page.line(f"  {line}", style=style)
        for line in check.notes:
            page.line(f"  {line}")


def _part_grid(work: CountedWork) -> Grid:
    rows = [
        (part, phase, f"{calls:,}", _shown(flops), _shown(_macs(flops)), _share(flops, work.flops))
        for part, phase, calls, flops in _parts(work.parts)
    ]
    whole = ("all", "", "", _shown(work.flops), _shown(work.macs), _share(work.flops, work.flops))
    return Grid(
        title="by part",
        header=("part", "phase", "calls", "FLOPs", "MACs", "share"),
        rows=tuple(rows),
        footer=whole,
        text=frozenset({"phase"}),
    )


def _parts(parts: tuple[PartWork, ...]) -> list[tuple[str, str, int, int | None]]:
    """(part, phase, decoder steps or 1, FLOPs) in the order they ran; a part without FLOPs is left
    out, one whose products are missing is blank."""
    flops: dict[tuple[str, str], int | None] = {}
    calls: Counter[tuple[str, str]] = Counter()
    for part in parts:
        before = flops.get((part.part, part.phase), 0)
        here = part.flops
        flops[part.part, part.phase] = None if before is None or here is None else before + here
        calls[part.part, part.phase] += 1
    return [(*key, calls[key], count) for key, count in flops.items() if count != 0]


def _macs(flops: int | None) -> int | None:
    return None if flops is None else flops // 2


def _not_counted(page: Page, work: CountedWork) -> None:
    if work.missing:
        page.line()
        page.line(work.missing_text, style=_STYLES["differs"])
    if work.uncounted:
        page.grid(
            Grid(
                title="operators that compute and hold no products: in no sum above",
                header=("operator", "calls"),
                rows=tuple((item.operator, f"{item.calls:,}") for item in work.uncounted),
            )
        )
    moved = sum(item.calls for item in work.moved)
    page.line()
    page.line(
        f"{moved:,} calls of {len(work.moved)} operators only copied, gathered or filled; "
        f"{work.views:,} calls moved nothing (views, shapes, allocations)"
    )


def _operators(found: tuple[OperatorCount, ...]) -> list[dict[str, Any]]:
    return [{"operator": item.operator, "calls": item.calls} for item in found]


def _share(part: int | None, whole: int | None) -> str:
    return percent_fixed(part, whole) if whole and part is not None else NOT_RUN


def _shown(value: int | None) -> str:
    return NOT_RUN if value is None else f"{value:,}"
