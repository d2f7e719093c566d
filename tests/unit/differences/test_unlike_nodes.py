"""Which machines a sweep's cells ran on, by hand: what differs is named, with the cells."""

from __future__ import annotations

from typing import Any

from support.sweep_rows import row

from layerscope.differences.unlike_nodes import neighboured, unlike
from layerscope.records import Environment
from layerscope.records.sweep import SweepRow
from layerscope.records.sweep_places import CellPlace
from layerscope.report.sweep.grids import reasons

AXES = ("batch_size",)


def machine(**fields: Any) -> Environment:
    made: dict[str, Any] = {
        "layerscope": "1", "python": "3.11.7", "platform": "Linux", "cpu_model": "Xeon",
        "cpu_count": 64, "memory_bytes": 1, "torch": "2.13.0", "torch_threads": 32,
        "packages": {"transformers": "5.24.0"},
    }  # fmt: skip
    return Environment(**(made | fields))


def cell(batch: int, environment: Environment, device: str = "cpu", **fields: Any) -> SweepRow:
    return row({"batch_size": batch}, config={"device": device}, environment=environment, **fields)


def place(node: str, began: str, ended: str, gpu: int = 0) -> CellPlace:
    return CellPlace(
        node=node,
        devices=(f"GPU {gpu}",),
        process=1,
        began_utc=f"2026-11-24T10:{began}.000+00:00",
        ended_utc=f"2026-11-24T10:{ended}.000+00:00",
        folder="f",
    )


def test_like_machines_are_no_warning_whatever_moves_by_itself() -> None:
    rows = [
        cell(1, machine(gpu_name="H200", gpu_temperature_c=40, gpu_sm_clock_mhz=1980), "cuda"),
        cell(2, machine(gpu_name="H200", gpu_temperature_c=70, gpu_sm_clock_mhz=1500), "cuda"),
    ]
    assert unlike(rows) == ()
    assert not [line for line in reasons(rows, AXES) if "unlike" in line]


def test_each_difference_is_named_with_its_cells() -> None:
    rows = [
        cell(1, machine(gpu_name="A100", driver="570"), "cuda"),
        cell(2, machine(gpu_name="H100", driver="570"), "cuda"),
        cell(4, machine(gpu_name="A100", driver="570", torch="2.11.0"), "cuda"),
    ]
    found = {
        d.what: [(v, [r.config.batch_size for r in of]) for v, of in d.values] for d in unlike(rows)
    }
    assert found == {
        "GPU": [("A100", [1, 4]), ("H100", [2])],
        "torch": [("2.13.0", [1, 2]), ("2.11.0", [4])],
    }
    warnings = [line for line in reasons(rows, AXES) if "unlike" in line]
    assert warnings[0].endswith("GPU: A100 (batch_size=1, batch_size=4); H100 (batch_size=2)")
    assert len(warnings) == 2


def test_a_cpu_cell_has_no_gpu_to_compare() -> None:
    rows = [
        cell(1, machine(gpu_name="A100", cuda="13.0", driver="570"), "cuda"),
        cell(2, machine(), "cpu"),
    ]
    assert unlike(rows) == ()


def test_an_unknown_value_is_not_taken_for_a_known_one() -> None:
    (found,) = unlike([cell(1, machine(driver="570"), "cuda"), cell(2, machine(), "cuda")])
    assert [value for value, _ in found.values] == ["570", "unknown"]


def test_neighbours_are_those_of_one_node_at_one_time() -> None:
    rows = [
        cell(1, machine(), place=place("a", "00:00", "01:00", 0)),
        cell(2, machine(), place=place("a", "00:59", "02:00", 1)),  # overlaps the first
        cell(4, machine(), place=place("a", "02:00", "03:00", 0)),  # begins as the second ends
        cell(8, machine(), place=place("b", "00:00", "03:00", 0)),  # another node
        cell(16, machine()),  # in the driver's process
    ]
    assert [r.config.batch_size for r in neighboured(rows)] == [1, 2]
    (line,) = [line for line in reasons(rows, AXES) if "ran while another" in line]
    assert line.endswith("(batch_size=1, batch_size=2)")
