"""A resolved configuration in; its model, loaded, and the configuration that fits it, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from layerscope.config.resolve import Resolved
from layerscope.core.errors import UsageError
from layerscope.core.progress import Progress
from layerscope.models.image_sizes import fixed_side
from layerscope.models.readers import reads_text_twice
from layerscope.records import RunConfig
from layerscope.workload.model import LoadedModel, checkpoint_dtype, load_model

Announce = Callable[[str], None]
Load = Callable[[RunConfig, Announce], LoadedModel]


@dataclass(frozen=True)
class Ready:
    """A loaded model, the configuration it runs with, and the choices that led to it.

    `planned` holds what the plan had in fields of the configuration that the model decided.
    """

    model: LoadedModel
    config: RunConfig
    choices: tuple[str, ...]
    planned: dict[str, int | str] = field(default_factory=dict)


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
    config, decided, planned = _in_own_dtype(resolved)
    with progress.task(f"load {config.model}", 1, ticks=True) as advance:
        loaded = load(config, announce)
        advance(1)
    side = _only_side(config, loaded, resolved.given)
    choices = (*decided, *loaded.choices)
    if side is not None:
        planned["image_size"] = config.image_size
        config = dataclasses.replace(config, image_size=side)
        kind = type(loaded.model).__name__
        choices = (*choices, f"image size {side} px: the only one that {kind} takes")
    if not loaded.record.trained and config.min_new_tokens != config.max_new_tokens:
        # Untrained weights end anywhere: with a forced length, runs stay comparable.
        config = dataclasses.replace(config, min_new_tokens=config.max_new_tokens)
        why = f"{config.max_new_tokens} new tokens forced: the weights are not trained"
        choices = (*choices, why)
    return Ready(loaded, config, choices, planned)


def _in_own_dtype(resolved: Resolved) -> tuple[RunConfig, tuple[str, ...], dict[str, int | str]]:
    """The configuration with the dtype that the checkpoint is stored in, where the user named none.

    On a CPU it stays fp32: half precision is slow there.
    """
    config = resolved.config
    if config.device != "cuda" or "dtype" in resolved.given:
        return config, resolved.choices, {}
    dtype = checkpoint_dtype(config)
    if dtype is None or dtype == config.dtype:
        return config, resolved.choices, {}
    others = [choice for choice in resolved.choices if not choice.startswith("dtype ")]
    choices = (*others, f"dtype {dtype}: what the checkpoint is stored in")
    return dataclasses.replace(config, dtype=dtype), choices, {"dtype": config.dtype}


def _only_side(config: RunConfig, loaded: LoadedModel, given: frozenset[str]) -> int | None:
    """The side in pixels that the model takes alone; None where it takes the one that is planned.

    Raises:
        UsageError: another one was asked for.
    """
    model = loaded.model
    if reads_text_twice(model) or config.image_size_mode == "source":
        return None
    side = fixed_side(model)
    if side is None or side == config.image_size:
        return None
    if "image_size" in given:
        raise UsageError(
            f"--image-size {config.image_size}: {type(model).__name__} takes images of {side} px alone."
        )
    return side
