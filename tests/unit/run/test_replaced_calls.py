"""Calls that are replaced while somebody's program runs, and are as they were afterwards."""

from __future__ import annotations

import gc
import gzip
import json
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from layerscope.run.program.asked import Asked
from layerscope.run.program.looking import Looking
from layerscope.run.program.replaced import EveryModule
from layerscope.run.program.spool import CALLS, Spool
from layerscope.runs.run import Run


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
    return {(root.name, root.generates): root.calls for root in looking._roots}


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


def test_what_torch_jit_traces_is_no_call_of_the_program(looking: Looking) -> None:
    traced = torch.jit.trace(Talker(), torch.ones(1, 4))
    traced(torch.ones(1, 4))
    assert counts(looking)["TopLevelTracedModule", False] == 1
    assert all(type(root.params) is int for root in looking._roots)


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


def windows(folder: Any) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text(encoding="utf-8"))["called"]
        for path in sorted(folder.glob("window-*/block.json"))
    ]


@pytest.fixture
def begun(tmp_path: Any, request: pytest.FixtureRequest) -> Iterator[tuple[Looking, Any]]:
    asked = Asked(spool=str(tmp_path), **request.param)
    spool = Spool(asked, 1)
    found = Looking(asked, spool)
    found._every.put()
    yield found, spool.folder
    found.end()
    found._every.give_up()
    found._classes.put_back()


@pytest.mark.parametrize("begun", [{"step": 2, "steps": 2}], indirect=True)
def test_a_window_of_two_calls_holds_both_and_none_of_them_counts_as_untraced(
    begun: tuple[Looking, Any],
) -> None:
    looking, folder = begun
    talker, other, x = Talker(), nn.Linear(4, 4), torch.ones(1, 4)
    with torch.no_grad():
        for _ in range(5):
            talker.generate(x)
            other(x)  # a smaller root, whose calls close nothing
    looking.end()
    (called,) = windows(folder)
    assert (called["first"], called["last"], called["generates"]) == (2, 3, True)
    account = Run.open(folder / "window-000000" / "trace.json.gz").account
    calls = {row.layer: row.calls for row in account.table.rows}
    assert (calls["generate"], calls["net.0"]) == (2, 6)
    lines = map(json.loads, (folder / CALLS).read_text(encoding="utf-8").splitlines())
    assert [number for name, _, number, _ in lines if name == "Talker"] == [4, 5]


@pytest.mark.parametrize("begun", [{"step": 2}], indirect=True)
def test_a_step_of_training_lasts_until_the_model_is_called_again(
    begun: tuple[Looking, Any],
) -> None:
    _, folder = begun
    net, loss, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.MSELoss(), torch.ones(1, 4)
    for _ in range(4):
        y = net(x)
        (loss(y, x) + loss(y, 2 * x)).backward()  # more calls of another root than of the model
    (called,) = windows(folder)
    assert called["trains"]
    text = gzip.decompress((folder / "window-000000" / "trace.json.gz").read_bytes()).decode()
    assert "autograd::engine::evaluate_function: AddBackward0" in text


@pytest.mark.parametrize("begun", [{"step": 1}], indirect=True)
def test_the_next_call_is_traced_on_request_long_after_the_first_trace(
    begun: tuple[Looking, Any],
) -> None:
    looking, folder = begun
    net, x = nn.Sequential(nn.Linear(4, 4)), torch.ones(1, 4)
    with torch.no_grad():
        for _ in range(10):
            net(x)
        assert "__call__" not in vars(nn.Sequential)
        looking.please()
        net(x)
        net(x)
    assert len(windows(folder)) == 2


@pytest.mark.parametrize("begun", [{"step": 3}], indirect=True)
def test_an_error_of_the_program_keeps_nothing_alive(begun: tuple[Looking, Any]) -> None:
    """A program that catches an error for want of memory needs that memory at once."""

    class Failing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            large = x.repeat(2)
            alive.append(weakref.ref(large))
            raise MemoryError

    alive: list[weakref.ref[torch.Tensor]] = []
    model = Failing()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):  # the third inside a window
            with pytest.raises(MemoryError):
                model(torch.ones(4))
        held = [reference() is not None for reference in alive]
    finally:
        gc.enable()
    assert held == [False] * 5
