"""A log folder in, the folders in it that hold a certain file out; nothing outside it is reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from layerscope.core.files import RUN_FILE
from layerscope.core.folder_file import open_file, read_file, read_json_bytes, state_of


class LogFolder:
    """One log folder. Everything the tab serves was found by walking it, so no name can leave it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def holding(self, name: str) -> Iterator[Path]:
        """Folders that hold this file, none below a run; a link that leads out does not count."""
        for parent, folders, files in os.walk(self._root):
            folder = Path(parent)
            if name in files and self.inside(folder / name):
                yield folder
            if RUN_FILE in files and self.inside(folder / RUN_FILE):
                folders.clear()  # a run holds neither runs nor sweeps
            else:
                # Hidden: runs being written stand under `.partial-…` until they are whole.
                folders[:] = sorted(name for name in folders if not name.startswith("."))

    def inside(self, path: Path) -> Path | None:
        """The file; None where none of this name is there, or a link, a pipe or a device.

        The path's folder is one that the walk found, which follows no links. Whoever reads the file
        opens it with `open` or `read`, which look again at what they have opened.
        """
        return path if state_of(path) is not None else None

    def open(self, path: Path) -> BufferedReader:
        """A file that the walk found, opened; see `core.folder_file.open_file`.

        Raises:
            OSError: it cannot be read, or is refused.
        """
        return open_file(path, self._root)

    def read(self, path: Path) -> bytes:
        """The whole of a file that the walk found.

        Raises:
            OSError: it cannot be read, or is refused.
        """
        return read_file(path, self._root)

    def read_json(self, path: Path) -> bytes:
        """The text of a JSON file that the walk found.

        Raises:
            OSError: it cannot be read, or is refused.
        """
        return read_json_bytes(path, self._root)

    def id(self, folder: Path) -> str:
        """The folder's path below the log folder, "." for the log folder itself."""
        return folder.relative_to(self._root).as_posix()

    def file(self, folder_id: str, holding: str, name: str) -> Path | None:
        """A file of the folder with this id among those that hold `holding`; None if there is none.

        The id is looked for among the folders found, never joined to a path, so `..` cannot leave
        the log folder; a link that leads out of it is refused like a file that is not there.
        """
        folder = self.folder(folder_id, holding)
        return self.inside(folder / name) if folder is not None else None

    def folder(self, folder_id: str, holding: str) -> Path | None:
        """The folder with this id among those that hold `holding`; None if there is none."""
        found = self.holding(holding)
        return next((folder for folder in found if self.id(folder) == folder_id), None)
