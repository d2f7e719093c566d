"""InstructBLIP by its module names: the roles in traces that say none, and the calls of its structure.

A model that is there says its roles itself: `models.roles`. BLIP-2 goes by the same names, and with a T5
its modules are called as often.
"""

from __future__ import annotations

import re

from layerscope.core.families import Demand
from layerscope.core.roles import Roles

MODULES = ("vision_model", "qformer", "language_model")
ROLES: Roles = {
    "vision_model": "vision",
    "qformer": "qformer",
    "language_projection": "projection",
    "language_model.shared": "encoder",  # it embeds the prompt
    "language_model.encoder": "encoder",
    "language_model.decoder": "decoder",
    "language_model.model": "decoder",  # of a language model without encoder
    "language_model.lm_head": "head",
}
# The calls below are a T5's: other language models are not described.
DESCRIBED = "language_model.encoder"

# Containers that hold modules and are never called themselves.
_CONTAINERS = frozenset({"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
# A T5 stack drops out its input and its output with the one module.
_STACK_DROPOUT = re.compile(r"^language_model\.(encoder|decoder)\.dropout$")
_CROSS_ATTENTION_CACHED = re.compile(r"\.EncDecAttention\.[kv](\.|$)")
_OF_A_STEP = re.compile(r"^language_model(\.decoder|\.lm_head|$)")


def demanded(fqn: str, cls: str) -> Demand:
    """How often a module is called by eager `generate()`.

    The vision tower, the Q-Former, the projection and the T5 encoder run once a batch, the decoder
    and `lm_head` once a step, the cross-attention's keys and values once a batch because the cache
    keeps them. The vision tower normalises twice with one module: all tokens, then the pooled one.
    """
    if cls in _CONTAINERS or fqn == "language_model.encoder.embed_tokens":
        return Demand()  # the encoder is given embeddings in which the image's tokens already stand
    if fqn == "vision_model.post_layernorm":
        return Demand(a_batch=2)
    times = 2 if _STACK_DROPOUT.search(fqn) else 1
    if _OF_A_STEP.search(fqn) and not _CROSS_ATTENTION_CACHED.search(fqn):
        return Demand(a_step=times)
    return Demand(a_batch=times)
