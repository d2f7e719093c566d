"""Write the tiny model's tokenizers and processor: the synthetic world's words in, five files out.

    python scripts/build_tiny_processor.py [FOLDER]

Nothing is trained. The T5 side is a Unigram model with one piece for each word of the generator's
sentences and one for each printable ASCII character, so every known word is one token and any
other ASCII word is spelled out; the Q-Former side is WordPiece made the same way. Equal words give
equal files, byte for byte.
"""

from __future__ import annotations

import json
import re
import string
import sys
from pathlib import Path
from typing import Any

from layerscope.workload.data import SyntheticSource
from layerscope.workload.data.synthetic import PROMPTS
from layerscope.workload.data.world import (
    COLOURS,
    FILLERS,
    OPENERS,
    PLACES,
    RELATIONS,
    SHAPES,
    SIGN_WORDS,
)

FOLDER = Path(__file__).parents[1] / "layerscope" / "workload" / "tiny"
T5_SPECIALS = ("<pad>", "</s>", "<unk>", "<image>")
BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]")
NUM_QUERY_TOKENS = 32
MODEL_MAX_LENGTH = 512
# Enough training samples to meet every word that the templates bring; the world's lists add theirs.
SAMPLES = 400


def world_words() -> list[str]:
    """Every word that the generator can say, as written, sorted."""
    texts = [*COLOURS, *RELATIONS, *SHAPES, *PLACES, *SIGN_WORDS, *FILLERS, *OPENERS]
    for name in PROMPTS:
        source = SyntheticSource(name, seed=0, split="train")
        for sample in source.samples(SAMPLES):
            # Right answers only: a slip of the pen in TextVQA's later answers is not a word.
            texts += [sample.prompt, sample.references[0]]
            texts += sample.references if name == "synthetic-coco" else ()
    words = {word for text in texts for word in re.findall(r"[A-Za-z]+", text)}
    return sorted(word for word in words if len(word) > 1)


def _special(index: int, token: str) -> dict[str, Any]:
    return {
        "id": index,
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }


def t5_tokenizer(words: list[str]) -> dict[str, Any]:
    """The language model's `tokenizer.json`."""
    characters = sorted(set(string.digits + string.ascii_letters + string.punctuation))
    pieces: list[tuple[str, float]] = [(token, 0.0) for token in T5_SPECIALS]
    pieces += [(f"▁{word}", -1.0) for word in words]
    pieces += [(f"▁{character}", -10.0) for character in characters]
    pieces += [("▁", -10.0), *((character, -10.0) for character in characters)]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    eos = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(i, token) for i, token in enumerate(T5_SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, eos],
            "pair": [first, eos, second, eos],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
    }


def qformer_tokenizer(words: list[str]) -> dict[str, Any]:
    """The Q-Former's `tokenizer.json`."""
    letters = sorted(set(string.digits + string.ascii_lowercase))
    whole = sorted({word.lower() for word in words})
    pieces = [*BERT_SPECIALS, *sorted(string.punctuation), *letters]
    pieces += [f"##{letter}" for letter in letters] + whole
    cls, sep = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(i, token) for i, token in enumerate(BERT_SPECIALS)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, sep],
            "special_tokens": {
                token: {"id": token, "ids": [BERT_SPECIALS.index(token)], "tokens": [token]}
                for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: index for index, piece in enumerate(pieces)},
        },
    }


def _tokenizer_config(special: dict[str, str]) -> dict[str, Any]:
    return {
        "backend": "tokenizers",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": MODEL_MAX_LENGTH,
        "processor_class": "InstructBlipProcessor",
        # Read tokenizer.json as it stands; a model's own class would rebuild it.
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": token for role, token in special.items()},
    }


def processor_config() -> dict[str, Any]:
    """`processor_config.json`: CLIP's mean and deviation, PIL's bicubic, 224 px."""
    return {
        "image_processor": {
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            # The PIL form needs no torchvision, and pixels are then equal on every machine.
            "image_processor_type": "BlipImageProcessorPil",
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"height": 224, "width": 224},
        },
        "num_query_tokens": NUM_QUERY_TOKENS,
        "processor_class": "InstructBlipProcessor",
    }


def build(folder: Path) -> None:
    """Write the five files into `folder`."""
    words = world_words()
    t5_config = _tokenizer_config(dict(zip(("pad", "eos", "unk"), T5_SPECIALS, strict=False)))
    bert_roles = ("pad", "unk", "cls", "sep", "mask")
    qformer_config = _tokenizer_config(dict(zip(bert_roles, BERT_SPECIALS, strict=False)))
    files = {
        "tokenizer.json": t5_tokenizer(words),
        "tokenizer_config.json": t5_config,
        "processor_config.json": processor_config(),
        "qformer_tokenizer/tokenizer.json": qformer_tokenizer(words),
        "qformer_tokenizer/tokenizer_config.json": qformer_config,
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, ensure_ascii=False, indent=1)
        path.write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
