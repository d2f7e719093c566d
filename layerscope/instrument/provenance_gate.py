"""The installed torch in, whether its compiler's notes are understood out: by trying."""

from __future__ import annotations

import types

import torch

from layerscope.core.words import kind_and_first_line
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.private.names import TORCH, NoSuchName


def why_not_understood() -> str:
    """Compile two linear layers, the second onto a sum, and look for two call sites; "" where they
    are found, else why not.

    The notes are torch's private affair and may change with any version. No code is generated for
    two matmuls, so this takes a second, and the process has to load the compiler anyway.
    """
    trial = _trial()
    wanted = [("mm", "first"), ("mm", "second")]
    try:
        with ProvenanceWatch(trial) as watch, torch.no_grad():
            torch.compile(trial)(torch.zeros(2, 4))
        found = [
            (site.operator, site.layers[0].layer)
            for graph in watch.record().graphs
            for site in graph.sites
            if site.operator and site.layers
        ]
    except NoSuchName as gone:
        return _reason(f"it has no {gone.name}")
    except Exception as error:  # a private interface may fail in any way; the run goes on without
        return _reason(kind_and_first_line(error))
    return "" if found == wanted else _reason(f"two linear layers gave {found or 'no call sites'}")


class _Trial(torch.nn.Module):
    """The compiler makes one operation of the second product and the sum: our notes must follow it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.second = torch.nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.second(self.first(x))
        return found


def _trial() -> torch.nn.Module:
    """A trial whose code was never compiled: dynamo keeps what it made of a function's code."""
    code = _Trial.forward.__code__.replace(co_firstlineno=1)
    fresh = type("Trial", (_Trial,), {"forward": types.FunctionType(code, globals())})
    trial: torch.nn.Module = fresh().eval()
    return trial


def _reason(why: str) -> str:
    return (
        f"the compiler of torch {torch.__version__} is not understood ({why}); compiled parts are one "
        f"row each. Tried with torch {', '.join(TORCH)}."
    )
