"""Calls that are replaced while somebody's program runs, and are as they were afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from layerscope.run.program.asked import Asked
from layerscope.run.program.looking import Looking
from layerscope.run.program.replaced import EveryModule
from layerscope.run.program.spool import Spool


class Talker(nn.Module):
    """Its `generate` calls what is below it several times, as transformers' does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)  # type: ignore[no-any-return]

    def generate(self, x: torch.Tensor, steps: int = 3) -> torch.Tensor:
        for _ in range(steps):
            x = self(x)
        return x


@pytest.fixture
def looking(tmp_path: Any) -> Iterator[Looking]:
    asked = Asked(spool=str(tmp_path), step=10_000)
    before = nn.Module.__call__
    found = Looking(asked, Spool(asked, 1))
    found._every.put()
    yield found
    found._every.give_up()
    found._classes.put_back()
    assert nn.Module.__call__ is before
    for cls in (Talker, nn.Sequential, nn.Linear):
        assert "__call__" not in vars(cls)
    assert not hasattr(Talker.generate, "__wrapped__")


def counts(looking: Looking) -> dict[tuple[str, bool], int]:
    return {(root.name, root.generates): root.calls for root in looking._roots.values()}


def test_roots_are_counted_and_what_is_inside_them_is_not(looking: Looking) -> None:
    net, talker, x = nn.Sequential(nn.Linear(4, 4)), Talker(), torch.ones(1, 4)
    for _ in range(3):
        net(x)
        talker.generate(x)
    talker(x)
    assert counts(looking) == {
        ("Sequential", False): 3, ("Talker", True): 3, ("Talker", False): 1,
    }  # fmt: skip


def test_whoever_replaces_the_call_too_is_called_once_a_module(looking: Looking) -> None:
    seen: list[str] = []
    before: Any = nn.Module.__call__

    def theirs(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        seen.append(type(module).__name__)
        return before(module, *args, **kwargs)

    talker, x = Talker(), torch.ones(1, 4)
    talker(x)  # from here on its class has a call of its own
    nn.Module.__call__ = theirs  # type: ignore[method-assign,assignment]
    try:
        wanted = talker.forward(x)
        seen.clear()
        assert torch.equal(talker(x), wanted)
    finally:
        nn.Module.__call__ = before
    assert seen == ["Talker", "Sequential", "Linear", "ReLU"]


def test_a_symbolic_trace_sees_the_modules_it_would_see(looking: Looking) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    alone = nn.Linear(4, 4)
    net(torch.ones(1, 4))
    alone(torch.ones(1, 4))  # a root: its class, which is in the net too, has a call of its own
    graph = torch.fx.symbolic_trace(Talker()).graph
    assert [node.target for node in graph.nodes if node.op == "call_module"] == ["net.0", "net.1"]


def test_modules_of_a_moment_are_forgotten(looking: Looking) -> None:
    for _ in range(2000):
        nn.Identity()(torch.ones(1))
    assert len(looking._roots) <= 513


def test_what_somebody_kept_of_it_does_nothing_once_given_up() -> None:
    called: list[nn.Module] = []

    def call(module: nn.Module, *args: Any) -> Any:
        called.append(module)
        return every.beneath(module, *args)

    every = EveryModule(call)
    every.put()
    every.put()
    nn.Identity()(torch.ones(1))
    every.give_up()
    every.put()
    nn.Identity()(torch.ones(1))
    assert len(called) == 1
