"""The XL architecture on the meta device: every shape is real, no weight exists."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from layerscope.measure.flops import count_work
from layerscope.models.families.instructblip.closed_form import (
    INSTRUCTBLIP_FLAN_T5_XL,
    Workload,
    closed_form,
)
from layerscope.models.families.instructblip.sizes import architecture_of
from layerscope.records.work import CountedWork
from layerscope.work.floor import floor_of
from layerscope.work.rates import Rates

TEXT, Q_TEXT, QUERIES, STEPS = 200, 200, 32, 2
META = torch.device("meta")


def _ids(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, dtype=torch.long, device=META)


def _parts_of_generate(model: Any, batch: int) -> None:
    """What generate() runs, driven by hand: sampling reads values, which meta tensors lack."""
    pixels = torch.empty(batch, 3, 224, 224, device=META, dtype=torch.float16)
    image = model.vision_model(pixel_values=pixels).last_hidden_state
    queries = model.qformer(
        input_ids=_ids(batch, Q_TEXT),
        query_embeds=model.query_tokens.expand(batch, -1, -1),
        encoder_hidden_states=image,
    )[0][:, :QUERIES]
    model.language_projection(queries)
    language = model.language_model
    prompt = model.get_input_embeddings()(_ids(batch, QUERIES + TEXT))
    encoded = language.encoder(inputs_embeds=prompt)
    # transformers renamed the argument in 5.24 and warns of the older name.
    name = (
        "cache" if "cache" in inspect.signature(language.forward).parameters else "past_key_values"
    )
    cache = None
    for _ in range(STEPS):
        step = language(
            decoder_input_ids=_ids(batch, 1),
            encoder_outputs=encoded,
            use_cache=True,
            **{name: cache},
        )
        cache = getattr(step, name)


@pytest.fixture(scope="module")
def xl() -> Any:
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration

    text = {
        "model_type": "t5",
        "d_model": 2048,
        "d_kv": 64,
        "d_ff": 5120,
        "num_heads": 32,
        "num_layers": 24,
        "feed_forward_proj": "gated-gelu",
        "vocab_size": 32128,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
    }
    with META:
        model = InstructBlipForConditionalGeneration(InstructBlipConfig(text_config=text))
    return model.eval().half()


@pytest.fixture(scope="module")
def work(xl: Any) -> CountedWork:
    with torch.no_grad():
        return count_work(xl, lambda: _parts_of_generate(xl, 1))


def test_every_part_equals_the_closed_form_to_the_last_digit(xl: Any, work: CountedWork) -> None:
    assert architecture_of(xl) == INSTRUCTBLIP_FLAN_T5_XL
    form = closed_form(
        INSTRUCTBLIP_FLAN_T5_XL,
        Workload(
            batch=1,
            image_size=224,
            prompt_length=QUERIES + TEXT,
            qformer_text=Q_TEXT,
            decoder_steps=STEPS,
        ),
    )
    found: dict[str, int] = {}
    for part in work.parts:
        found[part.part] = found.get(part.part, 0) + part.flops
    assert {**form.parts(), "other": 0} == {"other": 0, **found}
    assert work.flops == form.total
    assert found["vision"] == 520_719_260_160
    convolution = work.of("vision_model.embeddings.patch_embedding", "vision")
    assert convolution is not None
    assert convolution.flops == 423_886_848
    # Without a fused kernel on meta, attention itself runs through the math path, in fp32.
    in_fp32 = {r.layer.rpartition(".")[2] for r in work.rows if "float32" in r.flops_by_dtype}
    assert in_fp32 == {"self_attn", "SelfAttention", "EncDecAttention", "attention"}


@pytest.mark.parametrize(("batch", "floor_ms", "additive_ms"), [(1, 15.0, 16.3), (16, 40.6, 43.5)])
def test_floor_of_a_run_at_the_rates_of_an_h200(
    xl: Any, work: CountedWork, batch: int, floor_ms: float, additive_ms: float
) -> None:
    """20 steps: the second counted one stands for the 19 later ones (the cache grows by 0.1 %)."""
    if batch > 1:
        with torch.no_grad():
            work = count_work(xl, lambda: _parts_of_generate(xl, batch))
    later = [part for part in work.parts if part.step == 2]
    floor = floor_of(
        [*work.parts, *later * 18],
        Rates(flops_per_s={"float16": 790e12, "float32": 790e12}, bytes_per_s=4.3e12),
    )
    assert floor.floor_ns is not None
    assert floor.additive_ns is not None
    assert floor.floor_ns / 1e6 == pytest.approx(floor_ms, rel=0.01)
    assert floor.additive_ns / 1e6 == pytest.approx(additive_ms, rel=0.01)


def test_floor_bytes_are_the_weights_and_the_cache(work: CountedWork) -> None:
    parts = {(p.part, p.step): p for p in work.parts}
    layers, wide, d_ff, heads = 24, 2048, 5120, 32
    self_and_cross_query = 6 * wide * wide
    per_layer = self_and_cross_query + 3 * wide * d_ff + 3 * wide  # three norms
    lookups = wide + 2 * heads  # one row of the embedding; rows of the position bias, two keys
    weights = 2 * (layers * per_layer + wide + lookups)
    assert parts["decoder", 2].weight_bytes == weights
    cross = 2 * layers * 2 * (QUERIES + TEXT) * wide
    own = 2 * layers * 2 * 1 * wide
    extra = parts["decoder", 2].input_bytes - cross - own
    assert 0 <= extra < 4096  # the token's id and positions
    assert parts["lm_head", 2].weight_bytes == 2 * wide * 32128
