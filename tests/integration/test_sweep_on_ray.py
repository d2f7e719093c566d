"""Sweeps on a real Ray cluster of several nodes on this machine: one is killed, one shares no disk."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.sweep_counts import counted

from layerscope.config.plan import plan
from layerscope.config.sweep import read_sweep
from layerscope.differences.unlike_nodes import neighboured
from layerscope.records.sweep import Cell
from layerscope.records.sweep_places import CellPlace, SweepPlaces
from layerscope.report.progress import ProgressReporter
from layerscope.runs.sweep_folder import SweepFolder
from layerscope.runs.sweep_places import read_places
from layerscope.sweep.cluster.claim import Claim
from layerscope.sweep.cluster.executor import RayExecutor
from layerscope.sweep.run import PlannedSweep, Watcher, cells_path, run_sweep

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'layerscope[ray]'")

# Long enough to be hit while it runs, and eight of them so that every seat gets some.
SWEEP = """
base: {model: tiny, weights: random, device: cpu, dtype: fp32, dataset: synthetic-textvqa, samples: 2,
       warmup: 8, max_new_tokens: 2, measure_limit_s: 0.1, image_size: 56, trace: false}
grid: {batch_size: [1, 2], max_input_len: [14, 16, 18, 20]}
"""
QUIET = ProgressReporter(Console(), quiet=True)
ALONE = Watcher(QUIET, lambda line: None)
STORE = {"object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a device, as one that is nobody's neighbour. Nodes are added by the tests."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False, **STORE}
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield made
        finally:
            made.shutdown()


def cells_of(folder: Path, name: str) -> tuple[Any, tuple[Cell, ...], Path]:
    path, root = folder / "mine.yaml", folder / name
    path.write_text(SWEEP)
    return (
        read_sweep(path),
        plan(read_sweep(path), cuda=False, where="mine", out=str(cells_path(root))),
        root,
    )


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same cells by the local executor."""
    config, cells, root = cells_of(tmp_path_factory.mktemp("here"), "local")
    from layerscope.published.derived import derive
    from layerscope.sweep.publish import publish

    def write(result: Any) -> None:
        publish(result, derive(result.config, result.rows, beside_reference=False))

    assert run_sweep(PlannedSweep(config, cells, root), ALONE, then=write).problem is None
    return root


def table(root: Path) -> list[dict[str, str]]:
    """`sweep.csv` without what two measurements of one thing may differ in."""
    with (root / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    moving = ("latency", "first_token", "samples_per_s", "folder")
    return [{k: v for k, v in row.items() if not any(m in k for m in moving)} for row in rows]


def folders(root: Path) -> dict[str, int]:
    return {path.name: (path / "run.json").stat().st_ino for path in (root / "cells").iterdir()}


def until_node_has_a_cell(process: subprocess.Popen[str], root: Path, node: str) -> SweepPlaces:
    while True:
        assert process.poll() is None, process.communicate()
        found = read_places(root)
        if node in {place.node for place in found.cells.values()}:
            return found
        time.sleep(0.02)


def test_a_killed_nodes_cells_run_elsewhere_and_no_other_twice(
    cluster: Any, local: Path, tmp_path: Path
) -> None:
    _, cells, root = cells_of(tmp_path, "out")
    stays = cluster.add_node(num_cpus=1, num_gpus=0, **STORE)
    dies = cluster.add_node(num_cpus=1, num_gpus=0, **STORE)
    arguments = ["--executor", "ray", "--address", cluster.address, "--out", root]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "layerscope",
            "sweep",
            *map(str, [tmp_path / "mine.yaml", *arguments]),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until_node_has_a_cell(process, root, dies.node_id)
        # Cells still wait, so this node measures its next one now.
        cluster.remove_node(dies, allow_graceful=False)
        before = folders(root)
        screen, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    # None lost, none twice: one folder per cell of the plan.
    assert sorted(name.rsplit("-", 1)[1] for name in folders(root)) == sorted(c.id for c in cells)
    assert before.items() <= folders(root).items()
    assert 0 < len(before) < len(cells)
    assert said.count("was lost, it runs again") == 1
    assert sum(" done on " in line for line in said.splitlines()) == len(cells)
    assert "Ray: cells run at once on the CPUs of 2 nodes" in said.splitlines()
    assert not list(root.glob(".partial-*"))
    assert not list((root / "cells").glob(".*"))
    # The same cells and the same tables as by the local executor.
    assert counted(root) == counted(local)
    assert table(root) == table(local)
    for name in ("sweep.md", "sweep.parquet", "sweep_layers.csv"):
        assert (root / name).exists()
    found = read_places(root)
    assert {place.node for place in found.cells.values()} == {stays.node_id, dies.node_id}
    assert set(found.nodes) == {stays.node_id, dies.node_id}
    for cell, done in SweepFolder(root).finished().items():
        assert found.cells[cell].folder == done.folder.name
        assert done.record.config.out == str(cells_path(root))
        assert done.record.environment.torch_threads == 1  # the driver's OMP_NUM_THREADS
    assert "unlike" not in screen
    no_two_at_once(found)


def no_two_at_once(found: SweepPlaces) -> None:
    """Cells of one device of one node follow one another."""
    held: dict[tuple[str, str], list[CellPlace]] = {}
    for place in found.cells.values():
        assert place.devices
        for device in place.devices:
            held.setdefault((place.node, device), []).append(place)
    for places in held.values():
        for one, other in combinations(places, 2):
            assert one.ended_utc <= other.began_utc or other.ended_utc <= one.began_utc


@contextlib.contextmanager
def node_without_the_folder(cluster: Any, hidden: Path) -> Iterator[None]:
    """A node of one GPU on which an empty disk lies over `hidden`: it shares none with the driver."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "none", hidden],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("this machine lets no process hide a folder from itself (unshare -rm mount)")
    start = (
        'mount -t tmpfs none "$0" && exec "$@" start --address "$ADDRESS" --num-cpus 1 --num-gpus 1 '
        "--object-store-memory 100000000 --block"
    )
    ray_command = [sys.executable, "-m", "ray.scripts.scripts"]
    process = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", start, hidden, *ray_command],
        env={**os.environ, "ADDRESS": cluster.address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_two_cells_never_share_a_device_and_folders_come_back_without_a_shared_disk(
    cluster: Any, local: Path, tmp_path: Path
) -> None:
    """Ray's GPUs are only numbers here: the cells are CPU runs that claim one each."""
    config, cells, root = cells_of(tmp_path, "out")
    root.mkdir()
    said: list[str] = []
    with (
        node_without_the_folder(cluster, root),
        RayExecutor(cluster.address, claims=lambda config: Claim.GPU) as executor,
    ):
        # One after the other: two that start at once on one machine may take the same socket's name.
        wait_for_gpus(1, executor)
        two = cluster.add_node(num_cpus=2, num_gpus=2, **STORE)
        wait_for_gpus(3, executor)
        result = run_sweep(
            PlannedSweep(config, cells, root), Watcher(QUIET, said.append), executor=executor
        )
    assert result.problem is None
    assert "Ray: cells run at once on 3 GPUs" in said
    assert result.ran == len(cells)
    assert counted(root) == counted(local)
    for done in SweepFolder(root).finished().values():
        assert done.record.name == done.folder.name
    found = read_places(root)
    no_two_at_once(found)
    used = {(place.node, *place.devices) for place in found.cells.values()}
    assert {device for _, device in used} == {"GPU 0", "GPU 1"}
    assert len(used) == 3  # every GPU of the cluster
    assert {node for node, _ in used} > {two.node_id}
    # Those on the node with two GPUs had neighbours, and the table says so.
    assert {row.place.node for row in neighboured(result.rows) if row.place} == {two.node_id}
    assert not list(root.glob(".partial-*"))


def wait_for_gpus(count: int, executor: RayExecutor) -> None:
    executor.has_cuda()  # connects
    until = time.monotonic() + 60
    while ray.cluster_resources().get("GPU", 0) < count:
        assert time.monotonic() < until, ray.nodes()
        time.sleep(0.1)


def test_a_finished_sweep_needs_no_cluster(local: Path) -> None:
    config, cells, root = cells_of(local.parent, "local")
    with RayExecutor("127.0.0.1:1") as executor:
        result = run_sweep(PlannedSweep(config, cells, root), ALONE, executor=executor)
    assert (result.ran, result.problem) == (0, None)
