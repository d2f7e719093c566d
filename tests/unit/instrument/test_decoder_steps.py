"""Which call of a language model goes on from the one before, in a loop of the caller's own."""

from __future__ import annotations

import inspect
import weakref
from pathlib import Path

import pytest
import torch

import layerscope
from layerscope.instrument.decoder_steps import DecoderLoop
from tests.support.small_model import small_inputs, small_model


class Cache:
    def __init__(self, length: int | torch.Tensor) -> None:
        self.length = length

    def get_seq_length(self) -> int | torch.Tensor:
        return self.length


def ids(positions: int) -> torch.Tensor:
    return torch.ones(2, positions, dtype=torch.long)


def test_a_filled_cache_goes_on_and_an_empty_one_begins() -> None:
    loop = DecoderLoop()
    assert not loop.goes_on((), {"input_ids": ids(9), "past_key_values": Cache(0)})
    assert loop.goes_on((), {"input_ids": ids(1), "past_key_values": Cache(9)})
    assert loop.goes_on((), {"input_ids": ids(1), "cache": Cache(torch.tensor(10))})
    assert not loop.goes_on((), {"input_ids": ids(9), "past_key_values": Cache(0)})


def test_a_cache_whose_length_only_the_device_knows_is_known_again() -> None:
    loop, cache = DecoderLoop(), Cache(torch.empty((), device="meta"))
    assert not loop.goes_on((), {"input_ids": ids(9), "past_key_values": cache})
    assert loop.goes_on((), {"input_ids": ids(1), "past_key_values": cache})


class States:
    """A cache without positions, as state-space models have: it refuses the question."""

    def get_seq_length(self) -> int:
        raise ValueError("only attention layers have a length")


def test_a_cache_that_refuses_the_question_is_known_again_and_not_kept_alive() -> None:
    loop, states = DecoderLoop(), States()
    assert not loop.goes_on((), {"input_ids": ids(9), "cache_params": states})
    assert loop.goes_on((), {"input_ids": ids(1), "cache_params": states})
    gone = weakref.ref(states)
    del states
    assert gone() is None


def test_no_cache_outlives_its_loop() -> None:
    loop, cache = DecoderLoop(), Cache(9)
    assert loop.goes_on((), {"input_ids": ids(1), "past_key_values": cache})
    gone = weakref.ref(cache)
    del cache
    assert gone() is None


def test_without_a_cache_one_position_more_goes_on() -> None:
    loop = DecoderLoop()
    seen = [
        loop.goes_on((), {"inputs_embeds": ids(7), "decoder_input_ids": ids(n)}) for n in (1, 2, 3)
    ]
    assert seen == [False, True, True]
    assert not loop.goes_on((ids(3),), {})  # the same length: another sample's
    assert loop.goes_on((ids(4),), {})


@pytest.mark.parametrize("cached", [True, False])
def test_a_loop_of_ones_own_has_one_prefill_and_then_decodes(cached: bool, tmp_path: Path) -> None:
    model, inputs = small_model(tmp_path), small_inputs()
    known = inspect.signature(model.language_model.forward).parameters
    cache = "cache" if "cache" in known else "past_key_values"
    tokens = torch.zeros(2, 1, dtype=torch.long)
    with torch.no_grad(), layerscope.capture(model) as cap:
        for _ in range(2):  # two prompts
            out = model(**inputs, decoder_input_ids=tokens, use_cache=cached).language_model_outputs
            for length in (2, 3, 4):
                if cached:
                    out = model.language_model(
                        encoder_outputs=(out.encoder_last_hidden_state,),
                        decoder_input_ids=tokens,
                        **{cache: out[cache]},
                        use_cache=True,
                    )
                else:
                    model(**inputs, decoder_input_ids=tokens.expand(2, 1).repeat(1, length))
    cap.table.check()
    calls = {r.phase: r.calls for r in cap.table.rows if r.layer == "language_model.decoder"}
    assert calls == {"prefill": 2, "decode": 6}
