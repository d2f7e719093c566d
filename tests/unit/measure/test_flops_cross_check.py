"""The four ways of counting agree on real small models, and disagree where they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from unit.measure.tiny_models import generate, inputs, instructblip

from layerscope.measure.flops import count_work
from layerscope.measure.flops.cross_check import cross_check
from layerscope.models.families.instructblip.closed_form import INSTRUCTBLIP_FLAN_T5_XL
from layerscope.models.families.instructblip.sizes import architecture_of
from layerscope.records.work import Check


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_every_check_is_equal_to_the_last_digit(attention: str) -> None:
    model = instructblip(attention=attention)
    given = inputs(batch=2)
    checks = cross_check(model, lambda: generate(model, given, 4))
    assert [check.name for check in checks] == [
        "sum over layers",
        "torch FlopCounterMode",
        "closed form",
        "fvcore x 2, vision_model",
        "fvcore x 2, qformer",
        "fvcore x 2, language_model.encoder",
        "fvcore x 2, language_model",
    ]
    for check in checks:
        assert check.ran, check
        assert check.difference == 0, check
        assert not check.unequal, check
        assert check.ours, check
    by_fvcore = [check for check in checks if check.name.startswith("fvcore")]
    assert sum(check.compared for check in by_fvcore) > 100
    assert all("not supported by fvcore: aten::" in " ".join(c.notes) for c in by_fvcore)
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_fp32_islands_are_booked_under_their_dtype() -> None:
    """The dtypes a checkpoint has when it is loaded in half precision: T5's `wo` stays fp32."""
    model = instructblip().to(torch.bfloat16)
    for name, module in model.named_modules():
        if name.endswith(".wo"):
            module.float()
    given = inputs(batch=2)
    given["pixel_values"] = given["pixel_values"].to(torch.bfloat16)
    work = count_work(model, lambda: generate(model, given, 3))
    in_fp32 = {row.layer for row in work.rows if "float32" in row.flops_by_dtype}
    assert in_fp32 == {name for name, _ in model.named_modules() if name.endswith(".wo")}
    checks = cross_check(model, lambda: generate(model, given, 3), work=work)
    assert [(check.ran, check.failed) for check in checks] == [(True, False)] * 7, checks
    encoder = next(part for part in work.parts if part.part == "encoder")
    wo = sum(p.numel() for n, p in model.named_parameters() if "encoder" in n and ".wo." in n)
    assert encoder.weight_bytes_by_dtype["float32"] == 4 * wo


def test_closed_form_follows_the_beams() -> None:
    model = instructblip()
    given = inputs()

    def run() -> object:
        return model.generate(**given, max_new_tokens=3, min_new_tokens=3, num_beams=2)

    check = cross_check(model, run, with_fvcore=False)[2]
    assert check.ran
    assert check.difference == 0, check


def test_a_difference_is_a_failed_check() -> None:
    model = instructblip()
    given = inputs()
    work = count_work(model, lambda: generate(model, given, 2))
    assert work.flops is not None
    assert work.flops_as_torch == work.flops
    less = replace(work, rows=work.rows[1:-1], flops=work.flops - 2, flops_as_torch=work.flops - 2)
    rows, against_torch, form = cross_check(
        model, lambda: generate(model, given, 2), work=less, with_fvcore=False
    )
    assert rows.failed
    assert against_torch.difference == -2
    assert form.failed


def test_an_unknown_model_is_checked_where_it_can_be() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(6), nn.Linear(6, 5))
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        checks = cross_check(net, lambda: net(x), root="forward")
    found = {check.name: check for check in checks}
    assert "InstructBLIP" in found["closed form"].reason
    assert not found["closed form"].failed
    expected = 2 * 4 * 36 * 27 + 2 * 4 * 6 * 6 * 5
    for name in ("torch FlopCounterMode", "fvcore x 2, model"):
        assert (found[name].ours, found[name].theirs) == (expected, expected)


def test_what_fvcore_cannot_trace_is_absent_with_the_reason() -> None:
    class Untraceable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.jit.is_tracing():
                raise RuntimeError("cannot trace this")
            return x @ x

    net = Untraceable()
    with torch.no_grad():
        check = cross_check(net, lambda: net(torch.ones(2, 2)), root="forward")[-1]
    assert (check.ours, check.theirs) == (None, None)
    assert "cannot trace this" in check.reason
    assert not check.failed


def test_equal_sums_over_unequal_modules_fail() -> None:
    assert Check(name="x", ours=4, theirs=4, compared=2, unequal=("a: ours 1, theirs 2",)).failed
    assert not Check(name="x", ours=4, theirs=4).failed


def test_xl_architecture_is_the_config_of_the_published_model() -> None:
    from transformers import InstructBlipConfig

    # InstructBlipConfig's defaults are EVA-ViT-g and the Q-Former of the published checkpoints.
    text = {
        "model_type": "t5",
        "d_model": 2048,
        "d_kv": 64,
        "d_ff": 5120,
        "num_heads": 32,
        "num_layers": 24,
        "feed_forward_proj": "gated-gelu",
        "vocab_size": 32128,
    }
    stand_in = nn.Module()
    stand_in.config = InstructBlipConfig(text_config=text)
    assert architecture_of(stand_in) == INSTRUCTBLIP_FLAN_T5_XL
