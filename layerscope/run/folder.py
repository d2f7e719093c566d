"""A run's name in, its folder out: written under a temporary name, renamed when whole."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from layerscope.errors import EnvironmentProblem
from layerscope.records import RunConfig

_PARTIAL = ".partial-"


def run_name(config: RunConfig, now: datetime | None = None) -> str:
    """`<utc time>-<model>-b<batch>-<size>px` and what departs from the defaults, sortable by time."""
    now = now or datetime.now(UTC)
    model = re.sub(r"[^A-Za-z0-9._]+", "-", config.model.rstrip("/").rsplit("/", 1)[-1]).strip("-.")
    extra = [config.dataset]
    if config.weights == "random":
        extra.append("random")
    if config.optimization != "eager":
        extra.append(config.optimization)
    tail = "-".join(extra)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{model}-b{config.batch_size}-{config.image_size}px-{tail}"


class RunFolder:
    """Context manager: `path` is a hidden folder inside `out` that takes its final name on success.

    An exception or Ctrl-C inside removes it, so no half-written run ever carries a final name. Two
    runs that start within one second get different names: the folder itself is the reservation.

    Raises:
        EnvironmentProblem: the place cannot be written, or the disk is full while inside.
    """

    def __init__(self, out: Path, name: str) -> None:
        self._out = out
        self._wanted = name
        self.name = name
        self.path = out / (_PARTIAL + name)

    def __enter__(self) -> RunFolder:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
            self._reserve()
        except OSError as error:
            raise EnvironmentProblem(
                f"{self._out}: runs cannot be written there ({error.strerror}); choose another "
                "folder with --out."
            ) from None
        return self

    def _reserve(self) -> None:
        number = 1
        while True:
            self.name = self._wanted if number == 1 else f"{self._wanted}-{number}"
            self.path = self._out / (_PARTIAL + self.name)
            if not (self._out / self.name).exists():
                with contextlib.suppress(FileExistsError):
                    self.path.mkdir()
                    return
            number += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                os.rename(self.path, self._out / self.name)
            except OSError as problem:
                shutil.rmtree(self.path, ignore_errors=True)
                raise self._unwritable(problem) from None
            self.path = self._out / self.name
            return
        shutil.rmtree(self.path, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, KeyboardInterrupt):
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> EnvironmentProblem:
        what = error.strerror or str(error)
        return EnvironmentProblem(
            f"{self._out / self.name}: the run could not be written ({what}); nothing was kept. "
            "Free the disk or choose another folder with --out."
        )
