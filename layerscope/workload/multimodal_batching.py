"""Samples go in, batches of any vision-language model come out: through its processor, or at random.

Text is cut to `max_input_len` tokens of the sample's own; image tokens and what a chat template writes
around them are not counted. Texts of one batch are padded on the left where the model only decodes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from layerscope.core.errors import DataError, ModelError, UsageError
from layerscope.core.run_config import RunConfig
from layerscope.core.words import first_line
from layerscope.models.families import family_of_model
from layerscope.models.image_inputs import (
    image_token,
    marks_around,
    random_images,
    tokens_of,
)
from layerscope.models.image_sizes import Pixels, plain_size, size_for_tokens
from layerscope.models.readers import has_encoder, reads_text_twice
from layerscope.records.run_record import BatchRecord
from layerscope.workload.batching import RANDOM_DATASET, Batch, Batcher, Batches
from layerscope.workload.data.random_inputs import PIXELS, TEXT, plain_ids, stream_of
from layerscope.workload.data.sample import Sample
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.optimization import plan_of
from layerscope.workload.out_of_memory import refusing_out_of_memory

if TYPE_CHECKING:
    import torch
    from torch import nn

_TEXT_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})


def batches_for(config: RunConfig, model: nn.Module, processor: Any) -> Batches:
    """What turns this run's samples into batches for this model.

    Raises:
        UsageError: a size or a length that the model cannot take, or no processor for real text.
        ModelError: processor and model do not belong together, or the model's inputs are unknown.
    """
    if reads_text_twice(model):
        return Batcher(config, processor, model.config)
    if config.dataset == RANDOM_DATASET:
        size = _size_of(config, model, lambda s: RandomBatcher(config, model, s).image_tokens)
        return RandomBatcher(config, model, size)
    if processor is None:
        raise UsageError(
            f"--dataset {config.dataset} needs a processor and the model has none: name one "
            f"with --processor, or use --dataset {RANDOM_DATASET}."
        )
    if config.image_size_mode == "processor" and config.image_tokens is None:
        return ProcessedBatcher(config, model, processor, None)
    size = _size_of(
        config, model, lambda s: ProcessedBatcher(config, model, processor, s).tokens_of_one()
    )
    return ProcessedBatcher(config, model, processor, size)


def _size_of(config: RunConfig, model: nn.Module, count: Callable[[Pixels], int]) -> Pixels:
    """The size of every image; `count` says how many tokens one of a size becomes."""
    if config.image_tokens is not None:
        return size_for_tokens(model, config.image_tokens, cache(count))
    if config.image_size_mode == "source":
        return Pixels(config.image_size, config.image_size)
    return plain_size(model, config.image_size)


class RandomBatcher:
    """Random pixels and random text of exactly `max_input_len` tokens, for a model without processor.

    Args:
        model: on its device; one image runs through it, to learn how many tokens it becomes.
        size: of every image.

    Raises:
        ModelError: layerscope does not know how the model takes images.
    """

    def __init__(self, config: RunConfig, model: nn.Module, size: Pixels) -> None:
        self._config, self._model, self._size = config, model, size
        settings: Any = model.config
        self._token = image_token(settings)
        text: Any = settings.get_text_config(decoder=True)
        before, after = marks_around(settings)
        special = {*before, *after, *(() if self._token is None else (self._token,))}
        self._text_ids = plain_ids(text, "language model", special)
        device, dtype = next(model.parameters()).device, torch_dtype(config.dtype)
        self.image_tokens = tokens_of(
            model,
            {
                name: tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)
                for name, tensor in self._images([0]).items()
            },
        )
        if self.image_tokens and self._token is None:
            raise ModelError(
                f"{type(model).__name__}: its configuration names no image token; give its processor "
                "with --processor FOLDER."
            )
        self._before, self._after = (before, after) if self.image_tokens else ((), ())

    def prepare(self, samples: Sequence[Sample], index: int) -> Batch:
        """Batch number `index`, counted from 0; sample n is the same in every batch size and order."""
        if not samples:
            raise DataError(f"{self._config.dataset}: batch {index} has no samples.")
        first = index * self._config.batch_size
        numbers = range(first, first + len(samples))
        with refusing_out_of_memory("drawing the inputs", len(samples)):
            inputs = {**self._images(numbers), **self._text(numbers)}
        return Batch(
            record=record_of(inputs, samples, index, [self.image_tokens] * len(samples)),
            samples=tuple(samples),
            inputs=inputs,
        )

    def _images(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        import torch

        def draw_of(number: int) -> Any:
            stream = stream_of(self._config.seed, PIXELS, number)
            return lambda shape: torch.from_numpy(stream.standard_normal(shape, dtype=np.float32))

        return random_images(self._model, self._size, [draw_of(number) for number in numbers])

    def _text(self, numbers: Sequence[int]) -> dict[str, torch.Tensor]:
        import torch

        image = [self._token] * self.image_tokens
        rows = [
            [
                *self._before,
                *image,
                *self._after,
                *stream_of(self._config.seed, TEXT, n).choice(
                    self._text_ids, self._config.max_input_len
                ),
            ]
            for n in numbers
        ]
        ids = torch.tensor(np.array(rows, dtype=np.int64))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | token_marks(
            self._model, ids
        )


class ProcessedBatcher:
    """Images and prompts through the model's own processor and chat template.

    Args:
        size: images are resized to it first; None leaves each as it is.
    """

    def __init__(
        self, config: RunConfig, model: nn.Module, processor: Any, size: Pixels | None
    ) -> None:
        self._config, self._model, self._processor, self._size = config, model, processor, size
        self._token = image_token(model.config)
        # Compiled code has one shape: see LENGTH_BUCKET.
        multiple = plan_of(config).text_multiple
        self._padding: dict[str, Any] = {"padding": True}
        if multiple > 1:
            self._padding["pad_to_multiple_of"] = multiple
        self._marker: str | None = None  # written before a prompt without a template
        if not has_encoder(model):
            # An answer goes on from the last position, which must not be padding.
            processor.tokenizer.padding_side = "left"

    def prepare(self, samples: Sequence[Sample], index: int) -> Batch:
        """Batch number `index`, counted from 0, of these samples.

        Raises:
            DataError: no samples, or one without an image.
            ModelError: the processor refuses them.
        """
        if not samples:
            raise DataError(f"{self._config.dataset}: batch {index} has no samples.")
        for sample in samples:
            if sample.image is None:
                raise DataError(f"{self._config.dataset}: sample {sample.sample_id} has no image.")
        prompts = [self._cut(sample.prompt) for sample in samples]
        images = [self._resized(sample.image) for sample in samples]
        inputs = self._inputs(images, prompts)
        return Batch(
            record=record_of(inputs, samples, index, self._image_tokens(inputs)),
            samples=tuple(samples),
            inputs={
                name: tensor.float() if tensor.is_floating_point() else tensor
                for name, tensor in inputs.items()
            },
        )

    def tokens_of_one(self) -> int:
        """The tokens that one image of the size becomes: a blank one goes through the processor.

        Raises:
            ModelError: the processor refuses it, or the configuration names no image token.
        """
        from PIL import Image

        if self._size is None or self._token is None:
            raise ModelError(
                f"{type(self._model).__name__}: its configuration names no image token, so images "
                "cannot be sized by their tokens; give --image-size."
            )
        blank = Image.new("RGB", (self._size.width, self._size.height))
        return self._image_tokens(self._inputs([blank], [""]))[0]

    def _inputs(self, images: list[Any], prompts: list[str]) -> dict[str, torch.Tensor]:
        try:
            return dict(self._processed(images, prompts))
        except (ValueError, TypeError, KeyError, AttributeError, LookupError) as error:
            raise ModelError(
                f"the processor {type(self._processor).__name__} does not take these samples "
                f"({type(error).__name__}: {first_line(error)})."
            ) from error

    def _processed(self, images: list[Any], prompts: list[str]) -> Any:
        sized = self._limits()
        if getattr(self._processor, "chat_template", None):
            chats = [
                [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "image": image},
                            {"type": "text", "text": prompt},
                        ],
                    }
                ]
                for image, prompt in zip(images, prompts, strict=True)
            ]
            return self._processor.apply_chat_template(
                chats,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={**self._padding, **sized},
            )
        if self._marker is None:
            self._marker = self._marker_of(images[0], prompts[0])
        texts = [self._marker + prompt for prompt in prompts]
        return self._processor(
            images=images, text=texts, return_tensors="pt", **self._padding, **sized
        )

    def _limits(self) -> dict[str, Any]:
        """What keeps the processor from changing the size: some enlarge each image to a longest side."""
        usual = getattr(getattr(self._processor, "image_processor", None), "size", None) or {}
        if self._size is None or "longest_edge" not in usual or "shortest_edge" in usual:
            return {}
        return {"size": {"longest_edge": max(self._size.height, self._size.width)}}

    def _marker_of(self, image: Any, prompt: str) -> str:
        """What to write before a prompt: nothing where the processor puts the image's tokens itself."""
        if self._token is None:
            return ""
        try:
            alone = self._processor(images=[image], text=[prompt], return_tensors="pt")
            if bool((alone["input_ids"] == self._token).any()):
                return ""
        except ValueError:
            pass  # it wants the image's place marked
        return str(getattr(self._processor, "image_token", ""))

    def _cut(self, prompt: str) -> str:
        tokenizer = self._processor.tokenizer
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if len(ids) <= self._config.max_input_len:
            return prompt
        return str(tokenizer.decode(ids[: self._config.max_input_len]))

    def _resized(self, image: Any) -> Any:
        if self._size is None:
            return image
        from PIL.Image import Resampling

        return image.resize((self._size.width, self._size.height), Resampling.BICUBIC)

    def _image_tokens(self, inputs: dict[str, torch.Tensor]) -> list[int]:
        ids = inputs.get("input_ids")
        if ids is None or self._token is None:
            return [0] * len(next(iter(inputs.values())))
        return [int(n) for n in (ids == self._token).sum(dim=1)]


def token_marks(model: nn.Module, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The model's inputs that tell image tokens from text, where its `forward` takes them."""
    import torch

    family: Any = family_of_model(model)
    takes = inspect.signature(model.forward).parameters
    token = image_token(model.config)
    is_image = torch.zeros_like(ids) if token is None else (ids == token).to(ids.dtype)
    if hasattr(family, "token_marks"):
        own: dict[str, torch.Tensor] = family.token_marks(is_image)
        return own
    names = ("mm_token_type_ids", "token_type_ids")
    return {name: is_image for name in names if name in takes}


def record_of(
    inputs: dict[str, torch.Tensor],
    samples: Sequence[Sample],
    index: int,
    image_tokens: Sequence[int],
) -> BatchRecord:
    """A batch's real shapes and lengths."""
    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is None:
        lengths, padded = [0] * len(samples), 0
    else:
        used = mask.sum(dim=1).tolist() if mask is not None and mask.dim() == 2 else None
        total = used if used is not None else [ids.shape[1]] * len(samples)
        lengths = [int(n) - i for n, i in zip(total, image_tokens, strict=True)]
        padded = int(ids.shape[1]) - max(image_tokens)
    pixels = next(
        (t for name, t in inputs.items() if name not in _TEXT_INPUTS and t.is_floating_point()),
        None,
    )
    return BatchRecord(
        index=index,
        sample_ids=tuple(sample.sample_id for sample in samples),
        pixel_values_shape=() if pixels is None else tuple(pixels.shape),
        text_lengths=tuple(lengths),
        padded_text_length=padded,
        qformer_lengths=(),
        padded_qformer_length=0,
        image_tokens=tuple(image_tokens),
        shapes={name: tuple(tensor.shape) for name, tensor in sorted(inputs.items())},
    )
