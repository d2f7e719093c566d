"""A run's record and its account in, the machine-readable summary of `--json` out.

Keys are stable: new ones may come, none changes its meaning. null is a value not measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from layerscope.core.files import json_text
from layerscope.core.microseconds import us_number
from layerscope.records.layer_table import LayerRow, LayerTable
from layerscope.records.run_record import Reported, RunRecord
from layerscope.records.tables import Account
from layerscope.records.work import CountedWork
from layerscope.report.accounting_line import accounting_line
from layerscope.report.beside_batch import beside_json
from layerscope.report.columns import share_of
from layerscope.report.kinds import kinds_in
from layerscope.report.selection import self_column, sorted_kinds, sorted_rows
from layerscope.report.sums import Part, by_group, by_phase
from layerscope.report.timings import timings_json
from layerscope.report.what_ran import batch_shown
from layerscope.stats.beside_batch import beside_batch

if TYPE_CHECKING:
    from layerscope.joules.layer_energy import LayerEnergy

SUMMARY_VERSION = 1
TOP_LAYERS = 15


def summary_json(
    record: RunRecord | None,
    account: Account | None,
    *,
    folder: Path | None = None,
    layer_energy: LayerEnergy | None = None,
    work: CountedWork | None = None,
) -> str:
    """The summary as indented JSON text. `record` is None for a trace that has no run.json."""
    held = summary(record, account, folder, layer_energy, work)
    return json_text(held)


def summary(
    record: RunRecord | None,
    account: Account | None,
    folder: Path | None = None,
    layer_energy: LayerEnergy | None = None,
    work: CountedWork | None = None,
) -> dict[str, Any]:
    """The summary as plain dictionaries: `run`, `report`, `account`, `use`, `beside_batch`, `timings`,
    `folder` and `warnings`.

    `layer_energy` is null where no layers were replayed, `use` without an account, counted work or
    ceilings.
    """
    warnings = (*(record.warnings if record else ()), *(account.table.warnings if account else ()))
    return {
        "summary_version": SUMMARY_VERSION,
        "folder": None if folder is None else str(folder),
        "run": None if record is None else _run(record),
        "report": None if record is None else _report(record),
        "account": None if account is None else _account(account),
        "layer_energy": None if layer_energy is None else _energy(layer_energy),
        "use": _use(record, account, work),
        "beside_batch": [] if record is None else beside_json(beside_batch(record)),
        "timings": [] if record is None else timings_json(record),
        "warnings": list(dict.fromkeys(warnings)),
    }


def _use(
    record: RunRecord | None, account: Account | None, work: CountedWork | None
) -> dict[str, Any] | None:
    from layerscope.report.use import use_json, use_of

    if record is None or account is None or work is None:
        return None
    use = use_of(account, work, record)
    return None if use is None else use_json(use, record)


def _energy(found: LayerEnergy) -> dict[str, Any]:
    from layerscope.joules.energy_by_kind import by_kind

    whole = found.end_to_end
    return {
        "reason": found.reason,
        "raw_j": None if whole is None else found.raw_j,
        "end_to_end_j": None if whole is None else whole.whole_nj / 1e9,
        "factor": None if whole is None else found.factor,
        "kinds": [msgspec.to_builtins(kind) for kind in by_kind(found)],
        "parts": [
            msgspec.to_builtins(part) | {"ratio": part.ratio, "raw_ratio": part.raw_ratio}
            for part in found.parts
        ],
        "notes": list(found.notes),
    }


def _run(record: RunRecord) -> dict[str, Any]:
    batch, trace, workload = batch_shown(record), record.trace, record.workload
    slowdown = None
    if trace is not None and trace.unprofiled_ns:
        slowdown = trace.profiled_ns / trace.unprofiled_ns
    return {
        "name": record.name,
        "created_utc": record.created_utc,
        "layerscope": record.environment.layerscope,
        "model": record.model.name,
        "weights": record.model.weights,
        "trained": record.model.trained,
        "params": record.model.params,
        "dtypes": record.model.dtypes,
        "device": record.how.device,
        "device_name": record.environment.gpu_name or record.environment.cpu_model,
        "dataset": None if workload is None else workload.dataset,
        "synthetic": None if workload is None else workload.synthetic,
        "batch_size": record.batch_size,
        "pixel_values_shape": None if batch is None else list(batch.pixel_values_shape),
        "text_lengths": None if batch is None else list(batch.text_lengths),
        "new_tokens": None if trace is None else list(trace.new_tokens),
        "profiled_slowdown": slowdown,
        "files": record.files,
    }


def _report(record: RunRecord) -> dict[str, Any]:
    report = record.report
    return {
        "wer_value": _reported(report.wer_value),
        "latency": _reported(report.latency),
        "energy": _reported(report.energy),
        "flops": _reported(report.flops),
    }


def _reported(reported: Reported) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(reported)
    return built


def _account(account: Account) -> dict[str, Any]:
    table = account.table
    whole, failures = table.whole, table.failures()
    rows = [row for row in table.rows if not row.is_bucket]
    return {
        "status": "failed" if failures else "ok",
        "failures": list(failures),
        "line": accounting_line(table),
        "source": account.source,
        "root": table.root,
        "device_events": whole.device_events,
        "device_sum_us": _us(whole.device_sum_ns),
        "device_active_us": _us(whole.device_active_ns),
        "window_span_us": _us(whole.window_span_ns),
        "host_window_us": _us(whole.host_window_ns),
        "device_difference_ns": table.device_difference_ns,
        "host_difference_ns": table.host_difference_ns,
        "phases": [_part(part) for part in by_phase(table)],
        "groups": [_part(part) for part in by_group(table)],
        "top_layers": [
            _layer(row, table) for row in sorted_rows(rows, table, self_column(table))[:TOP_LAYERS]
        ],
        "top_kinds": [
            _layer(kind.row, table) | {"layers": len(kind.members)}
            for kind in sorted_kinds(kinds_in(rows), table, self_column(table))[:TOP_LAYERS]
        ],
        "notes": list(table.notes),
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "is_bucket": part.is_bucket,
        "kernels": None if part.gpu_self_ns is None else part.kernels,
        "gpu_self_us": _us(part.gpu_self_ns),
        "gpu_share": part.gpu_share,
        "cpu_self_us": _us(part.cpu_self_ns),
        "cpu_share": part.cpu_share,
        "flops_self": part.flops_self,
    }


def _layer(row: LayerRow, table: LayerTable) -> dict[str, Any]:
    return {
        "layer": row.layer,
        "phase": row.phase,
        "group": row.group,
        "calls": row.calls,
        "gpu_self_us": _us(row.gpu_self_ns),
        "gpu_share": share_of(row.gpu_self_ns, table.whole.device_sum_ns),
        "cpu_self_us": _us(row.cpu_self_ns),
    }


def _us(ns: int | None) -> float | None:
    return None if ns is None else us_number(ns)
