"""Samples go in, batches as the model will see them come out, with a record of their real shapes.

Text is cut to `max_input_len` tokens on each tokenizer by itself, its special tokens counted and
the 32 image tokens not. That cannot be left to the processor: there `max_length` counts the image
tokens on the T5 side and not on the Q-Former side, 32 switches truncation off, and less
overflows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from layerscope.core.errors import DataError, ModelError, UsageError
from layerscope.core.run_config import RunConfig
from layerscope.records.run_record import BatchRecord
from layerscope.workload.data.random_inputs import RandomInputs, image_token_of
from layerscope.workload.data.sample import Sample
from layerscope.workload.optimization import plan_of
from layerscope.workload.out_of_memory import refusing_out_of_memory

if TYPE_CHECKING:
    import torch

RANDOM_DATASET = "synthetic-random"
# Compiled code has one shape: texts are padded to multiples of this, or every batch of a data set
# would be compiled anew.
LENGTH_BUCKET = 32


@dataclass(frozen=True)
class Batch:
    """One batch on the CPU, ready for `generate(**inputs)`.

    Attributes:
        inputs: as the model calls them. Of one whose Q-Former reads the text, too: pixel_values
            float32 (batch, 3, height, width); input_ids, attention_mask int64 (batch, query tokens +
            text); qformer_input_ids, qformer_attention_mask int64 (batch, Q-Former text).
    """

    record: BatchRecord
    samples: tuple[Sample, ...]
    inputs: dict[str, torch.Tensor]

    def to(self, device: torch.device | str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Copies on `device`; `dtype` applies to the pixels, ids and masks stay int64.

        Raises:
            EnvironmentProblem: the device's memory is exhausted.
        """
        import torch

        with refusing_out_of_memory(f"copying the inputs to {device}", len(self.samples)):
            return {
                name: tensor.to(
                    device=device,
                    dtype=dtype if tensor.is_floating_point() else torch.int64,
                    copy=True,
                )
                for name, tensor in self.inputs.items()
            }


def padding_share(record: BatchRecord) -> float:
    """Share of padding among the text tokens of both tokenizers, query tokens not counted."""
    rows = len(record.sample_ids)
    room = rows * (record.padded_text_length + record.padded_qformer_length)
    used = sum(record.text_lengths) + sum(record.qformer_lengths)
    return (room - used) / room if room else 0.0


class Batches(Protocol):
    """Turns samples into batches for one model."""

    def prepare(self, samples: Sequence[Sample], index: int) -> Batch:
        """Batch number `index`, counted from 0, of these samples."""


class Batcher:
    """Turns samples into batches for one model whose Q-Former reads the text, too.

    Args:
        config: image size and its mode, input length, seed, batch size.
        processor: of the model; None for `synthetic-random`, which needs none.
        model_config: the model's configuration: image token, query tokens, vocabularies, patch.

    Raises:
        UsageError: an image size or input length that the model cannot take.
        ModelError: processor and model do not belong together.
    """

    def __init__(self, config: RunConfig, processor: Any, model_config: Any) -> None:
        self._config = config
        self._processor = processor
        self._random = config.dataset == RANDOM_DATASET
        self._bucket = plan_of(config).text_multiple
        patch = model_config.vision_config.patch_size
        if config.image_size_mode == "model" and config.image_size < patch:
            raise UsageError(
                f"--image-size {config.image_size} is smaller than one patch of the model "
                f"({patch} px): ask for {patch} or more."
            )
        self._qformer_positions = int(model_config.qformer_config.max_position_embeddings)
        if self._random:
            self._check_qformer_length(config.max_input_len)
            self._inputs = RandomInputs(config, model_config)
            return
        if processor is None:
            raise UsageError(
                f"--dataset {config.dataset} needs a processor and the model has none: name one "
                f"with --processor, or use --dataset {RANDOM_DATASET}."
            )
        self._image_token = image_token_of(model_config)
        self._num_query_tokens = int(model_config.num_query_tokens)
        self._check_processor(model_config)

    def prepare(self, samples: Sequence[Sample], index: int) -> Batch:
        """Batch number `index`, counted from 0, of these samples.

        Raises:
            DataError: no samples, or one without an image.
            UsageError: the text is longer than the Q-Former's positions.
        """
        if not samples:
            raise DataError(f"{self._config.dataset}: batch {index} has no samples.")
        if self._random:
            first = index * self._config.batch_size
            with refusing_out_of_memory("drawing the inputs", len(samples)):
                inputs = self._inputs.draw(range(first, first + len(samples)))
            queries = self._inputs.num_query_tokens
        else:
            inputs = {"pixel_values": self._pixels(samples), **self._text(samples)}
            queries = self._num_query_tokens
        record = _record_of(inputs, samples, index, queries)
        self._check_qformer_length(record.padded_qformer_length)
        return Batch(record=record, samples=tuple(samples), inputs=inputs)

    def _pixels(self, samples: Sequence[Sample]) -> torch.Tensor:
        size = self._config.image_size
        images = []
        for sample in samples:
            if sample.image is None:
                raise DataError(f"{self._config.dataset}: sample {sample.sample_id} has no image.")
            images.append(sample.image)
        options: dict[str, Any] = {}
        if self._config.image_size_mode == "model":
            options["size"] = {"height": size, "width": size}
        elif self._config.image_size_mode == "source":
            from PIL.Image import Resampling

            images = [image.resize((size, size), Resampling.BICUBIC) for image in images]
        encoded = self._processor.image_processor(images, return_tensors="pt", **options)
        pixels: torch.Tensor = encoded["pixel_values"].float()
        return pixels

    def _text(self, samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
        import torch

        prompts = [sample.prompt for sample in samples]
        length, step = self._config.max_input_len, self._bucket
        text = _encode(self._processor.tokenizer, prompts, length, step)
        queries = (len(prompts), self._num_query_tokens)
        image_ids = torch.full(queries, self._image_token, dtype=torch.int64)
        qformer = _encode(self._processor.qformer_tokenizer, prompts, length, step)
        return {
            # As the processor does: image tokens stand before everything, padding included.
            "input_ids": torch.cat([image_ids, text["input_ids"]], dim=1),
            "attention_mask": torch.cat(
                [torch.ones_like(image_ids), text["attention_mask"]], dim=1
            ),
            "qformer_input_ids": qformer["input_ids"],
            "qformer_attention_mask": qformer["attention_mask"],
        }

    def _check_qformer_length(self, length: int) -> None:
        if length > self._qformer_positions:
            raise UsageError(
                f"--max-input-len {self._config.max_input_len}: a text of {length} tokens does not "
                f"fit the Q-Former's {self._qformer_positions} positions; ask for "
                f"{self._qformer_positions} or fewer."
            )

    def _check_processor(self, model_config: Any) -> None:
        """Refuse what would otherwise fail deep inside the model, or run on wrong embeddings."""
        tokenizer, qformer = self._processor.tokenizer, self._processor.qformer_tokenizer
        theirs = tokenizer.convert_tokens_to_ids("<image>")
        if theirs != self._image_token:
            raise ModelError(
                f"the processor's <image> token has id {theirs}, the model expects "
                f"{self._image_token}: use the processor that came with the model."
            )
        for part, used, size in (
            ("language model", len(tokenizer), model_config.text_config.vocab_size),
            ("Q-Former", len(qformer), model_config.qformer_config.vocab_size),
        ):
            if used > size:
                raise ModelError(
                    f"the processor's tokenizer for the {part} has {used} tokens, the model "
                    f"embeds {size}: use the processor that came with the model."
                )


def iter_batches(samples: Iterable[Sample], batcher: Batches, batch_size: int) -> Iterator[Batch]:
    """Batches of `batch_size` in order; the last may hold fewer.

    Raises:
        DataError: the samples ran out before the first full batch.
    """
    waiting: list[Sample] = []
    index = 0
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == batch_size:
            yield batcher.prepare(waiting, index)
            waiting, index = [], index + 1
    if index == 0:
        raise DataError(
            f"the data ended after {len(waiting)} samples, less than one batch of {batch_size}: "
            "use a smaller --batch or more data."
        )
    if waiting:
        yield batcher.prepare(waiting, index)


def _encode(
    tokenizer: Any, prompts: Sequence[str], length: int, step: int
) -> dict[str, torch.Tensor]:
    """Ids and mask, cut to `length` tokens with the special ones.

    Padded to the longest, and on to the next multiple of `step` that is no longer than `length`.
    """
    if length > tokenizer.num_special_tokens_to_add():
        ids = tokenizer(list(prompts), truncation=True, max_length=length)["input_ids"]
    else:  # no room for text: the tokenizers library refuses, so keep the first special tokens
        ids = [tokenizer("")["input_ids"][:length] for _ in prompts]
    longest = max(map(len, ids))
    room = min(-(-longest // step) * step, max(length, longest))
    padded = tokenizer.pad(
        {"input_ids": ids}, padding="max_length", max_length=room, return_tensors="pt"
    )
    return {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]}


def _record_of(
    inputs: dict[str, torch.Tensor], samples: Sequence[Sample], index: int, queries: int
) -> BatchRecord:
    text, qformer = inputs["attention_mask"][:, queries:], inputs["qformer_attention_mask"]
    return BatchRecord(
        index=index,
        sample_ids=tuple(sample.sample_id for sample in samples),
        pixel_values_shape=tuple(inputs["pixel_values"].shape),
        text_lengths=tuple(text.sum(dim=1).tolist()),
        padded_text_length=text.shape[1],
        qformer_lengths=tuple(qformer.sum(dim=1).tolist()),
        padded_qformer_length=qformer.shape[1],
        image_tokens=(queries,) * len(samples),
        shapes={name: tuple(tensor.shape) for name, tensor in sorted(inputs.items())},
    )
