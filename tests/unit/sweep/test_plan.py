"""Cells: their ids, their order by model, and what makes two of them one run."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from layerscope.config.plan import by_model, id_of, load_key, plan, same_run
from layerscope.config.sweep import sweep_config
from layerscope.core.errors import UsageError
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell

BASE = {"model": "tiny", "device": "cpu", "dtype": "fp32", "dataset": "synthetic-textvqa"}


def config(**fields: Any) -> RunConfig:
    return RunConfig(**(BASE | fields))


def cells(text: str, out: str = "here") -> tuple[Cell, ...]:
    given = yaml.safe_load(text)
    given["base"] = BASE | given.get("base", {})
    made = sweep_config(given, where="s.yaml", name="s")
    return plan(made, cuda=False, where="s.yaml", out=out)


def test_ids_are_stable() -> None:
    # A change here leaves every sweep folder on disk without its finished cells.
    assert id_of(config()) == "9e60e2ae095b"
    assert id_of(config(batch_size=16)) == id_of(config())  # said or left at its default


def test_an_id_does_not_depend_on_the_folder_or_the_order() -> None:
    one = cells("grid: {batch_size: [1, 2], seed: [0, 1]}", out="here")
    other = cells("grid: {seed: [1, 0], batch_size: [2, 1]}", out="there")
    assert {cell.id for cell in one} == {cell.id for cell in other}
    assert len({cell.id for cell in one}) == 4


CHANGED: dict[str, Any] = {
    "model": "other", "weights": "random", "revision": "main", "dtype_layout": "uniform",
    "processor": "p", "batch_size": 2, "image_size": 448, "image_size_mode": "source",
    "max_input_len": 100, "max_new_tokens": 5, "min_new_tokens": 5, "num_beams": 2,
    "dataset": "synthetic-coco", "data_dir": "d", "data_revision": "abc",
    "prompt": "{question}", "answer_form": "letter",
    "normalisation": "vqa", "samples": 32, "warmup": 1, "measure_limit_s": 1.0, "device": "cuda",
    "dtype": "fp16", "optimization": "compile", "attention": "eager", "fp32_matmul": "high",
    "coordinate_descent_tuning": True, "trace": False, "traced_batches": 1, "quick": True, "seed": 1,
    "energy_per_layer": "groups",    "energy_limit_s": 60.0,
    # No other option says it; a record may come from a layerscope that has one of the name.
    "optimize": "of-another-version",
    "image_tokens": 64, "images": "photos",
}  # fmt: skip
RELOADS = {
    "model", "weights", "revision", "dtype_layout", "processor", "device", "dtype",
    "optimization", "attention", "optimize",
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(RunConfig)])
def test_every_field_but_the_folder_is_part_of_the_id(field: str) -> None:
    if field == "out":
        assert id_of(config(out="there")) == id_of(config())
        return
    changed = config(**{field: CHANGED[field]})
    assert id_of(changed) != id_of(config())
    assert not same_run(changed, config()) or field == "min_new_tokens"
    assert (load_key(changed) != load_key(config())) == (field in RELOADS)


def test_a_seed_changes_what_is_loaded_only_where_weights_are_drawn() -> None:
    assert load_key(config(seed=1)) == load_key(config(seed=2))
    drawn = [load_key(config(seed=seed, weights="random")) for seed in (1, 2)]
    assert drawn[0] != drawn[1]


def test_a_run_on_untrained_weights_is_the_one_that_was_planned() -> None:
    assert same_run(config(max_new_tokens=7), config(max_new_tokens=7, min_new_tokens=7))
    assert not same_run(config(max_new_tokens=7), config(max_new_tokens=7, min_new_tokens=6))


def test_two_cells_that_resolve_alike_are_one() -> None:
    found = cells(
        "grid: {batch_size: [4, 8]}\noverride: [{when: {batch_size: 8}, set: {batch_size: 4}}]"
    )
    assert [cell.settings for cell in found] == [{"batch_size": 4}]


@given(st.permutations(list(range(9))))
def test_grouping_by_model_is_stable_and_loads_each_once(order: list[int]) -> None:
    all_cells = cells(
        "grid: {dtype: [fp32, fp16, bf16], batch_size: [1, 2, 3]}".replace(
            "dtype", "attention"
        ).replace("fp32, fp16, bf16", "sdpa, eager, flash")
    )
    shuffled = [all_cells[i] for i in order]
    grouped = by_model(shuffled)
    keys = [load_key(cell.config) for cell in grouped]
    changes = sum(a != b for a, b in itertools.pairwise(keys))
    assert changes == 2
    assert sorted(c.id for c in grouped) == sorted(c.id for c in all_cells)
    for key in set(keys):
        same = [c.id for c in grouped if load_key(c.config) == key]
        assert same == [c.id for c in shuffled if load_key(c.config) == key]


def test_optimizations_are_an_axis_whatever_their_order_and_their_spelling() -> None:
    one = cells("grid: {optimize: [eager, compile, 'tf32, compile']}")
    assert [cell.settings["optimize"] for cell in one] == ["eager", "compile", "compile,tf32"]
    other = cells(
        "grid: {optimization: [eager, compile], fp32_matmul: [highest, high]}\n"
        "exclude: [{optimization: eager, fp32_matmul: high}]"
    )
    assert [cell.id for cell in one] == [cell.id for cell in other]
    left = cells("grid: {optimize: [tf32, 'compile,tf32']}\nexclude: [{optimize: 'tf32,compile'}]")
    assert [cell.config.optimize for cell in left] == ["tf32"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grid: {batch_size: [0]}", "cell batch_size=0: `batch_size` is 0"),
        ("grid: {optimization: [magic]}", "cell optimization=magic"),
        ("grid: {optimize: [tf23]}", "cell optimize=tf23: `optimize` has no 'tf23'; did you mean"),
        (
            "grid: {optimize: [[compile, tf32]]}",
            "single ones were expected, such as 'compile,tf32'",
        ),
        ("grid: {optimize: [tuned]}", "cell optimize=tuned: `optimize` has tuned, which tunes"),
        ("base: {samples: 4}\ngrid: {batch_size: [8]}", "4 samples do not fill one batch of 8"),
        ("grid: {batch_size: [1]}\nexclude: [{batch_size: 1}]", "every cell is excluded"),
    ],
)
def test_a_value_no_run_can_take_is_refused_with_its_cell(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells(text)
    assert said in str(caught.value)
