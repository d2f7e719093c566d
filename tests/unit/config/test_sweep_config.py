"""A sweep's file: what it says, and how it refuses what it cannot mean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.shared import shared

from layerscope.config.sweep import find_sweep, matches, read_sweep, settings_of, sweep_config
from layerscope.core.errors import UsageError
from layerscope.core.shipped import shipped_names
from layerscope.published.reference_tables import reference_tables


def cells(text: str) -> list[dict[str, object]]:
    config = sweep_config(yaml.safe_load(text), where="s.yaml", name="s")
    return [given for _, given in settings_of(config, where="s.yaml")]


def test_a_grid_is_the_product_and_its_first_axis_moves_slowest() -> None:
    found = cells("grid: {batch_size: [1, 4], image_size: [224, 448]}")
    assert [(c["batch_size"], c["image_size"]) for c in found] == [
        (1, 224), (1, 448), (4, 224), (4, 448),
    ]  # fmt: skip


def test_what_is_zipped_moves_together() -> None:
    found = cells("zip: {device: [cuda, cpu], dtype: [fp16, fp32]}\ngrid: {batch_size: [1, 2]}")
    assert [(c["batch_size"], c["device"], c["dtype"]) for c in found] == [
        (1, "cuda", "fp16"), (1, "cpu", "fp32"), (2, "cuda", "fp16"), (2, "cpu", "fp32"),
    ]  # fmt: skip


def test_no_axis_at_all_is_one_cell() -> None:
    assert cells("base: {batch_size: 3}") == [{"batch_size": 3}]


def test_overrides_apply_in_order_and_exclusions_see_their_result() -> None:
    found = cells(
        "base: {seed: 1}\n"
        "grid: {batch_size: [1, 2, 3]}\n"
        "override:\n"
        "  - {when: {batch_size: 2}, set: {seed: 2}}\n"
        "  - {when: {seed: 2}, set: {samples: 9}}\n"
        "exclude: [{batch_size: 3, seed: 1}]\n"
    )
    assert found == [
        {"seed": 1, "batch_size": 1},
        {"seed": 2, "batch_size": 2, "samples": 9},
    ]


@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True),
    st.data(),
)
def test_every_combination_is_a_cell_or_excluded(
    batches: list[int], sizes: list[int], data: st.DataObject
) -> None:
    pattern = {"batch_size": data.draw(st.sampled_from(batches))}
    config = sweep_config(
        {"grid": {"batch_size": batches, "image_size": sizes}, "exclude": [pattern]},
        where="s",
        name="s",
    )
    kept = [axes for axes, _ in settings_of(config, where="s")]
    assert len(kept) == (len(batches) - 1) * len(sizes)
    assert not any(matches(axes, pattern) for axes in kept)
    assert len({tuple(axes.items()) for axes in kept}) == len(kept)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gird: {batch_size: [1]}", "did you mean `grid`?"),
        ("grid: {batchsize: [1]}", "did you mean `batch_size`?"),
        ("base: {image_sise: 1}", "did you mean `image_size`?"),
        ("grid: {batch_size: 4}", "a list of values was expected"),
        ("grid: {batch_size: []}", "a list of values was expected"),
        ("grid: {batch_size: [4, 4]}", "names a value twice"),
        ("base: {batch_size: [1, 2]}", "lists belong under grid"),
        ("zip: {device: [cpu], dtype: [fp32, fp16]}", "differ in length (device 1, dtype 2)"),
        ("base: {batch_size: 1}\ngrid: {batch_size: [1]}", "stands in base and in grid"),
        ("grid: {out: [a, b]}", "give --out to the command"),
        ("exclude: [{}]", "would match every cell"),
        ("override: [{when: {batch_size: 1}}]", "`when` and `set` were expected"),
        ("exclude: [{batch_size: 5}]\ngrid: {batch_size: [1]}", "exclude 1 matches no cell"),
        (
            "override: [{when: {batch_size: 5}, set: {seed: 1}}]\ngrid: {batch_size: [1]}",
            "override 1 matches no cell",
        ),
        ("reference: batch_sizes", "batch_sizes is not published; there are batch_size"),
        ("reference: {table: batch_size, dataset: VQA}", "VQA is not published"),
        ("name: a/b", "a plain word was expected"),
    ],
)
def test_what_it_cannot_mean_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells(text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("s.yaml")


@pytest.mark.parametrize("name", shipped_names("reference"))
def test_every_shipped_sweep_reads(name: str) -> None:
    path = find_sweep(name)
    config = read_sweep(path)
    assert settings_of(config, where=name)
    assert config.reference is not None
    assert find_sweep(f"reference/{name}") == path


@pytest.mark.parametrize("name", [n for n in shipped_names("reference") if "/" not in n])
def test_every_reference_sweep_has_a_tiny_twin_with_the_same_axes(name: str) -> None:
    full, twin = read_sweep(find_sweep(name)), read_sweep(find_sweep(f"tiny/{name}"))
    assert full.axes == twin.axes
    assert full.reference == twin.reference
    assert full.base["samples"] == 300
    assert twin.base["model"] == "tiny"
    assert len(settings_of(full, where=name)) == len(settings_of(twin, where=name))


@pytest.mark.parametrize("name", [n for n in shipped_names("reference") if "random/" in n])
def test_the_random_variants_have_the_axes_of_the_reference(name: str) -> None:
    full = read_sweep(find_sweep(name.removeprefix("random/")))
    variant = read_sweep(find_sweep(name))
    assert set(variant.axes) <= set(full.axes)
    assert variant.base["weights"] == "random"
    assert variant.reference is not None
    assert full.reference is not None
    assert variant.reference.table == full.reference.table


def test_an_unknown_sweep_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reference/batch_size"):
        find_sweep(str(tmp_path / "none.yaml"))


def test_the_packed_tables_are_the_published_ones() -> None:
    original = json.loads(shared("reference/reference_tables.json").read_text())
    assert reference_tables() == original
