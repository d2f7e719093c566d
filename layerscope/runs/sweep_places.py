"""A sweep's folder in, where its cells were measured out; and the same way back."""

from __future__ import annotations

from pathlib import Path

import msgspec

from layerscope.core.errors import DataError
from layerscope.records.sweep_places import PLACES_FILE, CellPlace, SweepNode, SweepPlaces
from layerscope.runs.sweep_folder import write_file


def read_places(root: Path) -> SweepPlaces:
    """What `nodes.json` says; nothing where no cell ran on a cluster.

    Raises:
        DataError: the file is damaged.
    """
    path = root / PLACES_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=SweepPlaces)
    except FileNotFoundError:
        return SweepPlaces()
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{path}: not a list of a sweep's nodes ({error}).") from None


class PlaceBook:
    """Keeps `nodes.json` while cells come in; what an earlier go wrote stays in it."""

    def __init__(self, root: Path) -> None:
        self._path = root / PLACES_FILE
        self._places = read_places(root)

    def add(self, cell: str, place: CellPlace, node: SweepNode) -> None:
        """Write where a cell was measured, in one step.

        Raises:
            EnvironmentProblem: the disk is full or cannot be written.
        """
        self._places = SweepPlaces(
            nodes=self._places.nodes | {place.node: node},
            cells=self._places.cells | {cell: place},
        )
        write_file(self._path, msgspec.json.format(msgspec.json.encode(self._places), indent=2))
