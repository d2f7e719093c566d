"""Which commits a reproduction reads: resolved on the first start, kept, the same ever after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from layerscope import __version__
from layerscope.core.errors import DataError, UsageError
from layerscope.core.files import PINS_FILE
from layerscope.core.folder_file import read_json_if_there
from layerscope.runs.sweep_folder import write_part

_SAID = {
    "variant": "--variant",
    "model": "--model",
    "data_dir": "--data-dir",
    "device": "--device",
    "samples": "--samples",
}


@dataclass(frozen=True, kw_only=True)
class Pins:
    """What a reproduction runs on, fixed by its first start.

    Attributes:
        variant: which set of sweeps: reference, random or tiny.
        model: hub id or folder; None: the sweeps' own.
        model_commit: of a model on the hub; None for a folder or a built model.
        weights_sha256: weight file -> SHA-256, of a folder. The hub lists the same hash for each of its
            files, so anyone can tell whether these are the published weights.
        datasets: data set on the hub -> commit; folders have none.
        data_dir: folder of the data sets; None: the hub, or drawn data.
        device, samples: as given; None: the sweeps' own.
        resolved_utc: when the hub was asked.
    """

    variant: str
    model: str | None = None
    model_commit: str | None = None
    weights_sha256: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    data_dir: str | None = None
    device: str | None = None
    samples: int | None = None
    resolved_utc: str = ""
    layerscope: str = __version__


def read_pins(root: Path) -> Pins | None:
    """The pins of an earlier start; None for a new folder.

    Raises:
        DataError: the file is damaged.
    """
    return read_json_if_there(root / PINS_FILE, Pins, "the pins of a reproduction")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def kept_pins(root: Path, asked: Pins, resolve: Callable[[Pins], Pins]) -> Pins:
    """The pins to run with: the folder's own where it has some, else resolved now and kept.

    Args:
        asked: what this command says, commits open.
        resolve: fills in the commits from the hub.

    Raises:
        UsageError: the folder was started with something else.
        EnvironmentProblem: the hub cannot be reached, or the folder cannot be written.
    """
    earlier = read_pins(root)
    if earlier is None:
        found = resolve(asked)
        write_part(root / PINS_FILE, found)
        return found
    for name, option in _SAID.items():
        before, now = getattr(earlier, name), getattr(asked, name)
        if before != now:
            raise UsageError(
                f"{option} {now}: {root} was started with {_shown(before)}; give the same, or "
                "another --out."
            )
    return earlier


def pinned_words(pins: Pins, repos: Mapping[str, str]) -> list[str]:
    """One line for the model and each data set that is read from the hub.

    Args:
        repos: data set -> its repository.
    """
    lines = []
    if pins.model_commit is not None:
        lines.append(f"model {pins.model} at commit {pins.model_commit}")
    for name, digest in pins.weights_sha256.items():
        lines.append(f"weights {name}: SHA-256 {digest}")
    for name, commit in pins.datasets.items():
        lines.append(f"data set {name}, {repos[name]}, at commit {commit}")
    return lines


def _shown(value: object) -> str:
    return "its own choice" if value is None else str(value)
