"""A trace worked out in, sentences about how its compiled code was attributed out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from layerscope.account.compiled_code import CompiledCode
from layerscope.account.workings import Workings
from layerscope.trace.columns import ABSENT, LAUNCH_KINDS
from layerscope.trace.tree import NONE


def attribution_notes(workings: Workings) -> Iterator[str]:
    """What is known of compiled code and of replayed graphs, in shares of the time."""
    columns = workings.columns
    if workings.provenance is not None and workings.provenance.reason:
        yield workings.provenance.reason
    named = int((columns.device.module != ABSENT).sum())
    if named:
        yield f"{named:,} device events say their module themselves (`module_fqn`)"
    if workings.compiled is None:
        kinds = columns.launches.kind[workings.links.launch[workings.links.launch != NONE]]
        replayed = int((kinds == LAUNCH_KINDS.index("graph")).sum())
        if replayed and not named:
            yield (
                f"{replayed:,} device events were replayed from CUDA graphs; which layers they ran is "
                "not in a trace: it takes the provenance that `layerscope profile --optimization "
                "cudagraphs` stores beside it"
            )
        return
    time: Counter[str] = Counter()
    if workings.has_device:
        what = "device time"
        for event, duration in enumerate(columns.device.dur_ns.tolist()):
            where = workings.place(event)
            time["split" if where.modelled else where.how or "bucket"] += duration
    else:
        what = "host time in compiled code"
        time["region"] = sum(
            int(workings.tree.end_ns[call.span] - columns.spans.start_ns[call.span])
            for call in workings.compiled.calls
        )
        for span in workings.compiled.site_spans:
            call, site = workings.compiled.call_of_span[span], workings.compiled.site_of_span[span]
            placed = workings.compiled.place(int(call), int(site))
            wall = int(workings.tree.end_ns[span] - columns.spans.start_ns[span])
            if placed is not None:
                time["split" if placed.modelled else placed.how] += wall
                time["region"] -= wall
    whole = time.total() or 1
    words = {
        "exact": "of one layer each",
        "graph": "replayed, with names or node numbers of its capture",
        "graph~": "replayed, known by its place among the captured launches",
        "split": "fused over several layers, split by bytes",
        "range": "in ranges of layers and compiled parts",
        "region": "between the kernels, with the compiled part",
        "unknown": "of layers not known, with the compiled part",
        "bucket": "in named buckets",
    }
    told = [f"{time[how] / whole:.1%} {words[how]}" for how in words if time[how]]
    yield f"compiled code, {what}: {', '.join(told)}"
    yield from _unknown(workings.compiled)
    if workings.compiled.missed:
        yield (
            f"{workings.compiled.missed:,} call sites of compiled graphs were not seen in the trace"
        )


# Graphs whose trouble is told one by one; beyond, they are counted.
_MOST_TOLD = 4


def _unknown(code: CompiledCode) -> Iterator[str]:
    """Why time in compiled code is with no layer, in words."""
    told: Counter[str] = Counter()
    for call, doubt in zip(code.calls, code.doubtful, strict=True):
        frame = "a frame not known" if call.frame is None else call.frame or code.root
        if doubt:
            told[f"graph {call.graph.number} ({frame}): {doubt}"] += 1
        elif call.frame is None:
            told[f"graph {call.graph.number}: its caller holds no module of the model"] += 1
    for what, calls in told.most_common(_MOST_TOLD):
        yield f"{what}; {calls} calls of it are with the compiled part, layers unknown"
    if len(told) > _MOST_TOLD:
        yield f"{len(told) - _MOST_TOLD} more graphs are with their compiled part, layers unknown"
