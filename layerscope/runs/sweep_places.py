"""A sweep's folder in, where its cells were measured out; and the same way back."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.files import PLACES_FILE
from layerscope.core.folder_file import read_json_if_there
from layerscope.records.sweep_places import CellPlace, SweepNode, SweepPlaces
from layerscope.runs.sweep_folder import write_part


def read_places(root: Path) -> SweepPlaces:
    """What `nodes.json` says; nothing where no cell ran on a cluster.

    Raises:
        DataError: the file is damaged.
    """
    found = read_json_if_there(root / PLACES_FILE, SweepPlaces, "a list of a sweep's nodes")
    return SweepPlaces() if found is None else found


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
        write_part(self._path, self._places)
