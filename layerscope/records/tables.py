"""`Account`: what one trace yields, the layer table and the three tables that stand beside it.

Made by the analysis from trace columns; read by every renderer. Times are integer nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerscope.records.heavy import HeavyCount
from layerscope.records.layer_table import LayerTable

Launch = Literal["runtime", "driver", "graph", "none"]
# What stands for layers in a trace: layerscope's ranges, the Python tracer's modules, the user's
# `record_function` ranges, operators; the first that the trace has.
LayerSource = Literal["ranges", "modules", "annotations", "operators"]


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One device event name in one (layer, phase): a kernel, a memcpy or a memset.

    `launch` is where its launch record stood: `cuda_runtime`, `cuda_driver`, a graph launch, nowhere.
    """

    kernel: str
    layer: str
    phase: str
    count: int
    total_ns: int
    launch: Launch


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One aten operator in one (layer, phase). Host time; self is without the operators inside it."""

    operator: str
    layer: str
    phase: str
    calls: int
    self_ns: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class AttentionRow:
    """Which attention one (layer, phase) really ran: `cuDNN`, `flash`, `efficient`, `math`, …"""

    layer: str
    phase: str
    backend: str
    calls: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """One decoder step. `gpu_ns` is None when no device was traced; `kernels` is 0 then."""

    step: int
    phase: str
    gpu_ns: int | None
    cpu_ns: int
    kernels: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRow:
    """What one device did. Nanoseconds; `layers_ns` + `buckets_ns` are all its events' durations.

    Attributes:
        device: its number, or its name where several processes share the number.
        processes: ids of the processes that launched its events.
        active_ns: union of its events' intervals.
    """

    device: str
    processes: tuple[str, ...]
    events: int
    layers_ns: int
    buckets_ns: int
    active_ns: int

    @property
    def sum_ns(self) -> int:
        """The durations of all its events."""
        return self.layers_ns + self.buckets_ns


@dataclass(frozen=True, kw_only=True)
class Account:
    """One trace, accounted for. `source` names the file that it was computed from.

    `layer_source` is None for a table read back from a file; `rank` is empty outside distributed runs;
    `heavy` counts products, convolutions and attentions by layer, None where nothing asked for it.
    """

    table: LayerTable
    kernels: tuple[KernelRow, ...]
    operators: tuple[OperatorRow, ...]
    steps: tuple[StepRow, ...]
    source: str
    devices: tuple[DeviceRow, ...] = ()
    attention: tuple[AttentionRow, ...] = ()
    layer_source: LayerSource | None = None
    rank: str = ""
    heavy: HeavyCount | None = None
