"""Scalars, texts and pictures in, one TensorBoard event file out.

tensorboard is imported when a file is written, not before: a run can be read without it.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerscope.core.errors import EnvironmentProblem

_SUFFIX = "layerscope"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Scalar:
    """One point of SCALARS. `after_s`: seconds after the file's own time, for what was sampled."""

    tag: str
    value: float
    step: int = 0
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Text:
    """One entry of TEXT, in Markdown."""

    tag: str
    markdown: str
    step: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """One picture of IMAGES: the bytes of a PNG file."""

    tag: str
    png: bytes
    step: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """What HPARAMS reads: a message of its own kind under the tag that names the kind."""

    tag: str
    content: Any  # an HParamsPluginData, which has no types


Entry = Scalar | Text | Image | Message


def write_event_file(folder: Path, entries: Iterable[Entry]) -> Path:
    """Write one event file into `folder`, in place of an earlier one of ours, and return its path.

    The file's name and content hold no host name, so that a folder can be published.

    Raises:
        EnvironmentProblem: tensorboard is not installed, or the file cannot be written.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise EnvironmentProblem(
            f"{folder}: writing TensorBoard events needs the package tensorboard; "
            "pip install tensorboard."
        ) from None
    now = time.time()
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    for entry in entries:
        step = 0 if isinstance(entry, Message) else entry.step
        after = entry.after_s if isinstance(entry, Scalar) else 0.0
        summary = Summary(value=[_value(entry)])
        events.append(Event(wall_time=now + after, step=step, summary=summary))
    path = folder / f"events.out.tfevents.{int(now)}.{_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = [old for old in folder.glob(f"events.out.tfevents.*.{_SUFFIX}") if old != path]
        with path.open("wb") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())
        for old in earlier:
            old.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise EnvironmentProblem(f"{path}: cannot write the events ({error.strerror}).") from None
    return path


def _value(entry: Entry) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    def strings(plugin: str, *held: bytes) -> Any:
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(held))])
        tensor = TensorProto(
            dtype=DT_STRING, string_val=held, tensor_shape=shape if len(held) > 1 else None
        )
        return Summary.Value(tag=entry.tag, metadata=metadata, tensor=tensor)

    match entry:
        case Scalar():
            return Summary.Value(tag=entry.tag, simple_value=entry.value)
        case Text():
            return strings("text", entry.markdown.encode())
        case Image():
            size = _png_size(entry.png)
            return strings("images", *(str(side).encode() for side in size), entry.png)
        case Message():
            from tensorboard.plugins.hparams import metadata

            return Summary.Value(
                tag=entry.tag,
                metadata=metadata.create_summary_metadata(entry.content),
                tensor=metadata.NULL_TENSOR,
            )


def _png_size(png: bytes) -> tuple[int, int]:
    """Width and height, from the header that every PNG file begins with."""
    if not png.startswith(_PNG_SIGNATURE):
        raise ValueError("not a PNG file")
    width, height = struct.unpack(">II", png[16:24])
    return width, height
