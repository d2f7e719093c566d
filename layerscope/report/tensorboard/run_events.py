"""A run's record and its account in, a TensorBoard event file in the run's folder out.

Tags: `e2e/…` for what was measured end to end, `gpu_ms/…` (or `cpu_ms/…` without a device) for the
self time of each phase, group and non-empty bucket, `power_w/…`, the text `layers`, the pictures
`figures/…`, and the configuration for HPARAMS. What was not measured has no tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from layerscope.core.files import FIGURES_FOLDER, LAYERS_FILE
from layerscope.core.folder_file import read_file
from layerscope.records.energy_record import PowerSample
from layerscope.records.layer_table import LayerTable
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import Account
from layerscope.report.accounting_line import accounting_line
from layerscope.report.markdown import escape, group_markdown, phase_markdown, top_markdown
from layerscope.report.quantities import per_batch, per_sample
from layerscope.report.sums import Part, by_group, by_phase
from layerscope.report.tensorboard.event_file import Entry, Image, Scalar, Text, write_event_file
from layerscope.report.tensorboard.hparams import run_columns, session

LAYERS_TAG = "layers"
TOP_LAYERS = 50


def write_events(
    folder: Path,
    record: RunRecord,
    account: Account | None,
    power: Sequence[PowerSample] = (),
    *,
    step: int = 0,
    in_sweep: bool = False,
) -> Path:
    """Write one event file into `folder` and return its path.

    Args:
        power: becomes `power_w/<n>`, a device each, over milliseconds since its first sample.
        step: of every other scalar: a sweep's numeric axis, so that cells stand along it.
        in_sweep: the sweep's own event file says which columns HPARAMS shows.

    Raises:
        EnvironmentProblem: tensorboard is not installed, or the file cannot be written.
    """
    entries: list[Entry] = [*session(record.name, record.config, record.created_utc)]
    if not in_sweep and record.config is not None:
        entries.append(run_columns(record.config))
    entries += [Scalar(tag, value, step) for tag, value in scalars(record, account)]
    if account is not None:
        text = layers_text(account.table, record.files.get("layers", LAYERS_FILE))
        entries.append(Text(LAYERS_TAG, text, step))
    entries += pictures(folder, step)
    entries += power_line(power)
    return write_event_file(folder, entries)


def pictures(folder: Path, step: int = 0) -> Iterator[Image]:
    """The figures that lie in a folder's `figures/`, by their names."""
    for path in sorted((folder / FIGURES_FOLDER).glob("*.png")):
        yield Image(f"{FIGURES_FOLDER}/{path.stem}", read_file(path), step)


def power_line(power: Sequence[PowerSample]) -> Iterator[Scalar]:
    """Power over time: a point a sample, at whole milliseconds since the first."""
    origin = min((sample.time_ns for sample in power), default=0)
    devices = list(dict.fromkeys(sample.device for sample in power))
    for sample in power:
        since = sample.time_ns - origin
        tag = f"power_w/{devices.index(sample.device)}"
        yield Scalar(tag, sample.power_w, since // 1_000_000, since / 1e9)


def scalars(record: RunRecord, account: Account | None) -> Iterator[tuple[str, float]]:
    """(tag, value) of every scalar that was measured. FLOPs are of one batch."""
    report, batch = record.report, record.batch_size
    latency, flops = report.latency.value, per_batch(report.flops, batch)
    found = {
        "e2e/wer_value": report.wer_value.value,
        "e2e/latency_s": latency,
        "e2e/energy_j_per_sample": per_sample(report.energy, batch),
        "e2e/flops": report.flops.value if flops is None else flops,
    }
    yield from ((tag, value) for tag, value in found.items() if value is not None)
    if account is not None:
        yield from _part_scalars(account.table)


def _part_scalars(table: LayerTable) -> Iterator[tuple[str, float]]:
    device = table.whole.device_sum_ns is not None
    prefix = "gpu_ms" if device else "cpu_ms"

    def self_ns(part: Part) -> int | None:
        return part.gpu_self_ns if device else part.cpu_self_ns

    phases: dict[str, int] = {}
    for part in by_phase(table):
        ns = self_ns(part)
        if ns is not None:
            name = part.name.strip("()").replace(" ", "_")
            phases[name] = ns
            yield f"{prefix}/{name}", ns / 1e6
    for part in by_group(table):
        ns = self_ns(part)
        if ns is None or part.is_bucket:
            continue
        # A phase and a group may share a name ("projection", "other"): one tag, one meaning.
        if part.name not in phases:
            yield f"{prefix}/{part.name}", ns / 1e6
        elif phases[part.name] != ns:
            yield f"{prefix}/group.{part.name}", ns / 1e6


def layers_text(table: LayerTable, csv_name: str) -> str:
    """The account as Markdown: its proof, the tables by phase and group, the top layers."""
    top = min(TOP_LAYERS, len(table.rows))
    return "\n".join(
        (
            escape(accounting_line(table)) + "\n",
            phase_markdown(table),
            group_markdown(table),
            f"Layers with the most self time; all {len(table.rows):,} rows are in "
            f"{escape(csv_name)} in this run's folder.\n",
            top_markdown(table, top),
        )
    )
