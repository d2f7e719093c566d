"""A node and a claim in, the driver's end of a seat on it out."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from layerscope.config.plan import LoadKey, load_key
from layerscope.records.sweep import Cell
from layerscope.sweep.cluster.claim import Claim, request
from layerscope.sweep.cluster.seat import Report, Seat, Terms


@dataclass(frozen=True)
class Node:
    """A machine of the cluster as Ray lists it. `resources` are its totals, by Ray's names."""

    id: str
    host: str
    address: str
    resources: dict[str, float]


def alive_nodes(ray: Any) -> list[Node]:
    """The machines that Ray does not know to be lost, in an order that stays."""
    found = [
        Node(
            id=node["NodeID"],
            host=node["NodeManagerHostname"],
            address=node["NodeManagerAddress"],
            resources=node["Resources"],
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(found, key=lambda node: (node.host, node.address, node.id))


class OpenSeat:
    """A seat that Ray was asked for. It reports once Ray has granted it; then it takes cells.

    Attributes:
        waits_for: what Ray will answer next; None when the seat has nothing to do.
        report: what the seat said of itself; None until it has.
        cell: the one it measures now.
        name: of the run folder that the cell gets.
        loaded: the model it had last.
    """

    def __init__(self, ray: Any, node: Node, claim: Claim, terms: Terms) -> None:
        self._ray = ray
        self.node, self.claim = node, claim
        self.report: Report | None = None
        self.cell: Cell | None = None
        self.name = ""
        self.loaded: LoadKey | None = None
        pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node.id, soft=False)
        # Neither restarts nor retries by Ray: it would repeat a cell whose folder has arrived.
        actor = ray.remote(Seat).options(
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=pinned,
            **request(claim, node.resources),
        )
        self._actor = actor.remote(claim, terms)
        self.waits_for: Any = self._actor.report.remote(node.address)

    def start(self, cell: Cell, name: str, number: int) -> None:
        """Measure a cell; the arguments are those of `Seat.run`."""
        self.cell, self.name, self.loaded = cell, name, load_key(cell.config)
        self.waits_for = self._actor.run.remote(cell, name, number)

    def answer(self) -> Any:
        """What Ray has by now: a `Report` or a `Delivery`.

        Raises:
            RayError: the seat's process or its node is lost, or the call raised.
        """
        reference, self.waits_for = self.waits_for, None
        return self._ray.get(reference)

    def close(self) -> None:
        """End the process, which gives its devices back."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    @property
    def place(self) -> str:
        """Where this seat is, in words: `GPU 0 of gpu-node-3`, or the node alone that it fills."""
        if self.report is None or self.claim is Claim.NODE:
            return self.node.host
        return f"{', '.join(self.report.devices)} of {self.node.host}"
