"""Coordinate descent for graphs that multiply a matrix by one vector."""

from __future__ import annotations

from layerscope.workload.optimization import Optimization, Plan

# `compile`, which it needs, compiles the parts; told by the plan, it tunes them, too.
OPTIMIZATION = Optimization(plan=Plan(tuned=True))
