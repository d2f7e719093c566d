"""Ceilings kept between runs: a file and a key in, `Ceilings` out, or why they cannot be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from layerscope.core.files import DAMAGED, write_json
from layerscope.core.words import first_line
from layerscope.measure.ceilings_bench import RATES
from layerscope.measure.datasheets import datasheet_of
from layerscope.records.plausible_ceilings import impossible, unlikely
from layerscope.records.work import CEILINGS_FORM, Ceilings

# After so many measurements on a machine that is never quiet, the best of them has to do.
ENOUGH_BUSY_TRIES = 5


@dataclass(frozen=True, slots=True)
class Kept:
    """What the file holds under one key. `doubt` says why it must be measured again; "" for nothing
    to doubt, or nothing kept."""

    ceilings: Ceilings | None = None
    doubt: str = ""


def load_kept(path: Path, key: str, device: str) -> Kept:
    """The ceilings filed under this key, judged; nothing of the file is taken on trust.

    Args:
        device: the name of the device they must be of.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        return Kept(doubt=f"{path} cannot be read ({error.strerror})")
    try:
        entry = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(key)
        if entry is None:
            return Kept()
        found = with_datasheet(msgspec.json.decode(entry, type=Ceilings), device)
    except DAMAGED as error:
        return Kept(doubt=f"{path} is damaged ({first_line(error, longest=80)})")
    return Kept(found, doubt_of(found, key, device))


def with_datasheet(ceilings: Ceilings, device: str = "") -> Ceilings:
    """The maker's rates as this version knows them, whatever a file said.

    Args:
        device: its name; the ceilings' own when left out.
    """
    sheet = datasheet_of(device or ceilings.device)
    return replace(
        ceilings,
        datasheet_flops_per_s=dict(sheet.flops_per_s) if sheet else None,
        datasheet_bytes_per_s=sheet.bytes_per_s if sheet else None,
    )


def doubt_of(ceilings: Ceilings, key: str, device: str) -> str:
    """Why these need another measurement; "" where nothing speaks against them."""
    if ceilings.form != CEILINGS_FORM:
        return "measured by an older layerscope"
    if ceilings.key != key or ceilings.device != device:
        return f"they say to be of {ceilings.key[:80]!r}"
    if not _past(ceilings.measured_utc):
        return f"no date that has been: {ceilings.measured_utc[:40]!r}"
    known = {*ceilings.matmul_flops_per_s, *ceilings.absent, "copy"}
    missing = [name for name in RATES if name not in known]
    if missing:
        return f"no rate of {', '.join(missing)}, and no reason"
    wrong = {**unlikely(ceilings), **impossible(ceilings)}
    if wrong:
        return "; ".join(wrong.values())
    if ceilings.quiet is False and ceilings.busy_tries < ENOUGH_BUSY_TRIES:
        return f"measured while there was doubt: {ceilings.load}"
    return ""


def store(path: Path, ceilings: Ceilings) -> Ceilings:
    """File ceilings beside the others; the file is replaced in one step.

    Entries that cannot be read, or are of another form, are dropped: nobody would use them.

    Returns:
        The ceilings, with a note where they could not be kept.
    """
    kept = {**_readable(path), ceilings.key: replace(ceilings, kept=False, notes=())}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)
    except OSError as error:
        note = f"not kept for the next run: {path}: {error.strerror}"
        return replace(ceilings, notes=(*ceilings.notes, note))
    return ceilings


def _readable(path: Path) -> dict[str, Ceilings]:
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, *DAMAGED):
        return {}
    found = {}
    for key, entry in entries.items():
        try:
            ceilings = msgspec.json.decode(entry, type=Ceilings)
        except DAMAGED:
            continue
        if ceilings.form == CEILINGS_FORM:
            found[key] = ceilings
    return found


def _past(text: str) -> bool:
    """Whether this is a time, with its zone, that has been; a day's grace for clocks that differ."""
    try:
        return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds() < 86_400
    except (ValueError, TypeError):
        return False
