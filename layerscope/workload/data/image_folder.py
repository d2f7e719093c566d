"""A folder of the user's images in, samples under one prompt out; no answers, so no scores."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from layerscope.core.errors import DataError
from layerscope.workload.data.images import decode
from layerscope.workload.data.prompts import DESCRIBE
from layerscope.workload.data.sample import Sample

NAME = "images"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class ImageFolder:
    """The images of a folder by name, over and over where more samples are asked for than it holds."""

    name = NAME
    synthetic = False
    prompt: str | None = DESCRIBE
    revision = None

    def __init__(self, folder: str) -> None:
        """Raises DataError: no such folder, or no image in it."""
        self._folder = Path(folder).expanduser()
        if not self._folder.is_dir():
            raise DataError(f"--images {folder}: no such folder.")
        self._files = sorted(p for p in self._folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not self._files:
            raise DataError(f"--images {folder}: no image in it ({', '.join(SUFFIXES)}).")
        self._broken: dict[str, str] = {}
        self._taken = 0

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        good = len(self._files) - len(self._broken)
        again = ", each more than once" if self._taken > good else ""
        return f"{good} images of {self._folder}{again}"

    @property
    def skipped(self) -> tuple[str, ...]:
        """Images that cannot be decoded, with the reason."""
        return tuple(f"{name}: {reason}" for name, reason in self._broken.items())

    def samples(self, count: int) -> Iterator[Sample]:
        """Exactly `count` samples.

        Raises:
            DataError: no image of the folder can be decoded.
        """
        self._taken = 0
        files, seen = itertools.cycle(self._files), Counter[str]()
        while self._taken < count:
            if len(self._broken) == len(self._files):
                name, reason = next(iter(self._broken.items()))
                raise DataError(f"{self._folder}: no image can be decoded ({name}: {reason}).")
            file = next(files)
            if file.name in self._broken:
                continue
            try:
                image = decode(file.read_bytes())
            except (DataError, OSError) as error:
                self._broken[file.name] = str(error)
                continue
            yield Sample(
                sample_id=f"{file.name}#{seen[file.name]}" if seen[file.name] else file.name,
                image=image,
                prompt=DESCRIBE,
                references=(),
            )
            seen[file.name] += 1
            self._taken += 1
