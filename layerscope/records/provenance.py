"""`Provenance` (`provenance.json`): which layers each piece of compiled code came from.

Written when a model is compiled, read when a trace is accounted for, also later and without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from layerscope.core.files import PROVENANCE_FILE, write_json
from layerscope.core.folder_file import read_json_if_there

NO_SITE = -1

# `exact`: the call does the work of one layer. `fused`: several layers, split by a model. `unknown`:
# nothing says which.
Origin = Literal["exact", "fused", "unknown"]


@dataclass(frozen=True, slots=True)
class LayerWeight:
    """A layer's part in a call site.

    Attributes:
        layer: FQN relative to the compiled frame; "" is the frame's own module.
        weight: bytes that its operations in the site put out, or multiply-accumulates of its products.
    """

    layer: str
    weight: int


@dataclass(frozen=True, slots=True)
class CallSite:
    """One kernel call in the code that inductor wrote for a graph.

    Attributes:
        name: as the code has it: `extern_kernels.addmm`, `triton_poi_fused_add_0`, …
        origin: how its layers are known.
        layers: at least one for an `exact` or `fused` site.
        operator: the heavy operator it runs (`mm`, `bmm`, `convolution`, `sdpa`); "" without.
        products: the layer of each heavy operator in it: two where one kernel adds two products.
        sometimes: in a branch or a loop, so that a call may run it once, often or never.
    """

    name: str
    origin: Origin
    layers: tuple[LayerWeight, ...] = ()
    operator: str = ""
    products: tuple[str, ...] = ()
    sometimes: bool = False


@dataclass(frozen=True, slots=True)
class CompiledGraph:
    """One compiled graph: its call sites in the order in which they run.

    Attributes:
        problem: why its layers are not known, in words, so that its time stays with the compiled
            part; "" where they are.
        code: number of the graph whose code it is, where the same code serves modules with other
            names; None for its own.
    """

    number: int
    sites: tuple[CallSite, ...]
    problem: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True)
class CapturedLaunches:
    """What one call of a graph launched while it was captured into CUDA graphs, in order.

    A replay runs these kernels in this order: they are the reference that names them.

    Attributes:
        sites: for each launch the index of its call site, `NO_SITE` for one of the wrapper's own.
    """

    graph: int
    sites: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is known of a run's compiled code.

    Attributes:
        torch: the version that compiled.
        reason: why nothing is known, in words; "" where the compiler is understood.
        captures: empty without CUDA graphs.
        aliases: further names of modules that a model holds under several -> the name of their ranges.
    """

    torch: str
    reason: str = ""
    graphs: tuple[CompiledGraph, ...] = ()
    captures: tuple[CapturedLaunches, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)


def save_provenance(provenance: Provenance, folder: Path) -> dict[str, str]:
    """Write `provenance.json`; returns role -> file name."""
    write_json(folder / PROVENANCE_FILE, provenance, indented=False)
    return {"provenance": PROVENANCE_FILE}


def load_provenance(folder: Path) -> Provenance | None:
    """What was saved; None where the folder holds none.

    Raises:
        DataError: the file is damaged.
    """
    return read_json_if_there(
        folder / PROVENANCE_FILE, Provenance, "the provenance of compiled code"
    )
