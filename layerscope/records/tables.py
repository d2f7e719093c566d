"""`Account`: what one trace yields, the layer table and the three tables that stand beside it.

Made by the analysis from trace columns; read by every renderer. Times are integer nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layerscope.records.layer_table import LayerTable

Launch = Literal["runtime", "driver", "graph", "none"]


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
class StepRow:
    """One decoder step. `gpu_ns` is None when no device was traced; `kernels` is 0 then."""

    step: int
    phase: str
    gpu_ns: int | None
    cpu_ns: int
    kernels: int


@dataclass(frozen=True, kw_only=True)
class Account:
    """One trace, accounted for. `source` names the file that it was computed from."""

    table: LayerTable
    kernels: tuple[KernelRow, ...]
    operators: tuple[OperatorRow, ...]
    steps: tuple[StepRow, ...]
    source: str
