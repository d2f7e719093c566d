"""A run's folder and its title say the size of its images as it was given, and none that nobody gave."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from layerscope.config.resolve import resolve
from layerscope.core.run_name import run_name

AT = datetime(2026, 11, 28, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "in_name", "in_words"),
    [
        ({"image_size": 448}, "448px", "448 px"),
        ({"image_tokens": 256}, "256tokens", "256 image tokens"),
        ({"image_size_mode": "processor"}, "own-sizes", "images of their own sizes"),
    ],
)
def test_the_size_as_it_was_given(given: dict[str, Any], in_name: str, in_words: str) -> None:
    config = resolve({"model": "tiny", "batch_size": 2, **given}, cuda=False).config
    assert run_name(config, AT) == f"20261128T010203Z-tiny-b2-{in_name}-synthetic-textvqa"
    assert config.size_words == in_words


def test_a_size_that_the_model_may_yet_change_is_left_out() -> None:
    config = resolve({"model": "tiny", "batch_size": 2}, cuda=False).config
    assert run_name(config, AT, sized=False) == "20261128T010203Z-tiny-b2-synthetic-textvqa"
