"""Inputs without content: a seed and exact lengths go in, random pixels and token ids come out.

They need no processor and no data: a run on random weights measures exact shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerscope.core.errors import ModelError
from layerscope.core.run_config import RunConfig
from layerscope.models.image_inputs import image_token

if TYPE_CHECKING:
    import torch

# Ids that carry a meaning in BERT's vocabulary: [UNK], [CLS], [SEP], [MASK].
_BERT_SPECIAL_IDS = frozenset(range(100, 104))
# Vocabularies of this kind start with their special tokens: T5's with 3, the tiny model's with 6.
_FIRST_IDS = frozenset(range(6))
# Domains of the seed: one stream for each tensor.
PIXELS, TEXT, _QFORMER = 1, 2, 3


def image_token_of(model_config: Any) -> int:
    """The id that marks a query token's place in `input_ids`.

    Raises:
        ModelError: the configuration names none.
    """
    token = image_token(model_config)
    if token is not None:
        return token
    raise ModelError(
        "the model's configuration has no image_token_id (image_token_index): set it to the id of "
        "<image> in the language model's vocabulary."
    )


class RandomInputs:
    """Draws batches for one model; sample `n` is the same in every batch size and order."""

    def __init__(self, config: RunConfig, model_config: Any) -> None:
        self._seed = config.seed
        self._size = config.image_size
        if config.image_size_mode != "model":
            # There is no source image to resize: the model sees the size its config names.
            self._size = int(model_config.vision_config.image_size)
        self._length = config.max_input_len
        self._image_token = image_token_of(model_config)
        self.num_query_tokens = int(model_config.num_query_tokens)
        text, qformer = model_config.text_config, model_config.qformer_config
        self._text_ids = plain_ids(text, "language model", {self._image_token})
        self._qformer_ids = plain_ids(qformer, "Q-Former", _BERT_SPECIAL_IDS)

    def draw(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        """The inputs of these samples, by their number in the run; shapes as in `Batch.inputs`."""
        import torch

        shape = (3, self._size, self._size)
        pixels = [self._rng(PIXELS, n).standard_normal(shape, dtype=np.float32) for n in numbers]
        text = [self._rng(TEXT, n).choice(self._text_ids, self._length) for n in numbers]
        qformer = [self._rng(_QFORMER, n).choice(self._qformer_ids, self._length) for n in numbers]
        queries = np.full((len(numbers), self.num_query_tokens), self._image_token, dtype=np.int64)
        input_ids = torch.from_numpy(np.concatenate([queries, np.stack(text)], axis=1))
        qformer_ids = torch.from_numpy(np.stack(qformer))
        return {
            "pixel_values": torch.from_numpy(np.stack(pixels)),
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "qformer_input_ids": qformer_ids,
            "qformer_attention_mask": torch.ones_like(qformer_ids),
        }

    def _rng(self, domain: int, number: int) -> np.random.Generator:
        return stream_of(self._seed, domain, number)


def stream_of(seed: int, domain: int, number: int) -> np.random.Generator:
    """One sample's random numbers for one tensor."""
    entropy = np.random.SeedSequence((seed, domain, number))
    return np.random.Generator(np.random.PCG64(entropy))


def plain_ids(part: Any, name: str, more: set[int] | frozenset[int]) -> np.ndarray[Any, Any]:
    """The part's ids without special ones, int64."""
    named = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
    special = set(_FIRST_IDS | more)
    for key in named:
        value = getattr(part, key, None)
        special.update(value if isinstance(value, list) else () if value is None else (value,))
    ids = np.setdiff1d(np.arange(part.vocab_size, dtype=np.int64), sorted(special))
    if not len(ids):
        raise ModelError(
            f"the {name}'s vocabulary of {part.vocab_size} tokens holds none but special ones."
        )
    return ids
