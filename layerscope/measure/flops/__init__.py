"""Executed work: FLOPs, bytes and memory by layer, and the checks that count them a second way."""

from layerscope.measure.flops.counter import count_work

__all__ = ["count_work"]
