"""Kinds of layers by hand: a number goes where it says nothing but a place."""

from __future__ import annotations

from layerscope.account.layer_kind import Module, layer_kinds


def kinds(**modules: str) -> list[str]:
    """Kinds of modules given as `a_0_b="Class"`, `_` for the dots."""
    found = layer_kinds({name.replace("_", "."): Module(cls) for name, cls in modules.items()})
    return list(found.values())


def test_blocks_of_a_stack_are_one_kind_and_unlike_parts_of_a_block_are_not() -> None:
    given = {
        "b": Module("ModuleList"),
        "b.0": Module("Block"),
        "b.1": Module("Block"),
        **{
            f"b.{i}.layer.{n}": Module(cls)
            for i in (0, 1)
            for n, cls in enumerate(("SelfAttention", "FF"))
        },
        **{f"b.{i}.layer.1.wo": Module("Linear", 10, "float32") for i in (0, 1)},
    }
    found = layer_kinds(given)
    assert found["b.0"] == found["b.1"] == "b.*"
    assert found["b.1.layer.1.wo"] == "b.*.layer.1.wo"
    assert found["b.0.layer.0"] == "b.*.layer.0"
    assert found["b"] == "b"


def test_numbers_stay_where_siblings_differ_or_there_is_one_alone() -> None:
    assert kinds(s_0="Conv", s_1="ReLU", s_2="Conv") == ["s.0", "s.1", "s.2"]
    assert kinds(s_0="Conv") == ["s.0"]
    assert kinds(s_0="Conv", s_1="Conv") == ["s.*", "s.*"]


def test_the_same_class_of_other_sizes_or_dtypes_is_another_kind() -> None:
    sized = {f"s.{i}": Module("Linear", size) for i, size in enumerate((10, 20))}
    assert list(layer_kinds(sized).values()) == ["s.0", "s.1"]
    typed = {f"s.{i}": Module("Linear", 10, dtype) for i, dtype in enumerate(("a", "b"))}
    assert list(layer_kinds(typed).values()) == ["s.0", "s.1"]


def test_nested_stacks_have_two_stars_where_both_are_alike() -> None:
    given = {f"e.{i}.x.{j}": Module("Expert") for i in (0, 1) for j in (0, 1, 2)}
    given |= {f"e.{i}": Module("Block") for i in (0, 1)}
    assert layer_kinds(given)["e.1.x.2"] == "e.*.x.*"
