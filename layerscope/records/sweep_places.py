"""`SweepPlaces` (`nodes.json`): which node and device each cell of a sweep was measured on, and when."""

from __future__ import annotations

from dataclasses import dataclass, field

from layerscope.records.run_record import Environment


@dataclass(frozen=True, kw_only=True)
class SweepNode:
    """One machine of a cluster, read on it before its first cell."""

    host: str
    address: str
    environment: Environment


@dataclass(frozen=True, kw_only=True)
class CellPlace:
    """Where a cell was measured.

    Attributes:
        node: key in `SweepPlaces.nodes`.
        devices: what the cell held alone: "GPU 0", or "all 64 CPUs".
        process: id of the process it ran in; cells of one process may share a loaded model.
        began_utc, ended_utc: by the node's own clock, so they compare within one node only.
        folder: name of the run folder that came of it.
    """

    node: str
    devices: tuple[str, ...]
    process: int
    began_utc: str
    ended_utc: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class SweepPlaces:
    """Nodes by their id in the cluster, places by the cell's id."""

    schema_version: int = 1
    nodes: dict[str, SweepNode] = field(default_factory=dict)
    cells: dict[str, CellPlace] = field(default_factory=dict)
