"""The name of a configuration that ships with layerscope in, its path out."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from layerscope.core.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_root() -> Path:
    """The folder `configs/`: inside the installed package, or beside it in a source checkout."""
    packed = _PACKAGE / "configs"
    return packed if packed.is_dir() else _PACKAGE.parent / "configs"


def shipped_names(kind: str = "") -> tuple[str, ...]:
    """Names of the shipped configurations below `kind` ("models", "reference", …), sorted."""
    root = shipped_root() / kind
    return tuple(sorted(str(p.relative_to(root).with_suffix("")) for p in root.rglob("*.yaml")))


def shipped_config(kind: str, name: str) -> Path:
    """Path of a shipped configuration.

    Raises:
        UsageError: there is none of that name; the message lists those there are.
    """
    # Not with_suffix: a name may have a dot of its own (qwen2.5-vl-7b-instruct).
    path = shipped_root() / kind / f"{name}.yaml"
    if name not in shipped_names(kind):
        known = ", ".join(shipped_names(kind)) or "none"
        raise UsageError(f"{name}: no shipped configuration of that name; there are: {known}.")
    return path


def shipped_line(name: str) -> str:
    """What a shipped configuration is, in a line: the first sentence of the comment at its head.

    Raises:
        UsageError: there is none of that name.
    """
    text = shipped_config("", name).read_text(encoding="utf-8")
    comment = " ".join(
        line.removeprefix("#").strip()
        for line in itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    )
    # A dot inside a name or a number ends no sentence; what stands in brackets is for the file's reader.
    sentence = re.split(r"\.(?= |$)", comment, maxsplit=1)[0]
    said = re.sub(r" \([^()]*(\([^()]*\)[^()]*)*\)$", "", sentence)
    return said.removeprefix("The architecture of ")


def find_config(given: str) -> Path:
    """A path as it stands, else the shipped configuration of that name.

    Raises:
        UsageError: neither exists.
    """
    path = Path(given)
    if path.is_file():
        return path
    if given.removesuffix(".yaml") in shipped_names():
        return shipped_config("", given.removesuffix(".yaml"))
    known = ", ".join(shipped_names())
    raise UsageError(f"{given}: no such file, and no shipped configuration of that name ({known}).")
