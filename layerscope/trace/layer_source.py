"""A trace's columns in, the spans that stand for layers out: the best that this trace has to offer."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from layerscope.core.vocabulary import (
    BUCKETS,
    LAYER_PREFIX,
    OURS_PREFIX,
    PHASE_PREFIX,
    ROOTS,
    WINDOW_RANGE,
    layer_name,
    name_in_range,
)
from layerscope.records.tables import LayerSource
from layerscope.trace.categories import COMPILER_RANGES, MODULE_MARK
from layerscope.trace.columns import HostSpans, TraceColumns

# Ranges that torch and its profiler write on their own: no layers of the user's.
_NOT_THE_USERS = (
    "ProfilerStep#",
    "Optimizer.",
    "enumerate(DataLoader)",
    "DistributedDataParallel.",
    "FSDP::",
    "FullyShardedDataParallel.",
    "nccl:",
    "gloo:",
    "c10d::",
    "PyTorch Profiler",
    "record_param_comms",
    PHASE_PREFIX,
    OURS_PREFIX,
    *COMPILER_RANGES,
)
# Deeper nesting is none of a model's; what lies below is counted in the layer at this depth. Names that
# a capture wrote are a model's own, which nests deeper than its calls do.
MOST_DEPTH = 64
_MOST_DEPTH_OF_OURS = 400
_FQN = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True)
class Layers:
    """Which spans are layers.

    Attributes:
        source: `ranges` of layerscope, else `modules` of the Python tracer, else `annotations` of the
            user (`record_function`), else `operators`.
        columns: the trace; where the source is `modules`, these stand behind its spans.
        is_layer: indexed like the spans of `columns`.
    """

    source: LayerSource
    columns: TraceColumns
    is_layer: npt.NDArray[np.bool_]

    def is_root(self, name: str) -> bool:
        """Whether a span of this name is a call of the model itself."""
        # A child that is called `generate` has it escaped.
        return name.removeprefix(LAYER_PREFIX if self.source == "ranges" else "") in ROOTS

    def path(self, name: str, above: str | None) -> str:
        """The layer that a span's name stands for, below the layer `above` it, if there is one.

        layerscope's ranges carry FQNs. Modules and annotations get the path of their nesting, unless
        the name already is such a path. Operators are not nested: each name is one layer.
        """
        if self.source == "ranges":
            named = layer_name(name_in_range(name[len(LAYER_PREFIX) :]))
            return _bounded(named, _MOST_DEPTH_OF_OURS)
        name = name.removeprefix(MODULE_MARK)
        if self.source == "operators" or not _FQN.fullmatch(name):
            # A dot would make up a layer above that is none.
            name = name.replace(".", ":") or "(unnamed)"
        if self.source == "operators" or above is None or name.startswith(f"{above}."):
            return _bounded(name)
        return _bounded(f"{above}.{name}")


def _bounded(path: str, most: int = MOST_DEPTH) -> str:
    if path in BUCKETS:
        return f"range {path}"
    if path.count(".") < most:
        return path
    return ".".join(path.split(".", most)[:most])


def our_layers(columns: TraceColumns) -> Layers:
    """The `layer:` ranges alone."""
    return Layers("ranges", columns, _of_spans(columns, _begins(columns, (LAYER_PREFIX,))))


def find_layers(columns: TraceColumns) -> Layers:
    """The first of the four sources that the trace holds; operators, where it holds none."""
    ours = our_layers(columns)
    # A capture's own trace has its ranges, or no layers at all.
    if ours.is_layer.any() or WINDOW_RANGE in columns.names:
        return ours
    if len(columns.modules.name):
        return _with_modules(columns)
    users = ~_begins(columns, _NOT_THE_USERS)
    annotated = _of_spans(columns, users) & columns.spans.annotation.astype(np.bool_)
    if annotated.any():
        return Layers("annotations", columns, annotated)
    operators = _of_spans(columns, ~_begins(columns, (PHASE_PREFIX, OURS_PREFIX)))
    return Layers("operators", columns, operators & ~columns.spans.annotation.astype(np.bool_))


def _with_modules(columns: TraceColumns) -> Layers:
    spans, modules = columns.spans, columns.modules
    both = HostSpans(
        *(
            np.concatenate([getattr(part, name) for part in (spans, modules)])
            for name in ("name", "thread", "start_ns", "dur_ns", "annotation", "external_id")
        )
    )
    is_layer = np.zeros(len(both.name), np.bool_)
    is_layer[len(spans.name) :] = True
    return Layers("modules", replace(columns, spans=both), is_layer)


def _begins(columns: TraceColumns, prefixes: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return np.array([name.startswith(prefixes) for name in columns.names], np.bool_)


def _of_spans(columns: TraceColumns, by_name: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    if not len(by_name):
        return np.zeros(0, np.bool_)
    found: npt.NDArray[np.bool_] = by_name[columns.spans.name]
    return found
