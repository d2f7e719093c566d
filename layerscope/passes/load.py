"""A resolved configuration in; its model, loaded, and the configuration that fits it, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from layerscope.config.resolve import Resolved
from layerscope.core.errors import UsageError
from layerscope.core.progress import Progress
from layerscope.models.image_inputs import fixed_side
from layerscope.models.two_readers import reads_text_twice
from layerscope.records import RunConfig
from layerscope.workload.batching import RANDOM_DATASET
from layerscope.workload.model import LoadedModel, load_model

Announce = Callable[[str], None]
Load = Callable[[RunConfig, Announce], LoadedModel]


@dataclass(frozen=True)
class Ready:
    """A loaded model, the configuration it runs with, and the choices that led to it."""

    model: LoadedModel
    config: RunConfig
    choices: tuple[str, ...]


def load_for(
    resolved: Resolved,
    progress: Progress,
    announce: Announce,
    load: Load = load_model,
) -> Ready:
    """Load the model; where its weights are not trained, force the length of its output.

    Args:
        load: yields the model; a sweep gives one that keeps it from run to run.

    Raises:
        ModelError: the model cannot be loaded, or cannot take the inputs asked for.
        EnvironmentProblem: no such device, too little memory or disk, no way to the hub.
    """
    config = resolved.config
    with progress.task(f"load {config.model}", 1) as advance:
        loaded = load(config, announce)
        advance(1)
    config, sized = _sized(config, loaded, resolved.given)
    choices = (*resolved.choices, *loaded.choices, *sized)
    if loaded.record.trained or config.min_new_tokens == config.max_new_tokens:
        return Ready(loaded, config, choices)
    # Untrained weights end anywhere: with a forced length, runs stay comparable.
    forced = dataclasses.replace(config, min_new_tokens=config.max_new_tokens)
    why = f"{config.max_new_tokens} new tokens forced: the weights are not trained"
    return Ready(loaded, forced, (*choices, why))


def _sized(
    config: RunConfig, loaded: LoadedModel, given: frozenset[str]
) -> tuple[RunConfig, tuple[str, ...]]:
    """The size that the model sees, where the model alone says it, or its processor.

    Raises:
        UsageError: another one was asked for.
    """
    model: Any = loaded.model
    if reads_text_twice(model):
        return config, ()
    asked = given & {"image_size", "image_tokens", "image_size_mode"}
    if loaded.processor is not None and config.dataset != RANDOM_DATASET and not asked:
        config = dataclasses.replace(config, image_size_mode="processor")
        return config, ("image size: each image as the processor sizes it (--image-size sets one)",)
    side = fixed_side(model)
    if side is None or config.image_size == side or config.image_size_mode != "model":
        return config, ()
    if "image_size" in given:
        raise UsageError(
            f"--image-size {config.image_size}: {type(model).__name__} takes images of {side} px alone."
        )
    return dataclasses.replace(config, image_size=side), (
        f"image size {side} px: the only one that {type(model).__name__} takes",
    )
