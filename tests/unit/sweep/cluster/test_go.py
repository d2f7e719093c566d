"""What the driver does when seats, nodes and cells go wrong, each in its own way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.imagined_ray import Actor, ImaginedRay, RayError, RayTaskError

from layerscope.config.plan import id_of
from layerscope.core.errors import EnvironmentProblem
from layerscope.instrument.environment import read_environment
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell
from layerscope.records.sweep_places import SweepNode
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.runs.sweep_places import read_places
from layerscope.sweep.attempt import failure
from layerscope.sweep.cluster.claim import claim_of
from layerscope.sweep.cluster.go import Go
from layerscope.sweep.cluster.seat import Delivery, Report
from layerscope.sweep.executor import Execution

WHEN = ("2026-11-24T10:00:00.000+00:00", "2026-11-24T10:00:01.000+00:00")
NODE = SweepNode(host="h", address="10.0.0.1", environment=read_environment(cuda=False))
Answer = Callable[[Actor, str, tuple[Any, ...]], Any]


def cell(batch: int, device: Any = "cuda") -> Cell:
    config = RunConfig(
        model="tiny", dataset="synthetic-textvqa", device=device, dtype="fp32", batch_size=batch
    )
    return Cell(id=id_of(config), settings={"batch_size": batch, "device": device}, config=config)


def report(problem: str | None = None) -> Report:
    return Report(1, ("GPU 0",), shared=True, node=NODE, problem=problem)


def delivered(actor: Actor, given: tuple[Any, ...], loads: int = 0) -> Delivery:
    """As a seat that sees the driver's folder: the run folder lies in the place of its attempt."""
    _, name, number = given
    made = Path(actor.terms.meeting.folder) / str(number) / name
    made.mkdir(parents=True)
    (made / "run.json").write_text(str(number))
    return Delivery(*WHEN, loads=loads, folder=str(made))


def well(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
    return report() if name == "report" else delivered(actor, given)


def go(
    root: Path, answer: Answer, nodes: dict[str, dict[str, float]], cells: list[Cell]
) -> tuple[Execution, ImaginedRay, list[str]]:
    ray, said = ImaginedRay(answer, nodes), []
    folder = SweepFolder(root)
    one = Go(ray, cells, folder, folder.staging(), said.append, claim_of)
    try:
        return one.run(), ray, said
    finally:
        one.close()
        assert not ray.alive  # every device is given back, however it ended


def folders(root: Path) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[1] for path in (root / "cells").iterdir())


ONE_GPU = {"a": {"GPU": 1.0, "CPU": 8.0}}


def test_every_device_takes_cells_and_the_nodes_in_turn(tmp_path: Path) -> None:
    cells = [cell(batch) for batch in (1, 2, 3)]
    nodes = {"a": {"GPU": 8.0, "CPU": 8.0}, "b": {"GPU": 8.0, "CPU": 8.0}}
    found, ray, _ = go(tmp_path, well, nodes, cells)
    assert sorted(found.ran) == folders(tmp_path) == sorted(c.id for c in cells)
    # Three cells, sixteen GPUs: three seats, and both machines before the second GPU of one.
    assert Counter(actor.node for actor in ray.actors) == {"a": 2, "b": 1}
    assert {actor.options["num_gpus"] for actor in ray.actors} == {1}
    for option in ("max_restarts", "max_task_retries"):
        assert {actor.options[option] for actor in ray.actors} == {0}
    assert set(read_places(tmp_path).cells) == set(found.ran)


def test_a_cpu_cell_takes_the_whole_machine_and_waits_for_its_gpu_cells(tmp_path: Path) -> None:
    cells = [cell(1, "cpu"), cell(1, "cuda"), cell(2, "cuda")]
    order: list[str] = []

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run":
            order.append(given[0].config.device)
            busy = [one for one in actor.ray.alive if one is not actor]
            assert given[0].config.device == "cuda" or not busy
        return well(actor, name, given)

    found, ray, _ = go(tmp_path, answer, {"a": {"GPU": 2.0, "CPU": 8.0}}, cells)
    assert len(found.ran) == 3
    assert order == ["cuda", "cuda", "cpu"]
    assert [actor.options["num_cpus"] for actor in ray.actors] == [1, 1, 8.0]


def test_a_cell_that_takes_its_process_down_fails_after_three(tmp_path: Path) -> None:
    cells = [cell(batch) for batch in (1, 2)]
    tries: Counter[int] = Counter()

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run":
            tries[given[0].config.batch_size] += 1
            if given[0].config.batch_size == 1:
                raise RayError("the actor died")
        return well(actor, name, given)

    found, _, said = go(tmp_path, answer, ONE_GPU, cells)
    assert found.ran == (cells[1].id,)
    assert tries == {1: 3, 2: 1}
    (failed,) = found.failed
    assert (failed.id, failed.exit_code) == (cells[0].id, EnvironmentProblem.exit_code)
    assert "was lost 3 times, the last time on GPU 0 of host-a" in failed.reason
    assert set(SweepFolder(tmp_path).failures()) == {cells[0].id}
    assert sum("was lost, it runs again" in line for line in said) == 2


def test_what_a_lost_process_still_writes_is_not_a_cell(tmp_path: Path) -> None:
    """Given up for lost, it finishes nevertheless: its folder is where nobody looks."""
    lost: list[Delivery] = []

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run" and not lost:
            lost.append(delivered(actor, given))
            raise RayError("unavailable")
        return well(actor, name, given)

    found, _, _ = go(tmp_path, answer, ONE_GPU, [cell(1)])
    assert folders(tmp_path) == [cell(1).id] == list(found.ran)
    (kept,) = (tmp_path / "cells").iterdir()
    assert (kept / "run.json").read_text() == "2"  # the second attempt's
    assert lost[0].folder is not None
    assert Path(lost[0].folder).exists()
    assert SweepFolder(tmp_path).clear_partial() == 1
    assert not Path(lost[0].folder).exists()


def test_a_failed_cell_is_a_row_and_the_seat_goes_on(tmp_path: Path) -> None:
    cells = [cell(batch) for batch in (1, 2)]

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run" and given[0].config.batch_size == 1:
            missed = failure(given[0], "ran out of memory", 3)
            return Delivery(*WHEN, loads=1, failure=missed, traceback="Traceback …")
        return well(actor, name, given)

    found, ray, _ = go(tmp_path, answer, ONE_GPU, cells)
    assert (found.ran, [f.reason for f in found.failed]) == ((cells[1].id,), ["ran out of memory"])
    assert found.loads == 1
    assert len(ray.actors) == 1
    assert "Traceback" in (tmp_path / "failed" / f"{cells[0].id}.txt").read_text()


def test_a_call_that_raises_is_the_cells_reason(tmp_path: Path) -> None:
    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run" and given[0].config.batch_size == 1:
            raise RayTaskError(OSError("No space left on device"))
        return well(actor, name, given)

    found, _, _ = go(tmp_path, answer, ONE_GPU, [cell(1), cell(2)])
    assert [f.reason for f in found.failed] == ["OSError: No space left on device"]
    assert found.ran == (cell(2).id,)


def test_after_a_lost_gpu_a_new_process_goes_on(tmp_path: Path) -> None:
    cells = [cell(batch) for batch in (1, 2, 3)]

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run" and given[0].config.batch_size == 1:
            reason = "RuntimeError: CUDA error: an illegal memory access was encountered"
            return Delivery(*WHEN, loads=0, failure=failure(given[0], reason, 3))
        return well(actor, name, given)

    found, ray, _ = go(tmp_path, answer, ONE_GPU, cells)
    assert [f.id for f in found.failed] == [cells[0].id]
    assert sorted(found.ran) == sorted(c.id for c in cells[1:])
    assert len(ray.actors) == 2


def test_a_gpu_that_is_lost_again_and_again_costs_three_cells(tmp_path: Path) -> None:
    cells = [cell(batch) for batch in (1, 2, 3, 4, 5)]

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if name == "run" and actor.node == "a":
            return Delivery(*WHEN, loads=0, failure=failure(given[0], "CUDA error: gone", 3))
        return well(actor, name, given)

    found, _, said = go(tmp_path, answer, ONE_GPU, cells)
    assert [f.reason.partition(":")[0] for f in found.failed] == ["CUDA error"] * 3 + [
        "not run"
    ] * 2
    assert "node host-a is left out: its GPU was lost 3 times" in said
    assert "host-a: its GPU was lost 3 times" in found.failed[-1].reason


@pytest.mark.parametrize(
    ("early", "reason"),
    [
        (lambda: report("layerscope 0.0.9 is installed there and 0.1.0 here"), "0.0.9"),
        (lambda: RayError("… ModuleNotFoundError: No module named 'layerscope'"), "not installed"),
        (lambda: RayTaskError(ImportError("libcudart.so: cannot open")), "libcudart"),
        (lambda: RayError("the worker died"), "3 processes ended there before their first cell"),
    ],
)
def test_a_node_that_cannot_take_cells_is_left_out_and_the_others_go_on(
    tmp_path: Path, early: Callable[[], Any], reason: str
) -> None:
    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        if actor.node == "bad":
            said = early()
            if isinstance(said, Exception):
                raise said
            return said
        return well(actor, name, given)

    gpu = {"GPU": 1.0, "CPU": 4.0}
    cells = [cell(batch) for batch in range(1, 9)]
    found, _, said = go(tmp_path, answer, {"bad": gpu, "good": gpu}, cells)
    assert sorted(found.ran) == sorted(c.id for c in cells)
    (line,) = [line for line in said if line.startswith("node host-bad is left out: ")]
    assert reason in line
    # Alone in the cluster, it leaves every cell without a run, with the reason.
    found, _, _ = go(tmp_path / "alone", answer, {"bad": gpu}, cells)
    assert not found.ran
    assert len(found.failed) == len(cells)
    assert all(f.reason.startswith("not run: host-bad: ") for f in found.failed)


def test_without_a_gpu_anywhere_cpu_cells_run_and_the_others_say_why(tmp_path: Path) -> None:
    found, _, _ = go(tmp_path, well, {"a": {"CPU": 4.0}}, [cell(1, "cuda"), cell(1, "cpu")])
    assert found.ran == (cell(1, "cpu").id,)
    (failed,) = found.failed
    assert failed.reason.startswith("not run: no node of the cluster has a GPU")
    assert failed.exit_code == 3


def test_a_node_that_joins_later_takes_cells(tmp_path: Path) -> None:
    gpu = {"GPU": 1.0, "CPU": 4.0}
    nodes = {"a": gpu}

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        nodes["b"] = gpu
        return well(actor, name, given)

    _, ray, _ = go(tmp_path, answer, nodes, [cell(batch) for batch in (1, 2, 3, 4)])
    assert {actor.node for actor in ray.actors} == {"a", "b"}


def test_an_archive_becomes_the_cells_folder(tmp_path: Path) -> None:
    from layerscope.sweep.cluster.transfer import pack

    made = tmp_path / "on the node"
    made.mkdir()
    (made / "run.json").write_text("{}")

    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        return report() if name == "report" else Delivery(*WHEN, loads=0, archive=pack(made))

    found, _, _ = go(tmp_path / "sweep", answer, ONE_GPU, [cell(1)])
    assert folders(tmp_path / "sweep") == list(found.ran)
    (kept,) = (tmp_path / "sweep" / "cells").iterdir()
    assert (kept / "run.json").read_text() == "{}"
    assert read_places(tmp_path / "sweep").cells[found.ran[0]].folder == kept.name


def test_a_damaged_archive_is_a_failed_cell(tmp_path: Path) -> None:
    def answer(actor: Actor, name: str, given: tuple[Any, ...]) -> Any:
        return report() if name == "report" else Delivery(*WHEN, loads=0, archive=b"half of it")

    found, _, _ = go(tmp_path, answer, ONE_GPU, [cell(1)])
    assert (found.ran, folders(tmp_path)) == ((), [])
    assert "what a node sent is no run folder" in found.failed[0].reason
