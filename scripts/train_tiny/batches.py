"""Albums, a step's number and a seed in, one training batch on the device out.

A batch depends on (seed, step) alone, so training that resumes sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from album import Album
from layerscope.workload.data.world import MASTER_PX

SIZES = {448: 0.6, 336: 0.2, 224: 0.2}  # image size in px -> share of the steps
# Share of a batch by split: for learning to see, and for learning to answer.
SEEN = {"synthetic-textvqa": 0.75, "synthetic-scienceqa": 0.125, "synthetic-coco": 0.125}
ANSWERED = {"synthetic-textvqa": 0.5, "synthetic-scienceqa": 0.3, "synthetic-coco": 0.2}
# Most steps of seeing look at windows of the master around a thing: letters as large as at 448 px,
# at a quarter of the patches.
WINDOW_PX = 224
_WINDOW_SHARE = 0.75
_WINDOW_SWAY_PX = 90  # how far a window's middle lies off the thing's, at most
_FULL_TEXT_SHARE = 0.6  # of the steps; the others cut the text somewhere
_SHORTEST_TEXT = 16


@dataclass(frozen=True)
class View:
    """What part of the master the pixels show.

    Attributes:
        corners: int64 (batch, 2), left and top in px of the master.
        extent_px: side of the square that is shown.
    """

    corners: torch.Tensor
    extent_px: int


@dataclass(frozen=True)
class Pictures:
    """Pixels and what they show.

    Attributes:
        pixels: float32 (batch, 3, size, size), normalised.
        things, letters: as in `Album`.
    """

    pixels: torch.Tensor
    view: View
    things: torch.Tensor
    letters: torch.Tensor


@dataclass(frozen=True)
class Questions:
    """Pictures with the rest of what the model's `forward` takes, labels included."""

    pictures: Pictures
    inputs: dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Text:
    """How one tokenizer's texts are cut."""

    ids: torch.Tensor
    lengths: torch.Tensor
    end: int


class _Drawn:
    """One step's choice of samples."""

    def __init__(
        self,
        albums: Mapping[str, Album],
        shares: Mapping[str, float],
        size: int,
        dice: np.random.Generator,
    ) -> None:
        self._parts = [
            (album, torch.from_numpy(dice.integers(len(album), size=round(share * size))))
            for split, share in shares.items()
            for album in (albums[split],)
        ]

    def column(self, name: str) -> torch.Tensor:
        """One column of the albums, for the samples of this step."""
        return torch.cat(
            [getattr(album, name)[ids.to(album.text.device)] for album, ids in self._parts]
        )

    def windows(self, corners: torch.Tensor) -> torch.Tensor:
        """The pages' pixels in windows of 224 px with these upper left corners."""
        along = torch.arange(WINDOW_PX, device=corners.device)
        cut, first = [], 0
        for album, ids in self._parts:
            part = corners[first : first + len(ids)]
            rows, columns = part[:, 1, None] + along, part[:, 0, None] + along
            page = ids.to(corners.device)[:, None, None]
            cut.append(album.pixels[page, rows[:, :, None], columns[:, None, :]])
            first += len(ids)
        return torch.cat(cut)


class Batches:
    """Draws batches from one album per split.

    Args:
        processor: for the end tokens and the pixels' mean and deviation.
        config: the model's, for the image tokens.
    """

    def __init__(
        self, albums: Mapping[str, Album], processor: Any, config: Any, *, seed: int
    ) -> None:
        self._albums = albums
        self._seed = seed
        self._text_end = processor.tokenizer.eos_token_id
        self._qformer_end = processor.qformer_tokenizer.sep_token_id
        self._image_token = int(config.image_token_index)
        self._queries = int(config.num_query_tokens)
        self._device = next(iter(albums.values())).pixels.device
        image = processor.image_processor
        self._mean = torch.tensor(image.image_mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(image.image_std, device=self._device).view(1, 3, 1, 1)

    def pictures(self, step: int, batch_size: int) -> Pictures:
        """What a step of seeing looks at: whole images, or twice as many windows."""
        dice = np.random.default_rng((self._seed, 1, step))
        if dice.random() >= _WINDOW_SHARE:
            size = int(dice.choice(list(SIZES), p=list(SIZES.values())))
            return self._whole(_Drawn(self._albums, SEEN, batch_size // 2, dice), size)
        drawn = _Drawn(self._albums, SEEN, 2 * batch_size, dice)
        things, letters = drawn.column("things"), drawn.column("letters")
        corners = self._window_corners(things, dice)
        pixels = self._coloured(drawn.windows(corners), drawn.column("palettes"))
        return Pictures(self._normalised(pixels), View(corners, WINDOW_PX), things, letters)

    def questions(self, step: int, batch_size: int) -> Questions:
        """What a step of answering is asked."""
        dice = np.random.default_rng((self._seed, 2, step))
        size = int(dice.choice(list(SIZES), p=list(SIZES.values())))
        drawn = _Drawn(self._albums, ANSWERED, batch_size, dice)
        longest = self._albums["synthetic-coco"].text.shape[1]
        full = dice.random() < _FULL_TEXT_SHARE
        limit = longest if full else int(dice.integers(_SHORTEST_TEXT, longest))
        text, mask = _cut(
            _Text(drawn.column("text"), drawn.column("text_lengths"), self._text_end), limit
        )
        qformer, qformer_mask = _cut(
            _Text(drawn.column("qformer"), drawn.column("qformer_lengths"), self._qformer_end),
            limit,
        )
        image_ids = torch.full((len(text), self._queries), self._image_token, device=self._device)
        pictures = self._whole(drawn, size)
        inputs = {
            "pixel_values": pictures.pixels,
            "input_ids": torch.cat([image_ids, text], dim=1),
            "attention_mask": torch.cat([torch.ones_like(image_ids), mask], dim=1),
            "qformer_input_ids": qformer,
            "qformer_attention_mask": qformer_mask,
            "labels": drawn.column("answers").long(),
        }
        return Questions(pictures, inputs)

    def _whole(self, drawn: _Drawn, size: int) -> Pictures:
        """Images as the processor would give them: resized to whole grey levels, normalised."""
        image = self._coloured(drawn.column("pixels"), drawn.column("palettes"))
        if size != MASTER_PX:
            image = functional.interpolate(
                image, size=(size, size), mode="bicubic", antialias=True, align_corners=False
            )
            image = image.round().clamp(0, 255)
        corners = torch.zeros((len(image), 2), dtype=torch.int64, device=self._device)
        view = View(corners, MASTER_PX)
        return Pictures(
            self._normalised(image), view, drawn.column("things"), drawn.column("letters")
        )

    def _window_corners(self, things: torch.Tensor, dice: np.random.Generator) -> torch.Tensor:
        """Corners of windows that hold the middle of one thing each, somewhere inside them."""
        there = (things[..., 0] >= 0).cpu().numpy()
        which = torch.from_numpy((dice.random(there.shape) * there).argmax(axis=1))
        sway = dice.integers(-_WINDOW_SWAY_PX, _WINDOW_SWAY_PX + 1, size=(len(things), 2))
        at = torch.arange(len(things), device=self._device)
        box = things[at, which.to(self._device), :4].long()
        middle = (box[:, :2] + box[:, 2:]) // 2
        corners = middle - WINDOW_PX // 2 + torch.from_numpy(sway).to(self._device)
        return corners.clamp(0, MASTER_PX - WINDOW_PX)

    def _coloured(self, pages: torch.Tensor, palettes: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(pages), device=self._device).view(-1, 1, 1)
        return palettes[rows, pages.long()].permute(0, 3, 1, 2).float()

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        return (image / 255 - self._mean) / self._std


def _cut(text: _Text, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, each text cut to `limit` tokens with its end token kept, as the run cuts it.

    Always padded to `limit`: the longest text of a batch is known on the device alone, and asking
    for it would make the host wait for every step.
    """
    lengths = text.lengths.long().clamp(max=limit)
    ids = text.ids[:, :limit].long()
    at = torch.arange(ids.shape[1], device=ids.device)
    mask = (at < lengths[:, None]).long()
    ids = torch.where(at == lengths[:, None] - 1, text.end, ids)
    return ids * mask, mask  # both tokenizers pad with 0
