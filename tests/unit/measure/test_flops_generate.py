"""A real generate() with KV cache: phases, decoder steps, cache bytes and torch's own total."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from unit.measure.tiny_models import SIZES, generate, inputs, instructblip

from layerscope.measure.flops import count_work
from layerscope.measure.flops.formulas import extra_formulas
from layerscope.records.work import CountedWork

TEXT, Q_TEXT, STEPS, BATCH = 6, 5, 4, 2
S = SIZES
INNER = S.heads * S.d_kv
ENCODED = S.queries + TEXT


@pytest.fixture(scope="module")
def model() -> nn.Module:
    built = instructblip()
    assert isinstance(built, nn.Module)
    return built


@pytest.fixture(scope="module")
def work(model: nn.Module) -> CountedWork:
    given = inputs(batch=BATCH, text=TEXT, q_text=Q_TEXT)
    return count_work(model, lambda: generate(model, given, STEPS))


def torch_total(run: object) -> int:
    mapping = {
        op: lambda q, k, v, *_, out_shape=None, **__: sdpa_flop_count(q, k, v)
        for op in extra_formulas()
    }
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        run()  # type: ignore[operator]
    return counter.get_total_flops()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_total_equals_torch_to_the_last_digit(attention: str) -> None:
    net = instructblip(attention=attention)
    given = inputs(batch=BATCH)
    counted = count_work(net, lambda: generate(net, given, 3))
    assert counted.flops == torch_total(lambda: generate(net, given, 3)) > 0
    assert sum(row.flops for row in counted.rows) == counted.flops
    assert sum(row.bytes_self for row in counted.rows) == counted.bytes_moved


def test_phases_and_steps(work: CountedWork) -> None:
    assert work.decoder_steps == STEPS
    by_phase = {row.phase for row in work.rows}
    assert by_phase == {
        "vision",
        "qformer",
        "projection",
        "encoder",
        "prefill",
        "decode",
        "other",
    }
    assert [r.phase for r in work.rows if r.layer == "generate"] == ["other"]
    head = {r.phase: (r.calls, r.flops) for r in work.rows if r.layer == "language_model.lm_head"}
    once = 2 * BATCH * S.d_model * S.vocab
    assert head == {"prefill": (1, once), "decode": (STEPS - 1, (STEPS - 1) * once)}
    shared = work.of("language_model.shared", "encoder")
    assert shared is not None
    assert shared.calls >= 1


def test_patch_convolution_by_hand(work: CountedWork) -> None:
    row = work.of("vision_model.embeddings.patch_embedding", "vision")
    assert row is not None
    assert row.flops == 2 * BATCH * S.patches * S.hidden * 3 * S.patch**2


def test_decode_step_with_cache_by_hand(work: CountedWork) -> None:
    """Step 3 attends over 3 cached self keys and all encoded keys; cross keys come from the cache."""
    parts = {(p.part, p.step): p for p in work.parts}
    linear = 4 * S.d_model * INNER + 2 * S.d_model * INNER + 3 * S.d_model * S.d_ff
    scores = 2 * INNER * 3 + 2 * INNER * ENCODED
    assert parts["decoder", 3].flops == 2 * BATCH * S.t5_layers * (linear + scores)
    prefill_only = 2 * S.d_model * INNER * ENCODED  # cross keys and values, once
    scores = 2 * INNER * 1 + 2 * INNER * ENCODED
    per_layer = linear + prefill_only + scores
    assert parts["decoder", 1].flops == 2 * BATCH * S.t5_layers * per_layer


def test_floor_bytes_of_a_decode_step_grow_by_one_token_of_cache(work: CountedWork) -> None:
    parts = {(p.part, p.step): p for p in work.parts}
    token = 4 * BATCH * INNER * 2 * S.t5_layers  # fp32 keys and values of every layer
    assert parts["decoder", 4].input_bytes - parts["decoder", 3].input_bytes == token
    assert parts["decoder", 3].input_bytes >= token * (2 + ENCODED)
    assert parts["decoder", 3].input_bytes < token * (2 + ENCODED + 1)
    # Cross keys and values are projected in the first step only.
    unused = 4 * S.t5_layers * 2 * S.d_model * INNER
    # Tables are read by row: two more of the position bias, and in the first step all samples have
    # the one start token, later a token each.
    rows = 4 * (2 * S.heads + (BATCH - 1) * S.d_model)
    assert parts["decoder", 1].weight_bytes - parts["decoder", 3].weight_bytes == unused - rows


def test_lm_head_floor_is_its_weight_and_one_hidden_state(work: CountedWork) -> None:
    part = next(p for p in work.parts if (p.part, p.step) == ("lm_head", 2))
    assert part.weight_bytes == 4 * S.d_model * S.vocab
    assert part.input_bytes == 4 * BATCH * S.d_model


def test_memory_is_at_least_the_weights(model: nn.Module, work: CountedWork) -> None:
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    assert work.memory_peak_bytes is not None
    assert work.memory_peak_bytes > weights
    peaks = [row.memory_peak_bytes for row in work.rows]
    assert all(p is not None and weights <= p <= work.memory_peak_bytes for p in peaks)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_unknown_model_has_the_single_phase_forward() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    counted = count_work(net, lambda: net(torch.ones(2, 3)), root="forward")
    assert [(r.layer, r.phase, r.calls) for r in counted.rows] == [
        ("forward", "forward", 1),
        ("0", "forward", 1),
        ("1", "forward", 1),
    ]
    twice = count_work(net, lambda: [net(torch.ones(2, 3)) for _ in range(2)])
    assert [(p.part, p.step) for p in twice.parts] == [("forward", 1), ("forward", 2)]
    assert {p.weight_bytes for p in twice.parts} == {4 * (9 + 3)}
