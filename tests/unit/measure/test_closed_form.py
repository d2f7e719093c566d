"""The closed form against known totals and against arithmetic small enough to do by hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from layerscope.models.families.instructblip.closed_form import (
    INSTRUCTBLIP_FLAN_T5_XL,
    Architecture,
    Workload,
    closed_form,
)

XL_WORK = Workload(batch=1, image_size=224, prompt_length=232, qformer_text=200, decoder_steps=20)


def test_xl_equals_what_torch_counted_on_a_gpu() -> None:
    form = closed_form(INSTRUCTBLIP_FLAN_T5_XL, XL_WORK)
    assert form.total == 1_268_568_840_704
    assert form.vision == 520_719_260_160
    assert form.patch_convolution == 423_886_848
    assert [round(value / 1e12, 4) for value in form.parts().values()] == [
        0.5207,
        0.0487,
        0.0001,
        0.5477,
        0.1487,
        0.0026,
    ]


@given(batch=st.integers(1, 64), beams=st.integers(1, 4))
def test_work_is_proportional_to_the_batch_and_decoding_to_the_beams(
    batch: int, beams: int
) -> None:
    one = closed_form(INSTRUCTBLIP_FLAN_T5_XL, XL_WORK)
    many = closed_form(INSTRUCTBLIP_FLAN_T5_XL, replace(XL_WORK, batch=batch, beams=beams))
    assert many.vision == batch * one.vision
    assert many.encoder == batch * one.encoder
    assert many.decoder == batch * beams * one.decoder
    assert many.lm_head == batch * beams * one.lm_head


def test_a_model_of_ones() -> None:
    """Every width 1, one layer, two patches a side, one query: each product is 2 x its rows."""
    ones = Architecture(
        patch=1,
        vision_hidden=1,
        vision_ffn=1,
        vision_layers=1,
        query_tokens=1,
        qformer_hidden=1,
        qformer_ffn=1,
        qformer_layers=1,
        qformer_cross_every=1,
        d_model=1,
        inner=1,
        d_ff=1,
        gated=False,
        encoder_layers=1,
        decoder_layers=1,
        vocabulary=1,
        channels=1,
    )
    work = Workload(batch=1, image_size=2, prompt_length=3, qformer_text=1, decoder_steps=2)
    form = closed_form(ones, work)
    assert form.patch_convolution == 2 * 4
    # 5 tokens: qkv 30, scores and sum 2 x 2 x 25, projection 10, MLP 20.
    assert form.vision == 8 + 30 + 100 + 10 + 20
    # 2 tokens: four products 16, attention 16, feed-forward 8; cross: 4 + 20 + 4 x 5.
    assert form.qformer == 16 + 16 + 8 + 4 + 20 + 20
    assert form.projection == 2
    assert form.encoder == 4 * 6 + 4 * 9 + 2 * 6
    step_1 = 4 * 2 + 4 * 1 + 2 * 2 + 4 * 3 + 2 * 6 + 2 * 2
    step_2 = 4 * 2 + 4 * 2 + 2 * 2 + 4 * 3 + 2 * 2
    assert form.prefill == step_1
    assert form.decoder == step_1 + step_2
    assert form.lm_head == 2 * 2
    gated = closed_form(replace(ones, gated=True), work)
    assert gated.encoder - form.encoder == 2 * 3


def test_without_a_decoder_step_nothing_is_decoded() -> None:
    form = closed_form(INSTRUCTBLIP_FLAN_T5_XL, replace(XL_WORK, decoder_steps=0))
    assert (form.decoder, form.prefill, form.lm_head) == (0, 0, 0)
    assert form.encoder > 0
