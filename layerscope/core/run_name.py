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
    now = now or datetime.now(UTC)
    model = re.sub(r"[^A-Za-z0-9._]+", "-", config.model.rstrip("/").rsplit("/", 1)[-1]).strip("-.")
    extra = [config.dataset]
    if config.weights == "random":
        extra.append("random")
    if config.optimization != "eager":
        extra.append(config.optimization)
    extra.extend(without_alias(config.optimizations))
    tail = "-".join(extra)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    size = f"{config.image_size}px"
    if config.image_tokens is not None:
        size = f"{config.image_tokens}tokens"
    elif config.image_size_mode == "processor":
        size = "own-sizes"
    return f"{stamp}-{model}-b{config.batch_size}-{size}-{tail}"
