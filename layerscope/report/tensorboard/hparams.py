"""Configurations and the axes of a sweep in, the messages that TensorBoard's HPARAMS tab reads out.

A run is a session; the scalars in its event file are its metrics. Which columns the tab shows is
said once, by the experiment: in a sweep's own event file, or by a run that belongs to no sweep.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from layerscope.records import RunConfig
from layerscope.records.sweep import Setting, plain
from layerscope.report.tensorboard.event_file import Message

# Tag -> how the column is called; the four numbers of a run.
METRICS = {
    "e2e/latency_s": "latency, s per batch",
    "e2e/energy_j_per_sample": "energy, J per sample",
    "e2e/flops": "FLOPs per batch",
    "e2e/wer_value": "WER",
}
# The columns of runs that no sweep put side by side. The tab ticks five columns by itself, those
# that are said to differ first; a run cannot know its neighbours, so these are the likely ones.
TICKED = ("batch_size", "dataset", "dtype", "image_size", "model")
USUAL = (
    *TICKED,
    "weights",
    "device",
    "max_input_len",
    "max_new_tokens",
    "optimization",
    "attention",
    "fp32_matmul",
    "optimize",
)
# Where a run was written and where its data lay say nothing about what it did.
_NOT_SHOWN = frozenset({"out", "data_dir", "images", "processor"})


def session(name: str, config: RunConfig | None, created_utc: str) -> tuple[Message, Message]:
    """One run: what it was made with, nothing of a capture, and that it ended well."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    began = datetime.fromisoformat(created_utc).timestamp()
    start = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=began)
    for field, setting in (plain(config) if config is not None else {}).items():
        if field not in _NOT_SHOWN and setting is not None:
            _set(start.hparams[field], setting)
    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData
    return (
        Message(metadata.SESSION_START_INFO_TAG, data(session_start_info=start)),
        Message(metadata.SESSION_END_INFO_TAG, data(session_end_info=end)),
    )


def sweep_columns(axes: Sequence[str], configs: Sequence[RunConfig], name: str) -> Message:
    """The tab's columns for a sweep: its axes with every value they take, and the four numbers."""
    infos = []
    for axis in axes:
        seen = [v for v in dict.fromkeys(getattr(c, axis) for c in configs) if v is not None]
        info = _info(axis, seen, differs=len(seen) > 1)
        # Every value is listed: the tab then filters by ticking them, numbers included.
        for value in seen:
            _set(info.domain_discrete.values.add(), value)
        infos.append(info)
    return _experiment(infos, f"layerscope sweep {name}")


def run_columns(config: RunConfig) -> Message:
    """The columns for runs that belong to no sweep; every such run says the same ones."""
    infos = [_info(name, [getattr(config, name)], differs=name in TICKED) for name in USUAL]
    return _experiment(infos, "layerscope runs")


def _experiment(infos: Sequence[Any], description: str) -> Message:
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=label)
        for tag, label in METRICS.items()
    ]
    held = api_pb2.Experiment(description=description, hparam_infos=infos, metric_infos=metrics)
    content = plugin_data_pb2.HParamsPluginData(experiment=held)
    return Message(metadata.EXPERIMENT_TAG, content)


def _info(name: str, values: Sequence[Setting], *, differs: bool) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if all(isinstance(value, bool) for value in values):
        kind = api_pb2.DATA_TYPE_BOOL
    elif all(isinstance(value, int | float) for value in values):
        kind = api_pb2.DATA_TYPE_FLOAT64
    else:
        kind = api_pb2.DATA_TYPE_STRING
    return api_pb2.HParamInfo(name=name, display_name=name, differs=differs, type=kind)


def _set(held: Any, setting: Setting) -> None:
    if isinstance(setting, bool):
        held.bool_value = setting
    elif isinstance(setting, int | float):
        held.number_value = setting
    else:
        held.string_value = str(setting)
