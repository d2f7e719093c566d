"""The types that cross the borders between rooms."""

from layerscope.core.run_config import RunConfig
from layerscope.records.energy_record import (
    DeviceState,
    EnergyAbsent,
    EnergyRecord,
    PowerSample,
)
from layerscope.records.interval import Interval
from layerscope.records.layer_table import LayerRow, LayerTable, Whole, parent_of
from layerscope.records.quality import PredictionScore, Quality
from layerscope.records.run_record import (
    SCHEMA_VERSION,
    AccountRecord,
    BatchRecord,
    Environment,
    LatencySample,
    MemoryRecord,
    ModelRecord,
    ModuleRecord,
    Prediction,
    Report,
    Reported,
    RunRecord,
    TracePass,
    WorkloadRecord,
    load,
    save,
)
from layerscope.records.tables import Account, KernelRow, OperatorRow, StepRow
from layerscope.records.work import Ceilings, Check, CountedWork

__all__ = [
    "SCHEMA_VERSION",
    "Account",
    "AccountRecord",
    "BatchRecord",
    "Ceilings",
    "Check",
    "CountedWork",
    "DeviceState",
    "EnergyAbsent",
    "EnergyRecord",
    "Environment",
    "Interval",
    "KernelRow",
    "LatencySample",
    "LayerRow",
    "LayerTable",
    "MemoryRecord",
    "ModelRecord",
    "ModuleRecord",
    "OperatorRow",
    "PowerSample",
    "Prediction",
    "PredictionScore",
    "Quality",
    "Report",
    "Reported",
    "RunConfig",
    "RunRecord",
    "StepRow",
    "TracePass",
    "Whole",
    "WorkloadRecord",
    "load",
    "parent_of",
    "save",
]
