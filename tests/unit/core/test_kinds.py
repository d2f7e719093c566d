from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from layerscope.core.kinds import Layer, kinds_of


def kinds(*layers: tuple[str, str, str]) -> dict[str, str]:
    return kinds_of(Layer(*layer) for layer in layers)


def linear(name: str, out: int, into: int) -> tuple[str, str, str]:
    return (name, "Linear", f"{out}x{into}+{out}")


def test_siblings_of_one_class_and_equal_shapes_are_one_kind() -> None:
    assert kinds(linear("h.0", 8, 4), linear("h.1", 8, 4), linear("h.2", 8, 4)) == {
        "h.0": "h.*", "h.1": "h.*", "h.2": "h.*",
    }  # fmt: skip


def test_a_sibling_of_another_shape_or_class_keeps_its_number() -> None:
    # 8 x 4 and 4 x 8 have as many parameters.
    assert kinds(linear("h.0", 8, 4), linear("h.1", 8, 4), linear("h.2", 4, 8)) == {
        "h.0": "h.*", "h.1": "h.*", "h.2": "h.2",
    }  # fmt: skip
    assert kinds(linear("h.0", 8, 8), ("h.1", "Gate", "8x8+8")) == {"h.0": "h.0", "h.1": "h.1"}


def test_two_groups_of_siblings_have_their_numbers() -> None:
    net = [linear(f"net.{n}", 8, 8) if n % 2 == 0 else (f"net.{n}", "ReLU", "") for n in range(4)]
    assert kinds(*net) == {
        "net.0": "net.0+2",
        "net.1": "net.1+3",
        "net.2": "net.0+2",
        "net.3": "net.1+3",
    }


def test_blocks_are_told_apart_by_what_is_in_them() -> None:
    found = kinds(
        *((f"b.{n}", "Block", "") for n in range(3)),
        linear("b.0.fc", 8, 8), linear("b.1.fc", 8, 8), linear("b.2.fc", 16, 16),
    )  # fmt: skip
    assert found["b.0"] == found["b.1"] == "b.*"
    assert found["b.0.fc"] == found["b.1.fc"] == "b.*.fc"
    assert (found["b.2"], found["b.2.fc"]) == ("b.2", "b.2.fc")


def test_dense_and_expert_blocks_of_one_stack() -> None:
    layers = [(f"l.{n}", "Layer", "") for n in range(5)]
    layers += [(f"l.{n}.mlp", "Dense" if n < 2 else "Experts", "") for n in range(5)]
    layers += [linear(f"l.{n}.mlp.experts.{e}", 8, 8) for n in range(2, 5) for e in range(4)]
    assert Counter(kinds(*layers).values()) == {
        "l.0-1": 2, "l.2-4": 3, "l.0-1.mlp": 2, "l.2-4.mlp": 3, "l.2-4.mlp.experts.*": 12,
    }  # fmt: skip


def test_what_one_block_alone_holds_does_not_part_it_from_the_others() -> None:
    """T5: the first block's attention has the table of position biases; inside, numbers tell roles."""
    layers = [(f"enc.block.{n}", "T5Block", "") for n in range(3)]
    for n in range(3):
        layers += [
            (f"enc.block.{n}.layer.0", "T5LayerSelfAttention", ""),
            (f"enc.block.{n}.layer.0.norm", "Norm", "8"),
            (f"enc.block.{n}.layer.1", "T5LayerFF", ""),
            (f"enc.block.{n}.layer.1.norm", "Norm", "8"),
            linear(f"enc.block.{n}.layer.1.wo", 8, 32),
        ]
    layers.append(("enc.block.0.layer.0.bias", "Embedding", "32x4"))
    assert Counter(kinds(*layers).values()) == {
        "enc.block.*": 3,
        "enc.block.*.layer.0": 3, "enc.block.*.layer.0.norm": 3,
        "enc.block.*.layer.1": 3, "enc.block.*.layer.1.norm": 3, "enc.block.*.layer.1.wo": 3,
        "enc.block.0.layer.0.bias": 1,
    }  # fmt: skip


def test_every_other_layer_has_a_part() -> None:
    """Q-Former: cross-attention in each second layer."""
    layers = [(f"layer.{n}", "Layer", "") for n in range(6)]
    layers += [(f"layer.{n}.crossattention", "Attention", "8x8") for n in (0, 2, 4)]
    found = kinds(*layers)
    assert {found[f"layer.{n}"] for n in range(6)} == {"layer.*"}
    assert {found[f"layer.{n}.crossattention"] for n in (0, 2, 4)} == {"layer.*.crossattention"}


def test_without_classes_layers_of_the_same_names_are_alike() -> None:
    names = ["b.0.attn.q", "b.0.mlp", "b.1.attn.q", "b.1.mlp", "b.2.conv", "out.0", "out.2"]
    found = kinds_of(Layer(name) for name in ("b.0", "b.1", "b.2", "b.0.attn", "b.1.attn", *names))
    assert found["b.0"] == found["b.1"] == "b.*"
    assert found["b.0.attn.q"] == found["b.1.attn.q"] == "b.*.attn.q"
    assert found["b.2.conv"] == "b.2.conv"
    # Nothing says that these two are alike.
    assert (found["out.0"], found["out.2"]) == ("out.0", "out.2")


def test_a_name_deeper_than_any_model_is_its_own_kind() -> None:
    deep = ".".join(["0"] * 5_000)
    assert kinds_of([Layer(deep), Layer("a.0"), Layer("a.1")])[deep] == deep


_parts = st.sampled_from(["0", "1", "2", "a", "b"])
_layers = st.dictionaries(
    st.lists(_parts, min_size=1, max_size=4).map(".".join),
    st.tuples(st.sampled_from(["", "A", "B"]), st.sampled_from([None, "1", "2"])),
    max_size=25,
)


@given(_layers)
def test_a_kind_is_the_name_with_other_numbers_and_holds_one_class_alone(
    given_layers: dict[str, tuple[str, str | None]],
) -> None:
    found = kinds_of(Layer(name, *said) for name, said in given_layers.items())
    assert found.keys() == given_layers.keys()
    for name, kind in found.items():
        pairs = list(zip(name.split("."), kind.split("."), strict=True))
        assert all(one == two or one.isdecimal() for one, two in pairs)
    for kind in set(found.values()):
        members = [given_layers[name] for name in found if found[name] == kind]
        assert len({cls for cls, _ in members if cls}) <= 1
        assert len({shapes for cls, shapes in members if cls and shapes is not None}) <= 1
