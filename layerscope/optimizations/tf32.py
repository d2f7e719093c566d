"""fp32 matrix products as TF32, for the length of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager

from layerscope.measure.matmul_precision import matmul_precision
from layerscope.workload.optimization import Applying, Optimization


def applied(applying: Applying) -> AbstractContextManager[None]:
    """torch's setting for the whole process; what was set before comes back."""
    return matmul_precision("high")


OPTIMIZATION = Optimization(applied=applied)
