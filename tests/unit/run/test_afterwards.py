"""The calls behind a traced one: their energy is read, one is counted, the program none the wiser."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from unit.measure.fake_energy import FakeCounter, FakeMachine

from layerscope.core.folder_file import read_json
from layerscope.measure.energy.meter import Meter
from layerscope.measure.flops import count_work, overhear_work
from layerscope.measure.flops.ledger import WorkLedger
from layerscope.records import EnergyAbsent
from layerscope.records.program_energy import ProgramEnergy
from layerscope.records.work import CountedWork
from layerscope.run.program import afterwards
from layerscope.run.program.afterwards import Afterwards, TracedCall
from layerscope.run.program.asked import Asked
from layerscope.run.program.looking import Looking
from layerscope.run.program.save_window import energy_of
from layerscope.run.program.shapes import shapes_of
from layerscope.run.program.spool import CALLS, ENERGY, UNCOUNTED, WORK, Spool
from layerscope.run.program.steady import Read
from layerscope.stats.program_energy import summarise_program_energy


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2)).eval()


X = torch.ones(3, 4)
FLOPS = 2 * 3 * 4 * 8 + 2 * 3 * 8 * 2


@pytest.fixture
def looking(tmp_path: Path) -> Iterator[Looking]:
    asked = Asked(spool=str(tmp_path), step=2, count=True)
    found = Looking(asked, Spool(asked, 1), lambda uuids: EnergyAbsent(reason=f"none of {uuids}"))
    found._every.put()
    yield found
    found.end()
    found._every.give_up()
    found._classes.put_back()


def window(tmp_path: Path) -> Path:
    return tmp_path / "1" / "window-000000"


def test_a_later_call_is_counted_and_gives_what_it_would_give(
    looking: Looking, tmp_path: Path
) -> None:
    model, plain = net(), net()
    with torch.no_grad():
        given = [model(X * number) for number in range(12)]
        for number, result in enumerate(given):
            assert torch.equal(result, plain(X * number))
    looking.end()
    work = read_json(window(tmp_path) / WORK, CountedWork, "work")
    assert work.flops == FLOPS
    assert work.memory_peak_bytes is None
    lines = (tmp_path / "1" / CALLS).read_text(encoding="utf-8").splitlines()
    numbers = [json.loads(line)[2] for line in lines]
    # The second was traced, the fourth counted; the third had to wait for the trace to be written.
    assert numbers[:4] == [1, 3, 5, 6]
    assert not (window(tmp_path) / UNCOUNTED).exists()
    assert all(not module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("why", ["other shapes", "training", "raises"])
def test_why_none_was_counted_is_said(why: str, looking: Looking, tmp_path: Path) -> None:
    model = net()
    if why == "training":
        model.train()
    for number in range(8):
        bad = why == "raises" and number == 3
        x = torch.ones(3, 4).expand(3, 4).double() if bad else X  # the right shape, another dtype
        if why == "other shapes" and number > 2:
            x = torch.ones(number, 5 - 1)[:2]
        try:
            with torch.set_grad_enabled(why == "training"):
                model(x)
        except RuntimeError:
            assert bad
    looking.end()
    said = (window(tmp_path) / UNCOUNTED).read_text(encoding="utf-8")
    assert {"other shapes": "had the traced one's shapes", "training": "step of training"}.get(
        why, "raised an error of the program's"
    ) in said
    assert not (window(tmp_path) / WORK).exists()


def test_an_error_of_the_counting_never_reaches_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = net()
    wanted = model(X)

    def failing(*_: Any) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(WorkLedger, "book", failing)
    heard = overhear_work(model, lambda: model(X), root="forward")
    assert torch.equal(heard.result, wanted)
    assert heard.work is None
    assert heard.reason == "KeyError: 'ours'"
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        overhear_work(model, lambda: model(torch.ones(1, 5)), root="forward")
    assert all(not module._forward_hooks for module in model.modules())


def test_calls_of_other_threads_are_not_counted_with_it() -> None:
    model = net()

    def both() -> torch.Tensor:
        thread = threading.Thread(target=model, args=(torch.ones(50, 4),))
        thread.start()
        thread.join()
        result: torch.Tensor = model(X)
        return result

    heard = overhear_work(model, both, root="forward")
    alone = count_work(model, lambda: model(X), root="forward")
    assert heard.work is not None
    assert heard.work.flops == alone.flops == FLOPS
    assert heard.work.calls == alone.calls


def test_energy_of_later_calls_is_in_the_folder_whenever_the_program_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(meters: Sequence[Meter]) -> Read:
        return Read(meters=meters, others=lambda: "")

    monkeypatch.setattr(afterwards, "read_of", alone)
    machine = FakeMachine(rest_w=50.0)
    counter = FakeCounter(machine, step_s=0.02)
    asked: list[Sequence[str]] = []

    def meters(uuids: Sequence[str]) -> Sequence[FakeCounter]:
        asked.append(uuids)
        return [counter]

    model, shapes = net(), shapes_of((X,), {})
    traced = TracedCall(shapes=shapes, generates=False, trains=False)
    after = Afterwards(model, tmp_path, traced, clock=machine, meters=meters)
    for number in range(40):
        after.begins((X,), {}, alone=True)
        machine.advance(0.4, 300.0)
        after.ended(model, False)
        if number == 20:
            early = read_json(tmp_path / ENERGY, ProgramEnergy, "energy")
            assert early.calls >= 18
    assert after.is_done
    found = summarise_program_energy(energy_of(tmp_path, meters, machine))  # type: ignore[arg-type]
    assert asked == [[], []]
    assert found.joules_per_call == pytest.approx(120, rel=0.01)


def test_where_there_is_no_counter_the_reason_stands_in_the_folder(
    looking: Looking, tmp_path: Path
) -> None:
    model = net()
    with torch.no_grad():
        for _ in range(3):
            model(X)
    assert energy_of(window(tmp_path)).reason == "none of []"
    assert energy_of(tmp_path).reason == "the program ended with the traced call"


def test_shapes_are_found_inside_what_a_call_is_given() -> None:
    batch = {"ids": torch.ones(1, 6), "grids": [torch.ones(2), torch.ones(3)], "text": "no tensor"}
    assert shapes_of((batch, 3), {"x": torch.ones(4, 1)}) == {
        "0.ids": [1, 6], "0.grids.0": [2], "0.grids.1": [3], "x": [4, 1],
    }  # fmt: skip
