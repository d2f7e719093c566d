"""A run's figures in, images that a page can hold without fetching anything out.

A picture is embedded as an image, never as part of the page: a browser runs no script and loads
nothing from inside an image, and the figures' element names cannot meet one another.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from layerscope.core.files import FIGURES_FOLDER
from layerscope.core.folder_file import is_there, read_file
from layerscope.report.html.sent_run import Picture

# Role -> the words that stand under the figure and for it where images are off.
CAPTIONS = {
    "phases": "Time by phase, split by what the layers do.",
    "window": "The profiled window by phase: device busy, or idle and what it waited for.",
    "roofline": "Layers against the measured ceilings of this device.",
    "energy": "Joules of replayed layers against their time, by kind of layer.",
    "top_layers": "The largest kinds of layers by own time; blocks of a stack added up.",
}
_MOST_BYTES = 600_000
_OUTSIDE = re.compile(
    r"<!ENTITY|<script|<foreignObject|<image|<iframe|\son\w+\s*=|@import|javascript:"
    r"|href\s*=\s*[\"'](?!#)|url\(\s*[\"']?(?!#)",
    re.IGNORECASE,
)
_PROLOG = re.compile(r"\A\s*<\?xml.*?\?>\s*(<!DOCTYPE[^\[>]*>\s*)?", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


def read_pictures(
    folder: Path, roles: Iterable[str] = tuple(CAPTIONS)
) -> tuple[tuple[Picture, ...], tuple[tuple[str, str], ...]]:
    """The figures of a folder, and (figure, reason) for each of these roles that is not shown."""
    pictures, absent = [], []
    for role in roles:
        path = folder / FIGURES_FOLDER / f"{role}.svg"
        if role == "energy" and not is_there(path):
            continue  # drawn only where layers were replayed, which few runs ask for
        found = _read(path, role)
        if isinstance(found, Picture):
            pictures.append(found)
        else:
            absent.append((f"figure {role}", found))
    return tuple(pictures), tuple(absent)


def data_uri(picture: Picture) -> str:
    """The picture as the address of an image."""
    return "data:image/svg+xml;base64," + b64encode(picture.svg.encode()).decode("ascii")


def _read(path: Path, role: str) -> Picture | str:
    """The picture, or why it is not taken."""
    name = f"{FIGURES_FOLDER}/{path.name}"
    try:
        # A link in a folder that someone sent could put any file of this machine into the report.
        text = read_file(path, path.parent.parent, _MOST_BYTES).decode()
    except FileNotFoundError:
        return f"{name} is not in the folder"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    except UnicodeDecodeError as error:
        return f"{name} cannot be read ({error})"
    text = _METADATA.sub("", _PROLOG.sub("", text))
    if not text.startswith("<svg") or _OUTSIDE.search(text):
        return f"{name} is not a figure as layerscope draws them"
    return Picture(role=role, svg=text)
