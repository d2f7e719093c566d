"""The vocabulary of an account: from a module's FQN to its group and its phase.

Goes in: a module FQN (and, where known, its class name). Comes out: the names every table uses.
The rules are written for InstructBLIP; a model they do not know has the single phase `forward`.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

ROOT_GENERATE = "generate"
ROOT_FORWARD = "forward"
ROOTS = (ROOT_GENERATE, ROOT_FORWARD)

# Ranges written by the capture: the module's FQN, or a phase that the user marked.
LAYER_PREFIX = "layer:"
PHASE_PREFIX = "phase:"
# A call of a compiled graph: `compiled:<number>:<FQN of its frame, or ?>`.
COMPILED_PREFIX = "compiled:"
OURS_PREFIX = "layerscope:"  # ranges that stand for neither a layer nor a phase
# The block of a capture, on the thread that opened it, from `with` to its end.
WINDOW_RANGE = "layerscope:window"
# Around a decoder step that goes on from the one before, in a loop that is not generate()'s.
CONTINUED_RANGE = "layerscope:continued"
# What Kineto writes as it is. It leaves quotes open, turns backslashes round, drops line ends and loses
# names outside ASCII.
_WRITTEN_AS_IT_IS = " !#$&'()*+,/:;<=>?@[]^`{|}~"

PHASES = ("vision", "qformer", "projection", "encoder", "prefill", "decode", "other")
PHASE_FORWARD = "forward"

GROUPS = (
    "vision.conv",
    "vision.attention",
    "vision.mlp",
    "vision.norm",
    "qformer.self_attention",
    "qformer.cross_attention",
    "qformer.ffn",
    "projection",
    "encoder.attention",
    "encoder.ffn",
    "decoder.self_attention",
    "decoder.cross_attention",
    "decoder.ffn",
    "lm_head",
    "embedding",
    "norm",
    "other",
)

OUTSIDE_MODEL = "(outside model)"
NO_LAUNCH_RECORD = "(no launch record)"
BEFORE_WINDOW = "(before window)"
GRAPH_PROLOGUE = "(graph prologue)"
GRAPH_UNMATCHED = "(graph unmatched)"
BUCKETS = (OUTSIDE_MODEL, NO_LAUNCH_RECORD, BEFORE_WINDOW, GRAPH_PROLOGUE, GRAPH_UNMATCHED)

_TOP_PHASE = {"vision_model": "vision", "qformer": "qformer", "language_projection": "projection"}
_NORM_MARKS = ("norm", "ln_", "layernorm")


def layer_range(fqn: str) -> str:
    """The name of the range of a module that is not the root; see `root_range`."""
    name = range_text(fqn)
    # A child called `generate` is no root: its first letter is escaped.
    return LAYER_PREFIX + (f"%{ord(name[0]):02X}{name[1:]}" if name in ROOTS else name)


def root_range(root: str) -> str:
    """The name of the range of the root's call; `root` is one of `ROOTS`."""
    return LAYER_PREFIX + root


def phase_range_name(phase: str) -> str:
    """The name of the range of a phase that the user marks."""
    return PHASE_PREFIX + range_text(phase)


def range_text(name: str) -> str:
    """A name as it stands in a trace: ASCII, all that Kineto would spoil as `%XX` of its UTF-8."""
    return quote_from_bytes(name.encode("utf-8", "backslashreplace"), safe=_WRITTEN_AS_IT_IS)


def name_in_range(text: str) -> str:
    """The name behind `range_text`; text that is none of its making stays as it is."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        return text


def writable_text(name: str) -> str:
    """A name as files can hold it: half a surrogate pair, which no encoding has, as `\\udXXX`."""
    return name.encode("utf-8", "backslashreplace").decode()


def layer_name(fqn: str) -> str:
    """The name of a module's row: its FQN, unless that is a bucket's."""
    fqn = writable_text(fqn)
    return f"range {fqn}" if fqn.partition(".")[0] in BUCKETS else fqn


def is_instructblip(fqns: Iterable[str]) -> bool:
    """Whether these module names are InstructBLIP's: vision tower, Q-Former and a language model."""
    tops = {fqn.split(".", 1)[0] for fqn in fqns}
    return {"vision_model", "qformer", "language_model"} <= tops


def step_of(fqn: str) -> bool:
    """Whether a call of this module is one decoder step of InstructBLIP (it runs once per token)."""
    return fqn == "language_model"


def step_by_hand(fqn: str) -> bool:
    """Whether a call of this module is a step where the caller runs the decoder without its language
    model around it."""
    return fqn in ("language_model.decoder", "language_model.model")


def static_phase_of(fqn: str) -> str | None:
    """The phase an InstructBLIP module always belongs to, or None when its decoder step decides.

    `language_model.shared` embeds the prompt, so it counts as the encoder's.
    """
    top, _, rest = fqn.partition(".")
    if top in _TOP_PHASE:
        return _TOP_PHASE[top]
    if top == "language_model":
        if rest == "shared" or rest == "encoder" or rest.startswith("encoder."):
            return "encoder"
        return None
    return "other"


def group_of(fqn: str, cls: str = "") -> str:
    """The group of a module, by its FQN and, where the FQN does not say, by its class name."""
    top, _, rest = fqn.partition(".")
    leaf = fqn.rsplit(".", 1)[-1]
    norm = any(mark in leaf.lower() or mark in cls.lower() for mark in _NORM_MARKS)
    if top == "vision_model":
        return _vision_group(rest, leaf, cls, norm)
    if leaf == "lm_head" or rest == "lm_head":
        return "lm_head"
    if top == "language_projection":
        return "projection"
    if norm:
        return "norm"
    if top == "qformer":
        return _qformer_group(rest)
    if top == "language_model":
        return _language_group(rest, leaf)
    if "embed" in leaf.lower() or "Embedding" in cls:
        return "embedding"
    return "other"


def _vision_group(rest: str, leaf: str, cls: str, norm: bool) -> str:
    if leaf == "patch_embedding" or cls.startswith("Conv"):
        return "vision.conv"
    if norm:
        return "vision.norm"
    if "self_attn" in rest:
        return "vision.attention"
    if "mlp" in rest:
        return "vision.mlp"
    if rest.startswith("embeddings"):
        return "embedding"
    return "other"


def _qformer_group(rest: str) -> str:
    if rest.startswith("embeddings"):
        return "embedding"
    if ".crossattention" in rest:
        return "qformer.cross_attention"
    if ".attention" in rest:
        return "qformer.self_attention"
    if ".intermediate" in rest or ".output" in rest:
        return "qformer.ffn"
    return "other"


def _language_group(rest: str, leaf: str) -> str:
    if leaf in ("shared", "embed_tokens"):
        return "embedding"
    part = rest.split(".", 1)[0]
    if ".self_attn" in rest:  # a decoder-only language model
        return "decoder.self_attention"
    if ".mlp" in rest:
        return "decoder.ffn"
    if "EncDecAttention" in rest or (part == "decoder" and ".layer.1" in rest):
        return "decoder.cross_attention"
    if part in ("encoder", "decoder"):
        if "DenseReluDense" in rest or ".layer.2" in rest or ".layer.1" in rest:
            return f"{part}.ffn"
        if "SelfAttention" in rest or ".layer.0" in rest:
            return "encoder.attention" if part == "encoder" else "decoder.self_attention"
    return "other"
