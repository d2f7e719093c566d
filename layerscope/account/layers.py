"""Counts by (layer, phase) in, the rows of the layer table out: tree order, totals, buckets last."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from layerscope.account.phases import Ranges
from layerscope.core.families import roles_of_any_name
from layerscope.core.groups import module_group
from layerscope.core.kinds import Layer, kinds_of
from layerscope.core.roles import Roles
from layerscope.core.vocabulary import BUCKETS, PHASES, layer_name
from layerscope.records import LayerRow, ModuleRecord, parent_of
from layerscope.records.layer_table import params_once

if TYPE_CHECKING:
    from layerscope.account.tally import Tally

Key = tuple[str, str]
_WAYS = ("range", "exact", "fused", "graph", "graph~", "unknown")


def build_rows(
    tally: Tally, ranges: Ranges, modules: Sequence[ModuleRecord], *, has_device: bool
) -> tuple[LayerRow, ...]:
    """One row per (layer, phase), every layer above a called one included, then the buckets."""
    root = ranges.root
    keys = set(tally.calls) | {key for key in tally.gpu_ns if key[0] not in BUCKETS}
    phases = {phase for _, phase in keys} | {ranges.resting_phase}
    layers = _in_tree_order(tuple(tally.layers), root)
    keys |= {(root, phase) for phase in phases} if layers else set()
    keys |= {(above, phase) for layer, phase in keys for above in _ancestors(layer, root)}
    totals = _Totals(_totals(tally.gpu_ns, keys, root), _totals(tally.cpu_ns, keys, root))
    known = _known(modules, layers, ranges)
    ran = sorted(phases, key=_rank)
    rows = [(layer, phase) for layer in layers for phase in ran if (layer, phase) in keys]
    return (
        *params_once(
            _layer_row(key, root, tally, known, totals, has_device=has_device) for key in rows
        ),
        *_bucket_rows(tally, has_device=has_device),
    )


class _Known(NamedTuple):
    """What is known of a model's layers beside their time."""

    modules: Mapping[str, ModuleRecord]
    roles: Roles
    kinds: Mapping[str, str]

    def group(self, layer: str) -> str:
        module = self.modules.get(layer)
        if module is not None:
            return module.group
        return module_group(layer, "", self.roles or roles_of_any_name())


def _known(modules: Sequence[ModuleRecord], layers: Iterable[str], ranges: Ranges) -> _Known:
    named = {layer_name(module.fqn) or ranges.root: module for module in modules}
    unlisted = (Layer(layer) for layer in layers if layer not in named)
    kinds = kinds_of(
        (*(Layer(name, module.cls, module.alike) for name, module in named.items()), *unlisted)
    )
    return _Known(named, ranges.roles, kinds)


class _Totals(NamedTuple):
    gpu_ns: Mapping[Key, int]
    cpu_ns: Mapping[Key, int]


def _layer_row(
    key: Key,
    root: str,
    tally: Tally,
    known: _Known,
    totals: _Totals,
    *,
    has_device: bool,
) -> LayerRow:
    layer, phase = key
    module = known.modules.get(layer)
    return LayerRow(
        phase=phase,
        layer=layer,
        module=module.cls if module else "",
        group=known.group(layer),
        depth=0 if layer == root else layer.count(".") + 1,
        calls=tally.calls[key],
        kernels=tally.kernels[key],
        gpu_self_ns=tally.gpu_ns[key] if has_device else None,
        gpu_total_ns=totals.gpu_ns[key] if has_device else None,
        cpu_self_ns=tally.cpu_ns[key],
        cpu_total_ns=totals.cpu_ns[key],
        params=module.params if module else None,
        dtype=module.dtype if module else None,
        op_self_ns=tally.operator_ns[key],
        attribution=_attribution(tally.how.get(key, ())),
        modelled_ns=tally.modelled_ns[key] if tally.how else None,
        layer_kind=known.kinds[layer],
    )


def _attribution(how: Iterable[str]) -> str | None:
    """Every way once, in one order whatever ran first; None without any."""
    ways = {way for ways in how for way in ways.split("+")}
    return "+".join(way for way in _WAYS if way in ways) or None


def _bucket_rows(tally: Tally, *, has_device: bool) -> list[LayerRow]:
    keys = {key for key in (*tally.gpu_ns, *tally.cpu_ns) if key[0] in BUCKETS}
    return [
        LayerRow(
            phase=phase,
            layer=name,
            module="",
            group="other",
            depth=0,
            calls=0,
            kernels=tally.kernels[name, phase],
            gpu_self_ns=tally.gpu_ns[name, phase] if has_device else None,
            gpu_total_ns=tally.gpu_ns[name, phase] if has_device else None,
            cpu_self_ns=tally.cpu_ns[name, phase],
            cpu_total_ns=tally.cpu_ns[name, phase],
            params=None,
            layer_kind=name,
        )
        for name, phase in sorted(keys, key=lambda key: BUCKETS.index(key[0]))
    ]


def _ancestors(layer: str, root: str) -> list[str]:
    found = []
    while layer != root:
        layer = parent_of(layer, root)
        found.append(layer)
    return found


def _totals(own: Counter[Key], keys: set[Key], root: str) -> dict[Key, int]:
    """Self plus everything below in the FQN tree, within one phase."""
    totals: dict[Key, int] = defaultdict(int)
    for layer, phase in keys:
        value = own[layer, phase]
        for name in (layer, *_ancestors(layer, root)):
            totals[name, phase] += value
    return totals


def _in_tree_order(called: Sequence[str], root: str) -> list[str]:
    """Layers depth first, siblings in the order in which they or something below first ran."""
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for layer in dict.fromkeys(called):
        while layer != root:
            above = parent_of(layer, root)
            children[above].setdefault(layer)
            layer = above
    if not called:
        return []
    ordered, pending = [], [root]
    while pending:
        layer = pending.pop()
        ordered.append(layer)
        pending.extend(reversed(children[layer]))
    return ordered


def _rank(phase: str) -> tuple[int, str]:
    return (PHASES.index(phase) if phase in PHASES else len(PHASES), phase)
