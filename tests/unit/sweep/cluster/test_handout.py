"""Which cell a free seat gets, and what it must hold there: decided by hand."""

from __future__ import annotations

from typing import Any

import pytest

from layerscope.config.plan import id_of, load_key
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell
from layerscope.sweep.cluster.claim import Claim, claim_of, places, request
from layerscope.sweep.cluster.handout import next_cell


def cell(batch: int, dtype: Any = "fp32", device: Any = "cpu") -> Cell:
    config = RunConfig(
        model="tiny", dataset="synthetic-textvqa", device=device, dtype=dtype, batch_size=batch
    )
    return Cell(id=id_of(config), settings={"batch_size": batch, "dtype": dtype}, config=config)


FP32, BF16, FP16 = (load_key(cell(1, dtype).config) for dtype in ("fp32", "bf16", "fp16"))


def test_a_seat_keeps_its_model_as_long_as_it_can() -> None:
    waiting = [cell(1, "bf16"), cell(2), cell(4)]
    assert next_cell(waiting, FP32, [BF16]) == waiting[1]


def test_a_new_seat_loads_what_no_other_has() -> None:
    waiting = [cell(1), cell(2), cell(1, "bf16"), cell(1, "fp16")]
    assert next_cell(waiting, None, []) == waiting[0]
    assert next_cell(waiting, None, [FP32]) == waiting[2]
    assert next_cell(waiting, FP16, [FP32, BF16]) == waiting[3]


def test_a_seat_without_a_model_of_its_own_helps_where_most_cells_wait() -> None:
    waiting = [cell(1, "bf16"), cell(1), cell(2)]
    assert next_cell(waiting, None, [FP32, BF16]) == waiting[1]


def test_one_model_is_shared_by_all_seats() -> None:
    waiting = [cell(2), cell(4)]
    assert next_cell(waiting, None, [FP32]) == waiting[0]


def test_a_gpu_cell_holds_a_gpu_and_a_cpu_cell_the_machine() -> None:
    assert claim_of(cell(1, device="cuda").config) is Claim.GPU
    assert claim_of(cell(1).config) is Claim.NODE
    assert request(Claim.GPU, {"GPU": 8, "CPU": 64}) == {"num_gpus": 1, "num_cpus": 1}
    assert request(Claim.GPU, {"GPU": 8, "CPU": 4}) == {"num_gpus": 1, "num_cpus": 0}
    assert request(Claim.NODE, {"GPU": 8, "CPU": 64}) == {"num_gpus": 0, "num_cpus": 64}


@pytest.mark.parametrize(
    ("resources", "gpus", "nodes"),
    [
        ({"CPU": 64.0, "GPU": 8.0}, 8, 1),
        ({"CPU": 64.0}, 0, 1),
        ({"GPU": 1.0}, 1, 0),
        ({"GPU": 0.5}, 0, 0),  # never half a GPU
        ({}, 0, 0),
    ],
)
def test_how_many_cells_a_node_takes_at_once(
    resources: dict[str, float], gpus: int, nodes: int
) -> None:
    assert places(Claim.GPU, resources) == gpus
    assert places(Claim.NODE, resources) == nodes
