"""Where rows come from: a layout and a folder, or the hub, go in; undecoded rows come out.

Images stay encoded bytes, so that one broken file costs one sample and not the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from layerscope.core.errors import DataError, EnvironmentProblem
from layerscope.core.words import first_line, kind_and_first_line
from layerscope.workload.data.layouts import Layout, Row

# A connection that broke while streaming is tried again so often and so many seconds apart.
_READ_TRIES, _READ_TRIES_APART_S = 3, 5

_SPLIT_NAMES = {"val": ("val", "validation"), "validation": ("validation", "val")}
_ANY_SPLIT = re.compile(r"(?:^|[-_./])(train|test|val|validation|dev)(?:[-_./]|$)")


def rows_in_folder(layout: Layout, data_dir: str) -> Iterable[Row]:
    """The rows of a `save_to_disk` folder, of a folder of Parquet files, or of one Parquet file.

    In a folder of Parquet files named by split, as the hub names them, the layout's split is read.

    Raises:
        DataError: no such folder, no data in it, not this split, or columns missing.
    """
    import datasets

    path = Path(data_dir)
    if not path.exists():
        raise DataError(f"--data-dir {data_dir}: no such file or folder.")
    try:
        if path.is_dir() and _is_saved(path):
            data = datasets.load_from_disk(str(path))
        else:
            files = [str(file) for file in _parquet_files(layout, path) if _holds_rows(file)]
            if not files:
                raise DataError(f"--data-dir {data_dir}: the Parquet files hold no rows.")
            data = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        if isinstance(data, datasets.DatasetDict):
            data = _split_of(layout, data, data_dir)
        rows: Iterable[Row] = _plain(layout, data, f"--data-dir {data_dir}")
        return rows
    except folder_errors() as error:
        raise folder_problem(data_dir, error) from None


def rows_on_hub(layout: Layout, revision: str) -> Iterable[Row]:
    """The rows on the hub at a commit, streamed: nothing is downloaded before it is read.

    Raises:
        EnvironmentProblem: the hub cannot be reached.
        DataError: columns missing.
    """
    import datasets

    # Its own 20 tries at 5 s, each of which the hub's client repeats, are silence for many minutes.
    datasets.config.STREAMING_READ_MAX_RETRIES = _READ_TRIES
    datasets.config.STREAMING_READ_RETRY_INTERVAL = _READ_TRIES_APART_S
    try:
        data = datasets.load_dataset(
            layout.repo, split=layout.split, revision=revision, streaming=True
        )
        rows: Iterable[Row] = _plain(layout, data, f"{layout.repo} at {revision}")
        return rows
    except hub_errors() as error:
        raise hub_problem(layout, error) from None


def resolve_revision(layout: Layout) -> str:
    """The commit to read: the layout's own, or the newest on the hub.

    Raises:
        EnvironmentProblem: the hub cannot be reached.
    """
    if layout.revision is not None:
        return layout.revision
    import huggingface_hub

    try:
        sha = huggingface_hub.HfApi().dataset_info(layout.repo).sha
    except hub_errors() as error:
        raise hub_problem(layout, error) from None
    if sha is None:
        raise DataError(f"{layout.repo}: the hub names no commit for it; use --data-dir.")
    return str(sha)


def folder_errors() -> tuple[type[Exception], ...]:
    """What reading damaged or foreign files raises."""
    import datasets
    import pyarrow

    return (OSError, pyarrow.ArrowException, datasets.exceptions.DatasetsError)


def folder_problem(data_dir: str, error: Exception) -> DataError:
    """The one line a user gets when a folder's files cannot be read."""
    return DataError(f"--data-dir {data_dir}: cannot be read ({first_line(error)}).")


def hub_errors() -> tuple[type[Exception], ...]:
    """What the hub's client libraries raise when the hub does not answer.

    The HTTP library below huggingface_hub has changed its name between versions, so its base error
    is taken from the class that inherits it.
    """
    import datasets
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    http = HfHubHTTPError.__bases__
    return (OSError, EntryNotFoundError, datasets.exceptions.DatasetsError, *http)


def hub_problem(layout: Layout, error: Exception) -> EnvironmentProblem:
    """The one line a user gets when the hub cannot be read, with the ways on."""
    return EnvironmentProblem(
        f"cannot read {layout.repo} from the Hugging Face hub "
        f"({kind_and_first_line(error)}): use --data-dir with a folder of its "
        f"Parquet files, or --dataset synthetic-{layout.name}, which needs no network."
    )


def _plain(layout: Layout, data: Any, where: str) -> Any:
    """The layout's columns with the image column left encoded."""
    import datasets

    names = data.column_names
    if names is None:  # a stream whose schema nobody wrote down: its first row tells
        names = list(next(iter(data.take(1)), {}))
    missing = [column for column in layout.columns if column not in names]
    if missing:
        raise DataError(
            f"{where}: no column {', '.join(missing)}; {layout.name} needs "
            f"{', '.join(layout.columns)} as in {layout.repo}, found {', '.join(names)}."
        )
    data = data.select_columns(list(layout.columns))
    return data.cast_column("image", datasets.Image(decode=False))


def _is_saved(path: Path) -> bool:
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _split_of(layout: Layout, data: Any, data_dir: str) -> Any:
    for name in _SPLIT_NAMES.get(layout.split, (layout.split,)):
        if name in data:
            return data[name]
    raise DataError(
        f"--data-dir {data_dir}: no split {layout.split}, found {', '.join(data)}: "
        "point at the folder of one split."
    )


def _parquet_files(layout: Layout, path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"--data-dir {path}: neither Parquet files nor a save_to_disk folder; "
            f"download the Parquet files of {layout.repo}."
        )
    splits = {file: _ANY_SPLIT.findall(str(file.relative_to(path))) for file in files}
    wanted = _SPLIT_NAMES.get(layout.split, (layout.split,))
    ours = [file for file, names in splits.items() if any(name in wanted for name in names)]
    unnamed = [file for file, names in splits.items() if not names]
    if not ours and not unnamed:
        raise DataError(
            f"--data-dir {path}: Parquet files of other splits only "
            f"(first: {files[0].name}); {layout.name} reads {layout.split}."
        )
    return ours or unnamed


def _holds_rows(file: Path) -> bool:
    import pyarrow.parquet

    # The datasets library fails on a file without rows, with a message about a batch size.
    return bool(pyarrow.parquet.read_metadata(file).num_rows)
