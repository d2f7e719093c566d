"""A Ray of one process: seats that answer as a test says, for what a real cluster does once a year.

Only what `layerscope.sweep.cluster` asks of the package: nodes, actors pinned to one, wait, get, kill.
The errors are named as Ray names them, so that no test needs the package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """Ray lost something."""


class RayTaskError(RayError):
    """The call itself raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


@dataclass(eq=False)
class Actor:
    """One granted seat: what it was asked for, and its calls, each with its arguments."""

    ray: ImaginedRay
    number: int
    options: dict[str, Any]
    terms: Any
    killed: bool = False

    @property
    def node(self) -> str:
        found: str = self.options["scheduling_strategy"]
        return found

    def _call(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: Call(self.ray.issued(), self, name, given))

    @property
    def report(self) -> Any:
        return self._call("report")

    @property
    def run(self) -> Any:
        return self._call("run")


@dataclass(eq=False)
class Call:
    """What Ray calls a reference: known by itself alone."""

    number: int
    actor: Actor
    name: str
    given: tuple[Any, ...]


@dataclass(eq=False)
class ImaginedRay:
    """The package's stand-in.

    Args:
        answer: takes the actor, "report" or "run", and the arguments; returns the answer or raises.
        listed: nodes by id with their resources; a test may change it in between.
    """

    answer: Callable[[Actor, str, tuple[Any, ...]], Any]
    listed: dict[str, dict[str, float]]
    actors: list[Actor] = field(default_factory=list)
    calls: int = 0
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
    )
    util: Any = field(
        default_factory=lambda: SimpleNamespace(
            scheduling_strategies=SimpleNamespace(
                NodeAffinitySchedulingStrategy=lambda node, soft: node
            )
        )
    )

    def issued(self) -> int:
        self.calls += 1
        return self.calls

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": name,
                "NodeManagerHostname": f"host-{name}",
                "NodeManagerAddress": "10.0.0.1",
                "Resources": resources,
                "Alive": True,
            }
            for name, resources in self.listed.items()
        ]

    def remote(self, kind: type) -> Any:
        def make(options: dict[str, Any], terms: Any) -> Actor:
            self.actors.append(Actor(self, len(self.actors), options, terms))
            return self.actors[-1]

        return SimpleNamespace(
            options=lambda **options: SimpleNamespace(
                remote=lambda claim, terms: make(options, terms)
            )
        )

    def wait(self, waiting: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], Any]:
        """The oldest call is always over first."""
        return [min(waiting, key=lambda call: call.number)], None

    def get(self, call: Call) -> Any:
        if call.actor.killed:
            raise RayError("the actor is dead")
        return self.answer(call.actor, call.name, call.given)

    def kill(self, actor: Actor) -> None:
        actor.killed = True

    @property
    def alive(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.killed]
