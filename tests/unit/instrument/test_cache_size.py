"""The KV cache's size against arithmetic on paper."""

from __future__ import annotations

import torch
from transformers import T5Config, T5ForConditionalGeneration

from layerscope.instrument.cache_size import CacheSize


def test_a_t5_cache_is_what_its_sizes_say() -> None:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=30, d_model=16, d_kv=4, d_ff=32, num_layers=3, num_decoder_layers=3, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    prompt = torch.ones(5, 7, dtype=torch.int64)
    with CacheSize(model) as cache, torch.no_grad():
        model.generate(prompt, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    # 3 layers x (keys and values) x batch 5 x 2 heads x 4 wide x (4 steps + 7 prompt) x 4 bytes.
    assert cache.bytes == 3 * 2 * 5 * 2 * 4 * (4 + 7) * 4
    assert not model._forward_hooks


def test_a_model_without_a_cache_has_none() -> None:
    model = torch.nn.Linear(2, 2)
    with CacheSize(model) as cache:
        model(torch.ones(1, 2))
    assert cache.bytes is None
