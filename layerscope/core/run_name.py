"""A run's configuration in, the name of its folder out."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from layerscope.core.remedy import without_alias
from layerscope.core.run_config import RunConfig


def run_name(config: RunConfig, now: datetime | None = None, *, sized: bool = True) -> str:
    """`<utc time>-<model>-b<batch>-<size>px` and what departs from the defaults, sortable by time.

    Image tokens that were asked for stand in the place of the size, and so do images' own sizes.

    Args:
        sized: whether `image_size` was given; a model that takes one size alone may yet say another.
    """
    model = as_word(config.model.rstrip("/").rsplit("/", 1)[-1])
    extra = [config.dataset]
    if config.weights == "random":
        extra.append("random")
    if config.optimization != "eager":
        extra.append(config.optimization)
    extra.extend(without_alias(config.optimizations))
    tail = "-".join(extra)
    stamp = stamp_of(now or datetime.now(UTC))
    size = f"{config.image_size}px" if sized else ""
    if config.image_tokens is not None:
        size = f"{config.image_tokens}tokens"
    elif config.image_size_mode == "processor":
        size = "own-sizes"
    words = (stamp, model, f"b{config.batch_size}", size, tail)
    return "-".join(word for word in words if word)


def stamp_of(time: datetime) -> str:
    """A time in UTC as names begin with it, sortable."""
    return time.strftime("%Y%m%dT%H%M%SZ")


def as_word(text: str) -> str:
    """A name as one word of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")
