"""Runs and sweeps in, TensorBoard event files out: SCALARS, HPARAMS, IMAGES and TEXT."""

from __future__ import annotations

from layerscope.report.tensorboard.run_events import write_events
from layerscope.report.tensorboard.sweep_events import write_sweep_events

__all__ = ["write_events", "write_sweep_events"]
