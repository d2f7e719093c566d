"""The types that cross the borders between rooms."""

from layerscope.records.layer_table import LayerRow, LayerTable, Whole, parent_of
from layerscope.records.run_config import RunConfig
from layerscope.records.run_record import (
    SCHEMA_VERSION,
    AccountRecord,
    BatchRecord,
    Environment,
    LatencySample,
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
    to_builtins,
)

__all__ = [
    "SCHEMA_VERSION",
    "AccountRecord",
    "BatchRecord",
    "Environment",
    "LatencySample",
    "LayerRow",
    "LayerTable",
    "ModelRecord",
    "ModuleRecord",
    "Prediction",
    "Report",
    "Reported",
    "RunConfig",
    "RunRecord",
    "TracePass",
    "Whole",
    "WorkloadRecord",
    "load",
    "parent_of",
    "save",
    "to_builtins",
]
