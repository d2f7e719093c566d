"""FLOPs of a language model that only decodes, and of the towers before it, from their configurations.

2 FLOP per multiply-accumulate; matrix products, attention over the full score matrix, and the patch
convolution, as the counters have it. n tokens of width h; heads of keys and values may be fewer than
those of queries (grouped-query attention, arXiv 2305.13245); the feed-forward of width f is gated, with
three matrices (arXiv 2002.05202).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from layerscope.models.closed_form import attention, product

if TYPE_CHECKING:
    from torch import nn


def language_parts(
    text: Any, *, rows: int, prompt: int, steps: int, angles: int = 0
) -> dict[str, int]:
    """FLOPs of the decoder and its head over a whole answer, by part.

    Args:
        text: its configuration.
        rows: sequences, which is samples times beams.
        prompt: positions of the first step, image tokens included.
        angles: position axes whose rotary angles are a matrix product; see `angles_by_product`.
    """
    h, f = text.hidden_size, text.intermediate_size
    head = getattr(text, "head_dim", None) or h // text.num_attention_heads
    wide, narrow = text.num_attention_heads * head, text.num_key_value_heads * head
    decoder = 0
    for step in range(steps):
        n, keys = (prompt, prompt) if step == 0 else (1, prompt + step)
        layer = product(n, h, wide) + 2 * product(n, h, narrow) + product(n, wide, h)
        layer += 3 * product(n, h, f) + attention(n, keys, wide)
        decoder += text.num_hidden_layers * layer + angles * product(head // 2, 1, n)
    return {"decoder": rows * decoder, "lm_head": rows * steps * product(1, h, text.vocab_size)}


def angles_by_product(rotary: nn.Module) -> bool:
    """Whether a rotary embedding's angles, frequencies by positions, come from a matrix product.

    They do in some versions of transformers; in others they come from a broadcast multiplication, which
    no counter of products sees.
    """
    return " @ " in inspect.getsource(type(rotary).forward)


def tower_flops(vision: Any, *, patches: int, tokens: int) -> int:
    """FLOPs of a plain vision transformer (CLIP's, SigLIP's) on one image.

    Args:
        tokens: that its layers see: the patches, and a class token where it has one.
    """
    h, f = vision.hidden_size, vision.intermediate_size
    layer = 4 * product(tokens, h, h) + 2 * product(tokens, h, f) + attention(tokens, tokens, h)
    convolution = product(patches, 3 * vision.patch_size**2, h)
    return convolution + int(vision.num_hidden_layers) * layer
