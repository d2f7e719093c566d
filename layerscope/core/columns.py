"""The columns of the layer table: each field of a row says what its column holds and how it is measured.

Files, sums over ranks, pages, the tab, `--sort` and docs/concepts.md follow from what stands here; what
computes a value is all that a new column needs besides.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from layerscope.core.vocabulary import BUCKETS

Kind = Literal["text", "integer", "time", "mebibytes", "real", "share"]
OverRanks = Literal["sum", "same", "absent"]
Value = str | int | float | None
_KEY = "column"


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: in files; the unit is part of it.
        kind: `time` fields are nanoseconds, written as microseconds; `mebibytes` fields are bytes.
        field: of `LayerRow`; empty for a share, which is derived.
        label: what a page calls it.
        unit: what a page puts behind a number; empty where the kind says it.
        means: what it says, in Markdown.
        measured: how, in Markdown.
        required: a file without it is no layer table.
        adds: whether the values of all rows sum to a whole. Totals do not: they lie inside one another.
        over_ranks: what the row of all ranks holds: their sum, what they agree in, or nothing.
        digits: significant digits that the value deserves; None: all.
        follows: from other columns of the same row, so that a page need not carry it.
    """

    name: str
    kind: Kind
    field: str
    label: str
    means: str
    measured: str
    unit: str = ""
    required: bool = False
    adds: bool = False
    over_ranks: OverRanks = "absent"
    digits: int | None = None
    follows: bool = False

    @property
    def is_total(self) -> bool:
        """Whether it holds the layers below, too."""
        return "_total" in self.name


def _column(name: str, kind: Kind, label: str, **said: Any) -> dict[str, Any]:
    """The metadata of a field. What adds up sums over ranks, text is what they agree in."""
    if "over_ranks" not in said:
        agreed = "same" if kind == "text" else "absent"
        said["over_ranks"] = "sum" if said.get("adds") else agreed
    return {_KEY: {"name": name, "kind": kind, "label": label, **said}}


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRow:
    """One (layer, phase), its fields in the order of the columns. `None` means not measured.

    Times are nanoseconds. `self` is the layer without the layers below it, `total` with them; both in
    this phase only.
    """

    phase: str = field(
        metadata=_column(
            *("phase", "text", "Phase"),
            required=True,
            means="phase of the row",
            measured="the model's part and decoder step when the range was open",
        )
    )
    # FQN; the root is "generate" or "forward"; a bucket is "(in parentheses)"
    layer: str = field(
        metadata=_column(
            *("layer", "text", "Layer"),
            required=True,
            means="FQN, root or bucket",
            measured="the range's name",
        )
    )
    # "" for a bucket
    module: str = field(
        metadata=_column(
            *("module", "text", "Class"),
            required=True,
            means="class of the module",
            measured="`type(module).__name__`",
        )
    )
    group: str = field(
        metadata=_column(
            *("group", "text", "Group"),
            required=True,
            means="what the layer does (`decoder.ffn`, …)",
            measured="from its role, its class and patterns in its names: cross-attention, "
            "attention, feed-forward, and mixers of positions without attention (`decoder.mixer`: "
            "state spaces, convolutions along the sequence). Rotary positions are attention's. "
            "What no pattern knows is `other`; from a tenth of the time on a note names what is "
            "in it",
        )
    )
    depth: int = field(
        metadata=_column(
            *("depth", "integer", "Depth"),
            required=True,
            over_ranks="same",
            means="layers above it",
            measured="from the FQN",
        )
    )
    calls: int = field(
        metadata=_column(
            *("calls", "integer", "Calls"),
            required=True,
            adds=True,
            means="how often it was called",
            measured="ranges counted; checked against the structure, where a family's file describes "
            "it, and the decoder steps counted outside the trace, or against the calls that hooks "
            "counted in a batch that was not profiled",
        )
    )
    # kernels, memcpys, memsets
    kernels: int = field(
        metadata=_column(
            *("kernels", "integer", "Device events"),
            adds=True,
            means="device events: kernels, memcpys, memsets",
            measured="counted in the trace",
        )
    )
    gpu_self_ns: int | None = field(
        metadata=_column(
            *("gpu_self_us", "time", "Device time"),
            adds=True,
            means="device time of the layer alone",
            measured="durations of the device events whose launch (CUDA runtime or driver, by "
            "correlation id) lies in the layer's innermost range; summed, so overlapping streams "
            "count twice",
        )
    )
    gpu_total_ns: int | None = field(
        metadata=_column(
            *("gpu_total_us", "time", "Device time, with layers below"),
            over_ranks="sum",
            means="with the layers below",
            measured="sum",
        )
    )
    cpu_self_ns: int | None = field(
        metadata=_column(
            *("cpu_self_us", "time", "Host time"),
            adds=True,
            means="host time of the layer alone",
            measured="wall time of its ranges on the calling thread (of a capture: on every thread, "
            "added up) minus the ranges inside; includes the profiler's own cost",
        )
    )
    cpu_total_ns: int | None = field(
        metadata=_column(
            *("cpu_total_us", "time", "Host time, with layers below"),
            over_ranks="sum",
            means="with the layers below",
            measured="sum",
        )
    )
    flops_self: int | None = field(
        default=None,
        metadata=_column(
            *("flops_self", "integer", "FLOPs"),
            unit="FLOP",
            adds=True,
            means="floating-point operations of the layer alone, 2 per multiply-accumulate",
            measured="counted in a pass of its own, on the operators that really ran, KV cache "
            "included; [method-flops.md](method-flops.md)",
        ),
    )
    flops_total: int | None = field(
        default=None,
        metadata=_column(
            *("flops_total", "integer", "FLOPs, with layers below"),
            unit="FLOP",
            means="with the layers below",
            measured="sum",
        ),
    )
    macs_total: int | None = field(
        default=None,
        metadata=_column(
            *("macs_total", "integer", "Multiply-accumulates, with layers below"),
            means="multiply-accumulates",
            measured="half of `flops_total`",
        ),
    )
    params: int | None = field(
        metadata=_column(
            *("params", "integer", "Parameters"),
            adds=True,
            over_ranks="same",  # every rank holds the same ones
            means="parameters that the module itself holds, in the row of the first phase that calls "
            "it; blank in its other rows, so that the column adds up",
            measured="`named_parameters(recurse=False)`",
        )
    )
    op_self_ns: int | None = field(
        default=None,
        metadata=_column(
            *("op_self_us", "time", "Time inside operators"),
            adds=True,
            means="the part of `cpu_self_us` spent in operators",
            measured="self times of the `cpu_op` events inside",
        ),
    )
    dtype: str | None = field(
        default=None,
        metadata=_column(
            *("dtype", "text", "dtype"),
            means="of the parameters",
            measured="read from the module",
        ),
    )
    bytes_self: int | None = field(
        default=None,
        metadata=_column(
            *("bytes_self", "integer", "Bytes"),
            unit="B",
            adds=True,
            means="bytes that the operators read and write",
            measured="from the operands' sizes, in the counting pass; the device's caches may serve "
            "part of them",
        ),
    )
    intensity: float | None = field(
        default=None,
        metadata=_column(
            *("intensity", "real", "FLOP/B"),
            follows=True,
            means="FLOPs per byte",
            measured="`flops_self` over `bytes_self`",
        ),
    )
    tflops_per_s: float | None = field(
        default=None,
        metadata=_column(
            *("tflops_per_s", "real", "TFLOP/s"),
            follows=True,
            means="speed of arithmetic",
            measured="`flops_self` over `gpu_self_us`; on a CPU run over `op_self_us`",
        ),
    )
    gb_per_s: float | None = field(
        default=None,
        metadata=_column(
            *("gb_per_s", "real", "GB/s"),
            follows=True,
            means="speed of traffic",
            measured="`bytes_self` over the same time",
        ),
    )
    roofline_ns: int | None = field(
        default=None,
        metadata=_column(
            *("roofline_us", "time", "Least time"),
            follows=True,
            digits=2,
            means="least time on this device",
            measured="the larger of bytes over the measured copy rate and FLOPs over the measured "
            "matmul rate of the dtype, which a layer that beats it raises: "
            "[ceilings](method-flops.md#ceilings)",
        ),
    )
    roofline_fraction: float | None = field(
        default=None,
        metadata=_column(
            *("roofline_fraction", "real", "Of roofline"),
            digits=2,
            means="how near the layer is to it",
            measured="`roofline_us` over the measured time; two of its digits mean something",
        ),
    )
    bound: str | None = field(
        default=None,
        metadata=_column(
            *("bound", "text", "Bound"),
            means="what keeps the row from being faster: `launch`, `idle`, `compute`, `memory`, or "
            "nothing known",
            measured="host against device time, then the larger ceiling: "
            "[method-flops.md](method-flops.md)",
        ),
    )
    memory_peak_bytes: int | None = field(
        default=None,
        metadata=_column(
            *("memory_peak_mib", "mebibytes", "Peak memory"),
            means="most memory while the layer or one below it ran, the whole model's weights "
            "included",
            measured="CUDA's allocator; elsewhere the bytes of the tensors alive; in the counting "
            "pass",
        ),
    )
    attribution: str | None = field(
        default=None,
        metadata=_column(
            *("attribution", "text", "Found by"),
            means="how device time found the layer where it was not a launch in a range; `unknown` "
            "where compiled code's layer is not known",
            measured="compiled regions and graph replays: [compiled-layers.md](compiled-layers.md)",
        ),
    )
    energy_j: float | None = field(
        default=None,
        metadata=_column(
            *("energy_j", "real", "Energy"),
            unit="J",
            adds=True,
            means="joules of the layer",
            measured="replayed on its own, where that was asked for: "
            "[method-energy-by-layer.md](method-energy-by-layer.md)",
        ),
    )
    energy_source: str | None = field(
        default=None,
        metadata=_column(
            *("energy_source", "text", "Energy from"),
            means="how the row came by its joules",
            measured="`replay`, `apportioned` by device time, or blank",
        ),
    )
    modelled_ns: int | None = field(
        default=None,
        metadata=_column(
            *("modelled_us", "time", "Modelled part"),
            adds=True,
            means="the part of the self time that was split by a model",
            measured="kernels that fuse several layers: [compiled-layers.md](compiled-layers.md)",
        ),
    )
    layer_kind: str | None = field(
        default=None,
        metadata=_column(
            *("layer_kind", "text", "Kind"),
            means="the FQN with `*` for a number, the same for all blocks of a stack that are alike; "
            "groups of unlike blocks have their numbers (`layers.0-2.mlp`)",
            measured="numbered siblings are alike when they, and what both hold under one name, have "
            "one class and equal parameter shapes; what only one holds does not part them. Where a "
            "trace says no classes: when they hold layers of the same names",
        ),
    )

    @property
    def is_bucket(self) -> bool:
        """Whether this row names what belongs to no layer."""
        return self.layer in BUCKETS

    @property
    def kind(self) -> str:
        """The name that the row is folded by: its kind, or its own where none is known."""
        return self.layer_kind or self.layer


# A share is derived of a row and the whole, so it is no field; the name it stands behind.
_SHARES = {
    "gpu_total_us": Column(
        name="gpu_share",
        kind="share",
        field="",
        label="Device share",
        means="`gpu_self_us` over the device sum",
        measured="division",
    )
}


def _declared() -> tuple[Column, ...]:
    found = []
    for one in dataclasses.fields(LayerRow):
        column = Column(field=one.name, **one.metadata[_KEY])
        found.append(column)
        if column.name in _SHARES:
            found.append(_SHARES[column.name])
    return tuple(found)


COLUMNS = _declared()
BY_NAME = {column.name: column for column in COLUMNS}


def columns_markdown() -> str:
    """The table of all columns, as docs/concepts.md holds it."""
    lines = ["| column | meaning | how it is measured |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {column.means} | {column.measured} |" for column in COLUMNS]
    return "\n".join(lines)
