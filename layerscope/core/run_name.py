"""A run's configuration in, the name of its folder out."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from layerscope.core.remedy import without_alias
from layerscope.core.run_config import RunConfig


def run_name(config: RunConfig, now: datetime | None = None) -> str:
    """`<utc time>-<model>-b<batch>-<size>px` and what departs from the defaults, sortable by time.

    Image tokens that were asked for stand in the place of the size, and so do images' own sizes.
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
    size = f"{config.image_size}px"
    if config.image_tokens is not None:
        size = f"{config.image_tokens}tokens"
    elif config.image_size_mode == "processor":
        size = "own-sizes"
    return f"{stamp}-{model}-b{config.batch_size}-{size}-{tail}"


def stamp_of(time: datetime) -> str:
    """A time in UTC as names begin with it, sortable."""
    return time.strftime("%Y%m%dT%H%M%SZ")


def as_word(text: str) -> str:
    """A name as one word of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")
