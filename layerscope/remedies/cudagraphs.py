"""Compiled parts whose kernels are launched as CUDA graphs, by a loop that does not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerscope.core.remedy import Remedy
from layerscope.core.units import ms
from layerscope.records.finding import Saving

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence


def predict(evidence: Evidence) -> Saving:
    """The time of the unprofiled batch in which the device waits: a trace adds the profiler's own."""
    trace = evidence.record.trace if evidence.record else None
    waiting = evidence.unprofiled_idle_ns
    if evidence.idle is None:
        return Saving(saved_ns=None, basis="no device events in the trace")
    if waiting is None or trace is None or trace.unprofiled_ns is None:
        return Saving(
            saved_ns=None, basis="needs the traced batch's latency unprofiled, on one device"
        )
    return Saving(
        saved_ns=waiting,
        whole_ns=trace.unprofiled_ns,
        of="latency",
        basis=f"the batch took {ms(trace.unprofiled_ns)} unprofiled and keeps the device busy "
        f"{ms(evidence.idle.active_ns)}: all of the rest; what other kernels save is not in it",
    )


REMEDY = Remedy(
    name="cudagraphs",
    does="one launch for a whole step",
    helps=("launch-bound", "idle-energy", "energy-against-time"),
    snippet="""\
from transformers import CompileConfig

# With a static cache generate() compiles the decoder steps after the first; the first stays eager.
# The parts of an encoder-decoder; of others: tower and projector.
for part in (model.vision_model, model.qformer, model.language_model.encoder):
    part.compile(mode="reduce-overhead", dynamic=False)
graphs = CompileConfig(mode="reduce-overhead", dynamic=False)
tokens = model.generate(**inputs, cache_implementation="static", compile_config=graphs)
""",
    torch='torch.compile with mode="reduce-overhead", or torch.cuda.CUDAGraph',
    predict=predict,
    aliases=(("optimization", "cudagraphs"),),
    includes=("compile",),
    goes_with=("flash", "tf32", "tuned"),
)
