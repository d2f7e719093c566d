"""Parts that inductor compiled, with a static cache, captured and replayed as in the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_model import small_inputs, small_model

from layerscope.config.resolve import resolve
from layerscope.measure.replay.held_unit import HeldUnit, Stage, capture_units
from layerscope.records.layer_energy import ReplayUnit
from layerscope.workload.compiled import CompiledParts
from layerscope.workload.generation import Generator

pytestmark = pytest.mark.slow
STEPS = 4
LANGUAGE = "language_model"
PARTS = ("vision_model", "qformer", "language_model.encoder", LANGUAGE)


def unit(part: str, *numbers: int) -> ReplayUnit:
    return ReplayUnit(
        name=f"{part} {numbers}", kind=part, phase="p", layers=(part,), calls=len(numbers),
        replayed=numbers,
    )  # fmt: skip


def test_every_compiled_part_and_step_is_replayed_and_computes_what_it_did(tmp_path: Path) -> None:
    model: Any = small_model(tmp_path).eval()
    given = {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "optimization": "compile", "max_new_tokens": STEPS, "min_new_tokens": STEPS,
    }  # fmt: skip
    generate = Generator(model, resolve(given, cuda=False).config)
    units = [unit(part, 0) for part in PARTS] + [unit(LANGUAGE, 1, 2, 3)]
    with CompiledParts(model, "compile") as parts, torch.no_grad():
        with parts.warming_up():
            for _ in range(2):
                generate(small_inputs())
        seen: list[torch.Tensor] = []
        language = model.get_submodule(LANGUAGE)
        call = language._compiled_call_impl

        def noting(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            seen.append(output.logits.clone())
            return output

        language._compiled_call_impl = noting  # a hook would be a reason to compile anew
        captured = capture_units(units, model, lambda: generate(small_inputs()), 1 << 30)
        in_run = list(seen)
        assert len(in_run) == STEPS
        stage = Stage(
            model=model, device="cpu", generate=lambda: generate(small_inputs()),
            captured=captured, budget_bytes=1 << 30, compiled=frozenset(PARTS),
        )  # fmt: skip
        for item in units:
            player, inputs = HeldUnit(item, stage).player()
            assert "held on the device" in inputs
            seen.clear()
            player.run(2)
            if item.layers == (LANGUAGE,):
                expected = [in_run[number] for number in item.replayed] * 2
                for found, wanted in zip(seen, expected, strict=True):
                    torch.testing.assert_close(found, wanted)
        assert all(part.later_graphs == part.fallbacks == 0 for part in parts.counts())
