"""Chunks of drawn samples in, the samples of a split as tensors on the device out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from layerscope.workload.data.world import MASTER_PX
from pictures import unpack


@dataclass(frozen=True)
class Album:
    """Drawn samples of one split.

    Attributes:
        pixels: uint8 (N, 448, 448), an index into the page's palette.
        palettes: uint8 (N, 256, 3), RGB.
        text, qformer: int16 (N, 200) token ids, cut; text_lengths, qformer_lengths: int16 (N,).
        answers: int16 (N, 16) token ids with the end token; ABSENT beyond it.
        things: int16 (N, 5, 10) and letters: int16 (N, 25, 5), see `pictures`.
    """

    pixels: torch.Tensor
    palettes: torch.Tensor
    text: torch.Tensor
    text_lengths: torch.Tensor
    qformer: torch.Tensor
    qformer_lengths: torch.Tensor
    answers: torch.Tensor
    things: torch.Tensor
    letters: torch.Tensor

    def __len__(self) -> int:
        return int(self.text.shape[0])


def load(paths: Sequence[Path], device: torch.device) -> Album:
    """The album in these chunks, unpacked onto the device."""
    chunks = [dict(np.load(path)) for path in paths]
    count = sum(len(chunk["ends"]) for chunk in chunks)
    pixels = torch.empty((count, MASTER_PX, MASTER_PX), dtype=torch.uint8, device=device)
    at = 0
    with ThreadPoolExecutor() as pool:  # zlib works outside the interpreter's lock
        for chunk in chunks:
            pages = _pages(chunk.pop("blob"), chunk.pop("ends"), pool)
            pixels[at : at + len(pages)] = torch.from_numpy(pages).to(device)
            at += len(pages)
    columns: dict[str, Any] = {
        name: torch.from_numpy(np.concatenate([chunk[name] for chunk in chunks])).to(device)
        for name in chunks[0]
    }
    return Album(pixels=pixels, **columns)


def _pages(blob: np.ndarray, ends: np.ndarray, pool: ThreadPoolExecutor) -> np.ndarray:
    data, starts = blob.tobytes(), [0, *ends[:-1].tolist()]
    pages = np.empty((len(ends), MASTER_PX, MASTER_PX), dtype=np.uint8)

    def one(index: int) -> None:
        pages[index] = unpack(data[starts[index] : int(ends[index])])

    list(pool.map(one, range(len(ends))))
    return pages
