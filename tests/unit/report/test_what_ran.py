"""What a reader must see of how a run was made, so as not to compare unlike ones."""

from __future__ import annotations

import pytest

from layerscope.config.resolve import resolve
from layerscope.report.what_ran import mode_of


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "eager"),
        ({"fp32_matmul": "high"}, "eager, fp32 matmul high (TF32)"),
        (
            {"optimization": "compile", "coordinate_descent_tuning": True, "fp32_matmul": "high"},
            "compile, fp32 matmul high (TF32), coordinate descent tuning",
        ),
    ],
)
def test_the_mode_names_what_is_not_the_default(given: dict[str, object], words: str) -> None:
    assert mode_of(resolve({"model": "tiny", **given}, cuda=False).config) == words
