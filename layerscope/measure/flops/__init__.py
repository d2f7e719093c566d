"""Executed work: FLOPs, bytes and memory by layer, and the checks that count them a second way."""

from layerscope.measure.flops.counter import Overheard, count_work, overhear_work

__all__ = ["Overheard", "count_work", "overhear_work"]
