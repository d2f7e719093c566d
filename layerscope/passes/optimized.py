"""What was compiled, how the compiled parts ran, and how their answers compare with eager ones."""

from __future__ import annotations

from layerscope.passes.draft import Draft
from layerscope.passes.session import Session
from layerscope.records.optimization import OptimizationRecord


def optimized(session: Session, draft: Draft) -> None:
    """Ask the compiled parts for what they went through; nothing of an eager run."""
    parts, eager = session.parts, draft.eager
    if parts is None:
        return
    caches = session.generator.caches
    draft.optimization = OptimizationRecord(
        mode=session.config.optimization,
        parts=parts.counts(),
        graph_breaks=parts.graph_breaks(),
        cudagraph_skips=parts.cudagraph_skips() if session.plan.cuda_graphs else None,
        tuned_graphs=parts.tuned_graphs(),
        tokens=eager.tokens if eager is not None else None,
        growing_cache_bytes=eager.cache_bytes if eager is not None else None,
        no_static_cache=caches.why_not if caches is not None else "",
    )
