"""Committed runs without their traces, read by today's rules; what only the trace showed stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from layerscope.records.finding import Finding
from layerscope.runs.run import Run

H200 = Path(__file__).parents[3] / "docs" / "results" / "h200"


def findings_of(name: str) -> dict[str, Finding]:
    found = Run.open(H200 / name).findings
    assert found is not None
    return {finding.id: finding for finding in found.seen}


def test_advice_that_gave_nothing_is_gone_and_twins_are_one() -> None:
    """0.1.0 told `wo` to compile for 18 ms, of which 0.3 came; and showed one norm of three."""
    found = findings_of("xl-b16-eager")
    assert not any("-wo-" in name for name in found)
    (norms,) = (f for name, f in found.items() if "layer-norm" in name)
    assert "72 layers) takes 19.4 ms" in norms.sentence
    assert found["fp32-islands"].try_next.startswith("--fp32-matmul high")
    math = found["attention-math-kernel"]
    assert math.try_next.startswith("transformers 5.20 or newer (this is 5.17.0)")
    assert "flash" not in math.try_next
    assert math.saving.saved_ns == pytest.approx(26.3e6, rel=0.01)


def test_what_only_the_trace_showed_stays_and_is_called_profiled() -> None:
    launch = findings_of("xl-b16-eager")["launch-bound-decode"]
    assert launch.sentence.startswith("decode is launch-bound: profiled, the device is idle 90 %")
    assert not launch.saving.at_most  # other kernels came with the graphs, and saved more
    assert launch.saving.saved_ns == pytest.approx(467.556e6, rel=1e-5)


def test_a_run_with_tf32_is_not_told_of_it() -> None:
    found = findings_of("xl-b16-fp32-matmul-high")
    assert not any("--fp32-matmul" in finding.try_next for finding in found.values())
    assert "fp32-islands" not in found
    # A warm-up was run: nothing is left to try about the convolution.
    assert found["convolutions"].try_next == ""
