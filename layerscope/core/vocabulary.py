"""The vocabulary of an account: the names that every table, range and bucket has."""

from __future__ import annotations

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
# Around generate()'s own prefill, which may call the decoder several times.
PREFILL_RANGE = "layerscope:prefill"
# What Kineto writes as it is. It leaves quotes open, turns backslashes round, drops line ends and loses
# names outside ASCII.
_WRITTEN_AS_IT_IS = " !#$&'()*+,/:;<=>?@[]^`{|}~"

PHASES = ("vision", "audio", "qformer", "projection", "encoder", "prefill", "decode", "other")
PHASE_FORWARD = "forward"

GROUPS = (
    "vision.conv",
    "vision.attention",
    "vision.mlp",
    "vision.norm",
    "audio.conv",
    "audio.attention",
    "audio.mlp",
    "audio.norm",
    "qformer.self_attention",
    "qformer.cross_attention",
    "qformer.ffn",
    "projection",
    "encoder.attention",
    "encoder.cross_attention",
    "encoder.mixer",
    "encoder.ffn",
    "decoder.self_attention",
    "decoder.cross_attention",
    "decoder.mixer",
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
