"""A trace's columns in, its whole account out: the layer table, kernels, operators and steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from layerscope.account.attention_backends import attention_backends
from layerscope.account.attribution_notes import attribution_notes
from layerscope.account.capture_faults import faults_of
from layerscope.account.devices import device_rows, rank_of
from layerscope.account.heavy_count import heavy_count
from layerscope.account.host_time import thread_windows
from layerscope.account.intervals import union_ns
from layerscope.account.layers import build_rows
from layerscope.account.rest_notes import rest_notes
from layerscope.account.side_tables import kernel_rows, operator_rows, step_rows
from layerscope.account.structure import counted_calls, expected_calls
from layerscope.account.tally import tally_of
from layerscope.account.workings import Workings, work_out
from layerscope.core.folder_file import named_file
from layerscope.core.roles import Roles
from layerscope.records import LayerRow, LayerTable, ModuleRecord, Whole
from layerscope.records.captured import captured_in
from layerscope.records.heavy import HeavyCount, differences
from layerscope.records.provenance import Provenance
from layerscope.records.tables import Account
from layerscope.trace.columns import TraceColumns, read_trace
from layerscope.trace.layer_source import find_layers, our_layers

__all__ = [
    "Workings",
    "account",
    "account_of",
    "with_heavy_count",
    "work_out",
    "work_out_known",
]


def account_of(
    path: Path,
    modules: Sequence[ModuleRecord] = (),
    steps: int | None = None,
    provenance: Provenance | None = None,
    eager: HeavyCount | None = None,
) -> Account:
    """Read a trace file and account for it, by the best layers it has; see `account`.

    Args:
        eager: heavy operators of the same calls run eagerly: compiled code must have them, too.
    """
    workings = work_out_known(read_trace(named_file(path)), modules, provenance)
    found = account(workings, source=str(path), modules=modules, steps=steps)
    return with_heavy_count(found, workings, eager)


def with_heavy_count(
    found: Account, workings: Workings, eager: HeavyCount | None = None
) -> Account:
    """The same account with its heavy operators counted, and compared with the eager ones if given."""
    found = replace(found, heavy=heavy_count(workings))
    if workings.compiled is None or found.heavy is None:
        return found
    table = found.table
    if eager is None:
        table = replace(table, notes=(*table.notes, _NO_EAGER_COUNT))
    else:
        table = replace(table, misplaced=tuple(differences(eager.known, found.heavy)))
    return replace(found, table=table)


_NO_EAGER_COUNT = (
    "compiled code: no eager count stands beside it; each graph's heavy operators were compared with "
    "those that were traced for it"
)


def work_out_known(
    columns: TraceColumns,
    modules: Sequence[ModuleRecord] = (),
    provenance: Provenance | None = None,
    roles: Roles | None = None,
) -> Workings:
    """Work out a trace with what stands beside it, or else in it, where a capture wrote it."""
    captured = captured_in(columns.metadata)
    if captured is not None:
        modules, provenance = modules or captured.modules, provenance or captured.provenance
        roles = roles or captured.roles
    return work_out(
        columns,
        # A run's own trace has layerscope's ranges, or no layers at all.
        our_layers(columns) if modules else find_layers(columns),
        provenance=provenance,
        fqns={module.fqn for module in modules},
        roles=roles,
    )


def account(
    workings: Workings,
    *,
    source: str,
    modules: Sequence[ModuleRecord] = (),
    steps: int | None = None,
    compiled: Sequence[str] = (),
    counted: Mapping[str, int] | None = None,
) -> Account:
    """Account for a trace.

    Args:
        workings: the trace, worked out.
        source: where it came from, for the tables' heading.
        modules: the model's modules, if known: class names, groups and parameters come from here.
            A capture's trace holds its own.
        steps: decoder steps counted outside the trace, for rule 4; None leaves that rule out.
        compiled: FQNs of the parts that ran compiled; a part is one row, without layers inside.
        counted: calls by FQN that hooks counted in one batch, for rule 4 of a model whose structure
            no file describes.

    Returns:
        The account. It is not checked here: `account.table.check()` does.
    """
    columns, ranges = workings.columns, workings.ranges
    captured = captured_in(columns.metadata)
    if captured is not None:
        modules = modules or captured.modules
        steps = captured.steps if steps is None else steps
    expected, notes = _expected(workings, modules, steps, compiled, counted or {})
    rows = build_rows(tally_of(workings), ranges, modules, has_device=workings.has_device)
    table = LayerTable(
        rows=rows,
        root=ranges.root,
        whole=_whole(workings),
        expected_calls=expected,
        notes=(*notes, *attribution_notes(workings), *_rest(rows, workings, modules)),
        warnings=(*_warnings(workings), *(captured.warnings if captured is not None else ())),
        faults=faults_of(workings, captured),
    )
    kernels, operators = kernel_rows(workings), operator_rows(workings)
    return Account(
        table=table,
        kernels=kernels,
        operators=operators,
        attention=attention_backends(operators, kernels),
        steps=step_rows(workings),
        source=source,
        devices=device_rows(columns, workings.links, workings.keys),
        layer_source=workings.source,
        rank=rank_of(columns.metadata),
    )


def _rest(
    rows: tuple[LayerRow, ...], workings: Workings, modules: Sequence[ModuleRecord]
) -> Iterator[str]:
    """What is in `other`; of layers that are no modules of a known model nothing is."""
    if modules or (workings.source == "ranges" and workings.ranges.known):
        yield from rest_notes(
            rows,
            workings.ranges.root,
            has_device=workings.has_device,
            roles_known=workings.ranges.known,
        )


def _whole(workings: Workings) -> Whole:
    columns, tree = workings.columns, workings.tree
    device, has_device = columns.device, workings.has_device
    edges = workings.edges
    starts = np.concatenate([device.start_ns, columns.spans.start_ns[edges]])
    ends = np.concatenate([device.start_ns + device.dur_ns, tree.end_ns[edges]])
    threads = thread_windows(workings)
    return Whole(
        device_events=len(device.name),
        device_sum_ns=int(device.dur_ns.sum()) if has_device else None,
        device_active_ns=_active_ns(columns) if has_device else None,
        window_span_ns=int(ends.max() - starts.min()) if len(starts) else None,
        host_window_ns=sum(t.window_ns for t in threads) if edges else None,
        host_threads=threads,
    )


def _active_ns(columns: TraceColumns) -> int:
    """Union of the device intervals, per device, added up over the devices."""
    device = columns.device
    total = 0
    for current in np.unique(device.device):
        mine = device.device == current
        total += union_ns(device.start_ns[mine], device.start_ns[mine] + device.dur_ns[mine])
    return total


def _expected(
    workings: Workings,
    modules: Sequence[ModuleRecord],
    steps: int | None,
    compiled: Sequence[str],
    counted: Mapping[str, int],
) -> tuple[dict[str, int] | None, tuple[str, ...]]:
    if not modules:
        return None, ("rule 4 (calls) not applicable: no list of modules stands beside the trace",)
    batches = sum(item.layer == workings.ranges.root for item in workings.roots)
    expected = expected_calls(modules, steps or 0, batches, compiled)
    if expected is None:
        expected = counted_calls(modules, counted, batches, compiled, workings.ranges.root)
        if expected is None:
            return None, ("rule 4 (calls) not applicable: this model's structure is not described",)
    elif steps is None:
        return None, ("rule 4 (calls) not applicable: no decoder steps counted outside the trace",)
    if compiled:
        alone = "" if workings.compiled is not None else ", each one row"
        return expected, (
            f"compiled regions{alone}: {', '.join(compiled)}; rule 4 (calls) is judged for these and "
            "for layers outside them",
        )
    return expected, ()


def _warnings(workings: Workings) -> tuple[str, ...]:
    columns, tree, links = workings.columns, workings.tree, workings.links
    found = list(columns.warnings)
    if tree.clamped:
        found.append(f"{tree.clamped} host spans ended after the span they began in; clamped to it")
    if links.ambiguous:
        found.append(
            f"{links.ambiguous} device events share a correlation id between processes; "
            "matched by External id and time"
        )
    if not workings.ranges.items and workings.has_device:
        found.append("no layer ranges in this trace: all device time lies outside the model")
    threads = {int(columns.spans.thread[r.span]) for r in workings.roots}
    if len(threads) > len(workings.host_threads):
        found.append(
            f"layers ran on {len(threads)} threads; host time is that of the calling thread alone"
        )
    if len(columns.launches.name) and not workings.has_device:
        found.append(
            f"{len(columns.launches.name)} launches but no device events: CUPTI recorded none, "
            "so device times are absent; `layerscope doctor` tests CUPTI"
        )
    if len(np.unique(columns.device.device)) > 1:
        found.append("several devices: active time is the sum over the devices")
    return tuple(found)
