"""A run's record and its account in, a TensorBoard event file in the run's folder out.

Tags: `e2e/…` for what was measured end to end, `gpu_ms/…` (or `cpu_ms/…` without a device) for the
self time of each phase, group and non-empty bucket, and the text `layers`. What was not measured
has no tag.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from layerscope.errors import EnvironmentProblem
from layerscope.records.energy_record import PowerSample
from layerscope.records.layer_table import LayerTable
from layerscope.records.run_record import RunRecord
from layerscope.records.tables import Account
from layerscope.report.accounting_line import accounting_line
from layerscope.report.markdown import escape, group_markdown, phase_markdown, top_markdown
from layerscope.report.quantities import per_batch, per_sample
from layerscope.report.sums import Part, by_group, by_phase

LAYERS_TAG = "layers"
TOP_LAYERS = 50


def write_events(
    folder: Path,
    record: RunRecord,
    account: Account | None,
    power: Sequence[PowerSample] = (),
) -> Path:
    """Write one event file into `folder` and return its path.

    `power` becomes `power_w/<n>`, a device each, over milliseconds since its first sample.

    The file's name and content hold no host name, so that a run folder can be published.

    Raises:
        EnvironmentProblem: tensorboard is not installed, or the file cannot be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise EnvironmentProblem(
            f"{folder}: writing TensorBoard events needs the package tensorboard; "
            "pip install tensorboard."
        ) from None
    now = time.time()
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record, account)]
    if account is not None:
        text = layers_text(account.table, record.files.get("layers", "layers.csv"))
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        values.append(Summary.Value(tag=LAYERS_TAG, metadata=metadata, tensor=tensor))
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events += [Event(wall_time=now, step=0, summary=Summary(value=[value])) for value in values]
    origin = min((sample.time_ns for sample in power), default=0)
    devices = list(dict.fromkeys(sample.device for sample in power))
    events += [
        Event(
            wall_time=now + (sample.time_ns - origin) / 1e9,
            step=(sample.time_ns - origin) // 1_000_000,
            summary=Summary(
                value=[
                    Summary.Value(
                        tag=f"power_w/{devices.index(sample.device)}", simple_value=sample.power_w
                    )
                ]
            ),
        )
        for sample in power
    ]
    path = folder / f"events.out.tfevents.{int(now)}.layerscope"
    try:
        with path.open("wb") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot write the events ({error.strerror}).") from None
    return path


def scalars(record: RunRecord, account: Account | None) -> Iterator[tuple[str, float]]:
    """(tag, value) of every scalar that was measured. FLOPs are of one batch."""
    report, batch = record.report, record.config.batch_size
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
