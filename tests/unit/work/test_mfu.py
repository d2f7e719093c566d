"""MFU is FLOPs over the maker's rate and all the time that passed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.work.test_roofline import counted, did

from layerscope.records.work import Ceilings
from layerscope.work.mfu import mfu_of

# The maker states 100 and 10 FLOP/s; 50 and 5 were measured, which MFU does not ask for.
CEILINGS = Ceilings(
    key="k", device="d", measured_utc="", matmul_flops_per_s={"float16": 50.0, "float32": 5.0},
    matmul_shape={}, copy_bytes_per_s=1.0, method="by hand",
    datasheet_flops_per_s={"float16": 100.0, "float32": 10.0},
)  # fmt: skip


def test_two_dtypes_against_their_own_peaks() -> None:
    """200 FLOP at 100 a second and 10 at 10 a second need 3 s; the batch took 12."""
    work = counted(did("a", 200, 1), did("b", 10, 1, dtype="float32"))
    found = mfu_of(work, CEILINGS, 12e9)
    assert found.share == pytest.approx(0.25)
    assert found.dtype == "float16 and float32"


def test_without_a_stated_rate_or_a_latency_it_is_absent() -> None:
    work = counted(did("a", 200, 1, dtype="bfloat16"))
    found = mfu_of(work, CEILINGS, 12e9)
    assert (found.share, found.reason) == (None, "the maker's rate of bfloat16 for d is not known")
    none = mfu_of(counted(did("a", 1, 1)), replace(CEILINGS, datasheet_flops_per_s=None), 12e9)
    assert none.share is None
    assert "latency" in mfu_of(counted(did("a", 1, 1)), CEILINGS, None).reason
