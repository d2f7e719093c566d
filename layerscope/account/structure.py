"""InstructBLIP's modules and the decoder steps in, the calls its structure demands out (rule 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from layerscope.account.compiled_regions import region_of
from layerscope.core.instructblip import is_instructblip
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.records import ModuleRecord

# Containers that hold modules and are never called themselves.
_CONTAINERS = frozenset({"ModuleList", "ModuleDict", "ParameterList", "ParameterDict"})
# A T5 stack drops out its input and its output with the one module.
_STACK_DROPOUT = re.compile(r"^language_model\.(encoder|decoder)\.dropout$")
_CROSS_ATTENTION_CACHED = re.compile(r"\.EncDecAttention\.[kv]$")


def expected_calls(
    modules: Sequence[ModuleRecord], steps: int, batches: int = 1, compiled: Sequence[str] = ()
) -> dict[str, int] | None:
    """Calls of every module in `batches` eager `generate()` calls of `steps` decoder steps in all.

    The vision tower, the Q-Former, the projection and the T5 encoder run once a batch, the decoder
    and `lm_head` once a step, the cross-attention's keys and values once a batch because the cache
    keeps them. Layers inside a compiled part are called by no one and left out. The vision tower
    normalises twice with one module: all tokens, then the pooled one.

    Returns:
        FQN -> calls, the root under the name `generate`; None for a model without these parts,
        or whose language model is no T5 (its structure is not described here).
    """
    fqns = {module.fqn for module in modules}
    if not is_instructblip(fqns) or "language_model.encoder" not in fqns:
        return None
    expected = {ROOT_GENERATE: batches}
    for module in modules:
        region = region_of(module.fqn, compiled)
        if module.fqn and (region is None or region == module.fqn):
            expected[module.fqn] = _calls(module, steps, batches)
    return expected


def _calls(module: ModuleRecord, steps: int, batches: int) -> int:
    fqn = module.fqn
    if module.cls in _CONTAINERS or fqn == "language_model.encoder.embed_tokens":
        return 0  # the encoder is given embeddings in which the image's tokens are already placed
    if fqn == "vision_model.post_layernorm":
        return 2 * batches
    twice = 2 if _STACK_DROPOUT.search(fqn) else 1
    per_step = fqn == "language_model" or fqn.startswith(
        ("language_model.decoder", "language_model.lm_head")
    )
    if per_step and not _CROSS_ATTENTION_CACHED.search(fqn):
        return twice * steps
    return twice * batches
