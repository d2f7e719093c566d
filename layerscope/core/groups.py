"""A module's name, class and role in, the group that its work is counted in out.

A group says what kind of work a module does, in which part of the model: `vision.attention`,
`decoder.ffn`. The part is the role; the kind follows from patterns (cross-attention, attention,
feed-forward, mixers of positions without attention) in the names of the module and of those around it,
and from the class of a few (norms, convolutions, embeddings, activations). Rotary positions are
attention's. What none of them knows is `other`, and stays visible there.
"""

from __future__ import annotations

import re

from layerscope.core.roles import Role, Roles, inside_role, role_of

_NORM = re.compile(r"norm|ln_", re.IGNORECASE)
_EMBEDDING = re.compile(r"embed|Embedding|^shared$|^wte$|^wpe$")
# Patches are made, and in towers with stages merged to fewer, by a convolution or what equals one.
_PATCHES = re.compile(r"(^|\.)(patch_embed(d(ing|er))?s?|patch_conv|conv1|downsample)(\.|$)")
_CONVOLUTION = re.compile(r"Resnet|ConvBlock|VisionPooler|AvgPool")
# A T5 block's sublayers are `layer.0`, `layer.1`, `layer.2`: attention, in a decoder cross-attention,
# and feed-forward.
_CROSS = re.compile(r"EncDecAttention|cross_?attn|cross_?attention|encoder_attn", re.IGNORECASE)
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_FEED_FORWARD = re.compile(
    r"mlp|feed_?forward|DenseReluDense|sparse_moe|(^|\.)(block_)?moe(\.|$)"
    r"|(^|\.)(fc1|fc2|ffn?|intermediate|output|experts|gate_proj|up_proj|down_proj)(\.|$)",
    re.IGNORECASE,
)
# State spaces and convolutions along the sequence, where other layers have attention.
_MIXER = re.compile(r"(^|\.)(mixer|mamba|ssm|conv|short_conv|temporal_block)(\.|$)")
_ROTARY = re.compile(r"rotary|rot_pos|rope", re.IGNORECASE)
# The activation of a feed-forward layer whose two products are the block's own.
_ACTIVATION = re.compile(r"Activation$|^(Quick|Fast|New)?(GELU|SiLU|Silu|ReLU|GELUTanh)\w*$")
_T5_SUBLAYER = re.compile(r"(^|\.)block\.\d+\.layer\.(\d)")
_PROJECTOR = re.compile(r"merger|projector|connector|resampler", re.IGNORECASE)


def module_group(fqn: str, cls: str, roles: Roles) -> str:
    """The group of a module."""
    role = role_of(fqn, roles)
    inside, leaf = inside_role(fqn, roles), fqn.rpartition(".")[2]
    norm = bool(_NORM.search(leaf) or _NORM.search(cls))
    if role in ("vision", "audio"):
        return _tower_group(role, inside, leaf, cls, norm=norm)
    if role == "head" or leaf == "lm_head":
        return "lm_head"
    if role == "projection":
        return "projection"
    if norm:
        return "norm"
    if role == "qformer":
        return _qformer_group(inside)
    if role in ("encoder", "decoder"):
        return _language_group(role, inside, leaf, cls)
    if role == "embedding" or "embed" in leaf.lower() or "Embedding" in cls:
        return "embedding"
    return "other"


def _tower_group(role: Role, inside: str, leaf: str, cls: str, *, norm: bool) -> str:
    convolves = _PATCHES.search(inside) or cls.startswith("Conv") or _CONVOLUTION.search(cls)
    if convolves and not norm:
        return f"{role}.conv"
    if norm:
        return f"{role}.norm"
    if _PROJECTOR.search(inside):
        return "projection"
    if _ATTENTION.search(inside) or _rotates(leaf, cls):
        return f"{role}.attention"
    if _FEED_FORWARD.search(inside) or _ACTIVATION.search(cls):
        return f"{role}.mlp"
    if inside.startswith("embeddings") or "Embedding" in cls:
        return "embedding"
    return "other"


def _qformer_group(inside: str) -> str:
    if inside.startswith("embeddings"):
        return "embedding"
    if ".crossattention" in inside:
        return "qformer.cross_attention"
    if ".attention" in inside:
        return "qformer.self_attention"
    if ".intermediate" in inside or ".output" in inside:
        return "qformer.ffn"
    return "other"


def _language_group(role: Role, inside: str, leaf: str, cls: str) -> str:
    if leaf in ("shared", "embed_tokens"):
        return "embedding"
    own = "encoder.attention" if role == "encoder" else "decoder.self_attention"
    if _CROSS.search(inside):
        return f"{role}.cross_attention"
    sublayer = _T5_SUBLAYER.search(inside)
    if sublayer is not None:
        number = int(sublayer[2])
        if number == 0:
            return own
        return "decoder.cross_attention" if role == "decoder" and number == 1 else f"{role}.ffn"
    if _ATTENTION.search(inside) or _rotates(leaf, cls):
        return own
    if _MIXER.search(inside):
        return f"{role}.mixer"
    if _FEED_FORWARD.search(inside) or _ACTIVATION.search(cls):
        return f"{role}.ffn"
    return "embedding" if _EMBEDDING.search(leaf) or "Embedding" in cls else "other"


def _rotates(leaf: str, cls: str) -> bool:
    """Whether a module makes the rotary positions that queries and keys are turned by."""
    return bool(_ROTARY.search(leaf) or _ROTARY.search(cls))
