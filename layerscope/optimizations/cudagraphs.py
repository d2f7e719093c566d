"""The graphs of compiled parts captured as CUDA graphs, and a loop whose host runs ahead of them."""

from __future__ import annotations

from layerscope.workload.compiled import why_no_graphs
from layerscope.workload.optimization import Asked, Optimization, Plan


def refusal(asked: Asked) -> str | None:
    """Without CUDA there is nothing to capture."""
    return why_no_graphs(asked.device)


# `compile`, which it includes, compiles the parts; told by the plan, it captures them, too.
OPTIMIZATION = Optimization(
    plan=Plan(cuda_graphs=True, host_ahead=True, longest_warm_up=True), refusal=refusal
)
