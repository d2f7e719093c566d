"""A run's configuration in, what it must hold alone on a node while it measures out."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from layerscope.records import RunConfig


class Claim(Enum):
    """What a cell holds alone.

    GPU: one whole GPU. Cells on the other GPUs of the node run beside it.
    NODE: every CPU of the node, so that nothing else runs there.
    """

    GPU = "GPU"
    NODE = "node"


def claim_of(config: RunConfig) -> Claim:
    """Latency and energy are only true alone on the device; of a CPU run that is the machine."""
    return Claim.GPU if config.device == "cuda" else Claim.NODE


def places(claim: Claim, resources: Mapping[str, float]) -> int:
    """How many such claims a node with these Ray resources can hold at once."""
    if claim is Claim.GPU:
        return int(resources.get("GPU", 0))
    return int(resources.get("CPU", 0) >= 1)


def request(claim: Claim, resources: Mapping[str, float]) -> dict[str, float]:
    """The claim in Ray's words, for a node with these resources.

    A GPU cell takes a CPU too, which keeps CPU cells of other sweeps away; none on a node that was
    started with fewer CPUs than GPUs.
    """
    cpus = resources.get("CPU", 0.0)
    if claim is Claim.GPU:
        return {"num_gpus": 1, "num_cpus": int(cpus >= resources.get("GPU", 0.0))}
    return {"num_gpus": 0, "num_cpus": cpus}
