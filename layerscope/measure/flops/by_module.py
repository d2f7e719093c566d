"""`layerscope.count_flops`: a model and the arguments of one call in, its FLOPs by module out."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import UsageError
from layerscope.core.vocabulary import ROOT_FORWARD
from layerscope.measure.flops.counter import count_work
from layerscope.records.flop_table import FlopRow, FlopTable
from layerscope.records.work import CountedWork

if TYPE_CHECKING:
    import torch


def count_flops(model: torch.nn.Module, *args: Any, **kwargs: Any) -> FlopTable:
    """Call `model(*args, **kwargs)` once and count the FLOPs of what it executes, by module.

    The call runs as it would otherwise: on the model's device, in the caller's gradient mode, but
    eagerly where the model is compiled. 2 FLOP per multiply-accumulate. A module that runs an
    operator without a formula which may hold products has no FLOPs, nor have the modules above it
    and the total; the table names the operator. Register a formula for it with
    `torch.utils.flop_counter.register_flop_formula`.

    Example:
        >>> table = layerscope.count_flops(model, inputs)
        >>> table.total, table["encoder.layers.0"].flops_total

    Args:
        model: any module, on any device. It is left as it was.
        args, kwargs: given to the model.

    Returns:
        One row for each module.

    Raises:
        UsageError: `model` is no module.
        Whatever the model raises.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"count_flops: {type(model).__name__} is not a torch.nn.Module; give the module first, "
            "then the arguments of its call."
        )
    work = count_work(model, lambda: model(*args, **kwargs), root=ROOT_FORWARD)
    return _table(model, work)


def _table(model: torch.nn.Module, work: CountedWork) -> FlopTable:
    own: dict[str, Counter[str]] = defaultdict(Counter)
    calls: Counter[str] = Counter()
    missing: dict[str, set[str]] = defaultdict(set)
    phases: Counter[str] = Counter()
    for row in work.rows:  # a layer may have a row for each phase
        phases[row.phase] += row.counted_flops
        layer = "" if row.layer == work.root else row.layer
        own[layer].update(row.flops_by_dtype)
        calls[layer] += row.calls
        missing[layer].update(row.missing)
    below: Counter[str] = Counter()
    unknown: set[str] = set()
    for layer, flops in own.items():
        for above in _chain(layer):
            below[above] += flops.total()
            unknown |= {above} if missing[layer] else set()
    rows = tuple(
        FlopRow(
            layer=fqn or work.root,
            module=type(module).__name__,
            calls=calls[fqn],
            flops_self=None if missing[fqn] else own[fqn].total(),
            flops_total=None if fqn in unknown else below[fqn],
            flops_by_dtype=dict(own[fqn]),
            missing=tuple(sorted(missing[fqn])),
        )
        for fqn, module in model.named_modules()
    )
    return FlopTable(
        rows=rows,
        total=work.flops,
        counted=work.counted_flops or 0,
        missing=work.missing,
        uncounted=work.uncounted,
        by_phase=dict(phases),
    )


def _chain(layer: str) -> list[str]:
    """A layer and those above it; "" is the model."""
    names = layer.split(".") if layer else []
    return [".".join(names[:depth]) for depth in range(len(names), -1, -1)]
