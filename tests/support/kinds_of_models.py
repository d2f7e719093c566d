"""A small model of each kind in `architectures`, its random inputs, and generators of few tokens."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from transformers import CONFIG_MAPPING

from layerscope.config.resolve import resolve
from layerscope.models.image_sizes import fixed_side
from layerscope.records import RunConfig
from layerscope.workload.architecture import Architecture, build
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.generation import Generator
from layerscope.workload.multimodal_batching import batches_for
from support.architectures import ARCHITECTURES

NEW_TOKENS = 5


def config_of(optimization: str, **more: Any) -> RunConfig:
    """Two samples of random pixels and twelve tokens, on the CPU."""
    given = {
        "model": "any", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "batch_size": 2, "samples": 2, "max_input_len": 12, "max_new_tokens": NEW_TOKENS,
        "min_new_tokens": NEW_TOKENS, "optimization": optimization, **more,
    }  # fmt: skip
    return resolve(given, cuda=False).config


def built(name: str, layers: int | None = None) -> tuple[Any, dict[str, torch.Tensor]]:
    """The model, seeded, and the inputs of one batch.

    Args:
        layers: of its tower and of its language model; None leaves them as they are.
    """
    raw: Any = copy.deepcopy(ARCHITECTURES[name])
    if layers is not None:
        for part in ("vision_config", "text_config"):
            raw[part]["num_hidden_layers"] = layers
    config = CONFIG_MAPPING[raw["model_type"]].from_dict(raw)
    model = build(
        Architecture(name, config, separate_head=False),
        dtype=torch.float32,
        layout="from_pretrained",
        attention=None if name == "paligemma2" else "sdpa",  # Gemma 2 has none
        device="cpu",
        seed=0,
    )
    run = config_of("eager")
    side = fixed_side(model)
    run = run if side is None else dataclasses.replace(run, image_size=side)
    samples = list(open_samples(run).samples(2))
    return model, batches_for(run, model, None).prepare(samples, 0).inputs


def generator(model: Any, optimization: str, **more: Any) -> Generator:
    """Greedy unless beams are asked for."""
    return Generator(model, config_of(optimization, **more))
