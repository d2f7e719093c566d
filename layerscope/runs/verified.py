"""A run's folder in, whether it is as it was written out: by its hashes, and by its trace."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from layerscope import __version__
from layerscope.core.errors import AccountingError, DataError
from layerscope.core.files import (
    DAMAGED,
    FIGURES_FOLDER,
    FINDINGS_FILE,
    LAYER_ENERGY_FILE,
    LAYERS_PARQUET_FILE,
    RUN_FILE,
    RUN_FILES,
)
from layerscope.core.folder_file import is_there, read_file, read_json_bytes
from layerscope.records import RunRecord
from layerscope.records.run_record import AccountRecord
from layerscope.records.seal import hash_of, holds, names_in
from layerscope.records.tables import Account
from layerscope.report.layer_energy import write_layer_energy_csv
from layerscope.report.parquet import write_layers_parquet
from layerscope.report.table_files import write_csv_tables
from layerscope.runs.judge import write_findings
from layerscope.runs.run import Run

State = Literal["verified", "changed", "no hashes", "no trace"]
_WORDS: dict[State, str] = {
    "verified": "verified",
    "changed": "changed since it was written",
    "no hashes": "no hashes to verify against",
    "no trace": "no trace to verify against",
}
# What a run may lose without being another: both are made of nothing else and are large.
_THROWN_AWAY = {"trace", "tb_profiler"}
# What rests on ceilings is judged anew by every version, and so are findings; parameters stood in every
# phase of a layer in 0.1.0.
_BY_VERSION = {"roofline_us", "roofline_fraction", "bound", "params"}
_UNPACKED_MOST = 64 << 20
_TOTALS = (
    ("device_sum_us", "device_sum_ns"),
    ("device_active_us", "device_active_ns"),
    ("window_span_us", "window_span_ns"),
    ("host_window_us", "host_window_ns"),
)


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of one run's folder.

    Attributes:
        differences: each file or cell that is not as it was, with both values where there are two.
        notes: what could not be looked at, and why.
        hashed: files whose hash is the recorded one.
        derived: tables that the trace gives again.
    """

    state: State
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hashed: int = 0
    derived: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The verdict and what it rests on, in a line."""
        said = [_WORDS[self.state]]
        if self.hashed:
            said.append(f"{self.hashed} files have the hashes that the run recorded")
        if self.derived:
            said.append(f"{', '.join(self.derived)} follow from the trace")
        return "; ".join((*said, *self.differences, *self.notes))


def verify(run: Run) -> Verified:
    """Compare every file with its recorded hash, and every table with what the trace gives.

    Raises:
        DataError: no run's folder, or a record that cannot be read.
    """
    record, folder = run.written, run.folder
    if record is None or folder is None:
        raise DataError(f"{run.place.shown}: a trace without a run; there is nothing to verify.")
    differences = list(changed_files(record, folder))
    hashed = len(record.hashes) - len(differences) if record.hashes else 0
    notes = list(_notes(record, folder))
    derived: tuple[str, ...] = ()
    if run.trace is not None:
        try:
            derived = _derive(run, record, folder, differences, notes)
        except (DataError, AccountingError) as error:
            differences.append(str(error))
    return Verified(
        state=_state(record, run, differences),
        differences=tuple(map(_printable, differences)),
        notes=tuple(map(_printable, notes)),
        hashed=max(hashed, 0),
        derived=derived,
    )


def _printable(text: str) -> str:
    """Names and cells of a stranger's, without what would steer a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _state(record: RunRecord, run: Run, differences: Sequence[str]) -> State:
    if differences:
        return "changed"
    if run.trace is None and record.trace is not None:
        return "no trace"
    return "verified" if record.hashes else "no hashes"


def _notes(record: RunRecord, folder: Path) -> Iterator[str]:
    if not record.hashes:
        yield (
            "the run was written before layerscope kept hashes: only its tables can be verified, by "
            "its trace"
        )
    elif strange := [n for n in names_in(folder) if n not in record.hashes and not _is_read(n)]:
        yield f"not of the run, and read by nothing: {', '.join(strange)}"
    gone = [
        name
        for role, name in record.files.items()
        if (role in _THROWN_AWAY or not record.hashes) and not is_there(folder / name)
    ]
    if gone:
        yield f"not in the folder: {', '.join(gone)}"


def changed_files(record: RunRecord, folder: Path) -> Iterator[str]:
    """Files that are not what the record's hashes say, each with the reason.

    Raises:
        DataError: `run.json` cannot be read.
    """
    try:
        text = read_json_bytes(folder / RUN_FILE)
    except OSError as error:
        raise DataError(f"{folder / RUN_FILE}: cannot be read ({error.strerror}).") from None
    if not record.hashes:
        # Without hashes this is all that can be said: a key that no version writes, `hashes` misspelt.
        try:
            unknown = set(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
        except DAMAGED as error:
            yield f"{RUN_FILE}: damaged ({error})"
            return
        unknown -= {item.name for item in fields(RunRecord)}
        yield from (f"{RUN_FILE}: has a key that no run has, {key!r}" for key in sorted(unknown))
        return
    if not holds(text, record.hashes):
        yield f"{RUN_FILE}: not the text that its own hash was taken of"
    thrown = {name for role, name in record.files.items() if role in _THROWN_AWAY}
    for name, wanted in record.hashes.items():
        if name == RUN_FILE or (name in thrown and not is_there(folder / name)):
            continue
        try:
            if hash_of(folder, name) != wanted:
                yield f"{name}: another content than its hash was taken of"
        except FileNotFoundError:
            yield f"{name}: not in the folder"
        except (OSError, ValueError) as error:
            yield f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})"
    for name in names_in(folder):
        if name not in record.hashes and _is_read(name):
            yield f"{name}: the run did not write it, and it would be read"


def _is_read(name: str) -> bool:
    return name in RUN_FILES.values() or name.split("/", maxsplit=1)[0] == FIGURES_FOLDER


def _derive(
    run: Run, record: RunRecord, folder: Path, differences: list[str], notes: list[str]
) -> tuple[str, ...]:
    """Make the tables again and compare them; returns the names of those that are the same."""
    account, same = run.account, []
    ours = bool(record.hashes) and record.environment.layerscope == __version__
    if not ours:
        notes.append(
            f"{FINDINGS_FILE} and the columns {', '.join(sorted(_BY_VERSION))} were not compared: "
            "another version's rules may have made them"
        )
    left_out = set() if ours else _BY_VERSION
    with TemporaryDirectory(prefix="layerscope-verify-") as made:
        for name in _again(run, account, Path(made), notes, findings=ours):
            if not is_there(folder / name):
                continue  # said already, where it should be there
            found = _compared(folder / name, Path(made) / name, left_out, notes)
            if found:
                differences.append(found)
            else:
                same.append(name)
    differences += _totals(record.account, account)
    return tuple(same)


def _again(
    run: Run, account: Account, folder: Path, notes: list[str], *, findings: bool
) -> Iterator[str]:
    yield from write_csv_tables(account, folder).values()
    if find_spec("pyarrow") is not None:
        write_layers_parquet(account.table, folder / LAYERS_PARQUET_FILE)
        yield LAYERS_PARQUET_FILE
    else:
        notes.append(f"{LAYERS_PARQUET_FILE} was not made again: pyarrow is not installed")
    if run.layer_energy is not None and run.layer_energy.reason is None:
        write_layer_energy_csv(run.layer_energy, folder / LAYER_ENERGY_FILE)
        yield LAYER_ENERGY_FILE
    if findings and run.findings is not None:
        write_findings(run.findings, folder)
        yield FINDINGS_FILE


def _compared(saved: Path, again: Path, left_out: Set[str], notes: list[str]) -> str:
    """What differs, with the first place; "" where nothing does."""
    name = saved.name
    try:
        ours = read_file(saved)
    except OSError as error:
        return f"{name}: cannot be read ({error.strerror})"
    theirs = read_file(again)
    if ours == theirs:
        return ""
    if name == LAYERS_PARQUET_FILE:
        return _parquet_differs(name, ours, theirs, left_out)
    if not name.endswith(".csv"):
        return f"{name}: not what the trace gives"
    try:
        return _cells_differ(name, ours.decode(), theirs.decode(), left_out, notes)
    except (UnicodeDecodeError, csv.Error) as error:
        return f"{name}: not a table in CSV ({error})"


def _cells_differ(name: str, ours: str, theirs: str, left_out: Set[str], notes: list[str]) -> str:
    """By the columns that both have: an older version wrote fewer."""
    (head, *rows), (head_again, *rows_again) = _lines(ours), _lines(theirs)
    shared = [column for column in head if column in head_again and column not in left_out]
    if set(head) != set(head_again):
        notes.append(f"{name} has other columns than this version's; the shared ones were compared")
    if not shared:
        return f"{name}: none of its columns is this version's"
    if len(rows) != len(rows_again):
        return f"{name}: {len(rows):,} rows; the trace gives {len(rows_again):,}"
    found = []
    for number, (row, again) in enumerate(zip(rows, rows_again, strict=True), start=2):
        if len(row) != len(head):
            return f"{name}, row {number}: {len(row)} cells under {len(head)} columns"
        for column in shared:
            one, other = row[head.index(column)], again[head_again.index(column)]
            if one != other:
                place = " ".join(row[:2])
                found.append(
                    f"{name}, row {number} ({place}), {column}: {one or 'blank'}; the trace gives "
                    f"{other or 'blank'}"
                )
    if not found:
        return ""
    return found[0] + (f" (and {len(found) - 1:,} more cells)" if found[1:] else "")


def _lines(text: str) -> list[list[str]]:
    lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    return lines or [[]]


def _parquet_differs(name: str, ours: bytes, theirs: bytes, left_out: Set[str]) -> str:
    import pyarrow
    import pyarrow.parquet

    try:
        held = pyarrow.parquet.ParquetFile(io.BytesIO(ours))
        groups = range(held.metadata.num_row_groups)
        if sum(held.metadata.row_group(i).total_byte_size for i in groups) > _UNPACKED_MOST:
            return f"{name}: unfolds to more than any table of layers"
        one, other = held.read(), pyarrow.parquet.ParquetFile(io.BytesIO(theirs)).read()
        shared = [c for c in one.column_names if c in other.column_names and c not in left_out]
        same = bool(shared) and one.select(shared).equals(other.select(shared))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        return f"{name}: not a table in Parquet ({' '.join(str(error).split())})"
    return "" if same else f"{name}: not what the trace gives"


def _totals(recorded: AccountRecord | None, account: Account) -> Iterator[str]:
    """The whole, as `run.json` has it and as the trace gives it."""
    if recorded is None:
        return
    whole: Any = account.table.whole
    pairs = [("events", recorded.events, whole.device_events)]
    for name, of_whole in _TOTALS:
        ns = getattr(whole, of_whole)
        again = None if ns is None else round(ns / 1000, 3)
        pairs.append((name, getattr(recorded, name), again))
    for name, saved, again in pairs:
        if saved != again:
            yield f"{RUN_FILE}, account.{name}: {saved}; the trace gives {again}"
