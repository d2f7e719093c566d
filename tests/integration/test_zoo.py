"""Models of the shared zoo, captured: ways to generate, loops of one's own, wrappers.

Every family's phases, steps, outputs and saved account are `test_families.py`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.by_path import module_at
from support.shared import SHARED

import layerscope
from layerscope.models.roles import roles_of

Built = tuple[torch.nn.Module, dict[str, Any]]
NEW_TOKENS = 5
# Not for generate(): one call of the model.
NOT_GENERATING = {"vit_cls": {"forward"}, "clip": {"vision", "encoder", "projection", "other"}}


def zoo() -> dict[str, Callable[[], Built]]:
    path = SHARED / "cases" / "zoo.py"
    if not path.exists():
        return {}
    found: dict[str, Callable[[], Built]] = module_at(path).ZOO
    return found


ZOO = zoo()


def run(model: Any, inputs: dict[str, Any], name: str) -> Any:
    with torch.no_grad():
        if name in NOT_GENERATING:
            return model(**inputs)[0]
        return model.generate(
            **inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False
        )


def steps_of(model: Any, inputs: dict[str, Any], **how: Any) -> Counter[str]:
    with torch.no_grad(), layerscope.capture(model) as window:
        model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, **{"do_sample": False, **how})
    window.table.check()
    return Counter(step.phase for step in window.account.steps)


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "plain_llama", "plain_t5"])
# Its name until transformers 5.40, and the only one in 5.17.
@pytest.mark.filterwarnings("ignore:`past_key_values` is deprecated:FutureWarning")
def test_a_loop_of_ones_own(name: str) -> None:
    """Two prompts, one after the other: each has a prefill and three later steps."""
    model, inputs = ZOO[name]()
    with torch.no_grad(), layerscope.capture(model) as window:
        for _ in range(2):
            by_hand(model, inputs)
    window.table.check()
    phases = [step.phase for step in window.account.steps]
    assert phases == ["prefill", "decode", "decode", "decode"] * 2


def by_hand(model: Any, inputs: dict[str, Any]) -> None:
    text = "decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"
    given = dict(inputs)
    if text == "decoder_input_ids":
        given[text] = torch.zeros((2, 1), dtype=torch.long)
    out = model(**given, use_cache=True)
    for _ in range(3):
        token = out.logits[:, -1:].argmax(-1)
        later = {text: token, "past_key_values": out.past_key_values, "use_cache": True}
        if text == "decoder_input_ids":
            later["encoder_outputs"] = (out.encoder_last_hidden_state,)
        out = model(**later)


def test_a_state_space_model_runs_as_it_does_alone() -> None:
    """Its cache counts no positions; looking at it must not end the program."""
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, state_size=4,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = MambaForCausalLM(config).eval()
    assert steps_of(model, {"input_ids": torch.tensor([[5, 6, 7]])}) == {"prefill": 1, "decode": 4}


def test_a_head_beside_the_decoder_is_no_projection() -> None:
    """BLIP's lies in the text decoder and says nothing of itself."""
    from transformers import BlipConfig, BlipForConditionalGeneration

    torch.manual_seed(0)
    small = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {"vocab_size": 100, "encoder_hidden_size": 48, "bos_token_id": 1, "eos_token_id": 2,
            "sep_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 64}  # fmt: skip
    vision = {"image_size": 32, "patch_size": 16}
    model = BlipForConditionalGeneration(
        BlipConfig(vision_config=small | vision, text_config=small | text)
    ).eval()
    assert roles_of(model) == {
        "vision_model": "vision",
        "text_decoder.bert": "decoder",
        "text_decoder.cls": "head",
    }
    inputs = {"pixel_values": torch.randn(1, 3, 32, 32), "input_ids": torch.tensor([[1, 5, 6]])}
    assert steps_of(model, inputs) == {"prefill": 1, "decode": 4}


class Around(torch.nn.Module):
    """A wrapper of someone's own that passes unknown names on, as PEFT's does."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner(*args, **kwargs)


@pytest.mark.skipif(not ZOO, reason="needs cases/zoo.py in ../shared")
def test_a_wrapper_changes_no_role() -> None:
    model, _ = ZOO["llava"]()
    plain, wrapped = roles_of(model), roles_of(Around(model))
    assert plain == {
        "model.vision_tower": "vision",
        "model.multi_modal_projector": "projection",
        "model.language_model": "decoder",
        "lm_head": "head",
    }
    assert wrapped == {f"inner.{fqn}": role for fqn, role in plain.items()}
