"""`Captured`: what a capture knows beside its events, and the text as which it travels in the trace.

With it a saved trace gives the same account as the capture that wrote it, without torch.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from layerscope.core.files import DAMAGED
from layerscope.core.roles import Role
from layerscope.records.provenance import Provenance
from layerscope.records.run_record import ModuleRecord

# History of the format:
# 1 (2026-11-27): first form.
_FORMAT = 1
# The trace's metadata under this key.
METADATA_KEY = "layerscope"
# 100,000 modules have some 10 MB, a hundredth of it packed. What is larger is left out and said so.
_MOST_PACKED_BYTES = 8 << 20
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What a capture knows beside its events.

    Attributes:
        modules: the model's, as `list_modules` gives them.
        calls: range name -> calls that opened one, counted while they ran.
        warnings: what the user should know of the window, in words.
        steps: decoder steps counted by the caller; None where none were.
        roles: of the modules, by FQN; empty for a model without any.
    """

    modules: tuple[ModuleRecord, ...]
    calls: dict[str, int]
    warnings: tuple[str, ...] = ()
    provenance: Provenance | None = None
    steps: int | None = None
    roles: dict[str, Role] = field(default_factory=dict)
    format: int = field(default=_FORMAT)


def packed(captured: Captured) -> str:
    """As one text of printable ASCII without quotes and backslashes, which Kineto would spoil."""
    text = _text(captured)
    if len(text) <= _MOST_PACKED_BYTES:
        return text
    bare = Captured(
        modules=(),
        calls={},
        warnings=(
            *captured.warnings,
            f"what the capture knows of its {len(captured.modules):,} modules is too large for the "
            "trace: class names, parameters and groups are absent",
        ),
        steps=captured.steps,
        roles=captured.roles,
    )
    return _text(bare)


def _text(captured: Captured) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(captured), 6)).decode()


def captured_in(metadata: Mapping[str, Any]) -> Captured | None:
    """What the capture that wrote a trace put beside its events; None where no capture wrote it.

    Text that is none of `packed` counts as absent, whoever wrote it: the events stand for themselves.
    """
    text = metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        return None
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(text, validate=True), _MOST_BYTES)
        if inflater.unconsumed_tail:
            return None
        found = msgspec.json.decode(data, type=Captured)
    except (binascii.Error, zlib.error, *DAMAGED):
        return None
    return found if found.format == _FORMAT else None
