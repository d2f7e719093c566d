"""`optimize`: names in any order, beside the older options for the same, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.config.optimize import in_one_order, spelling_of, without
from layerscope.config.plan import id_of, load_key
from layerscope.config.resolve import resolve
from layerscope.core.errors import UsageError
from layerscope.core.remedy import closed, remedies
from layerscope.core.run_config import RunConfig
from layerscope.core.run_name import run_name
from layerscope.core.words import listed
from layerscope.report.what_ran import mode_of

NAMES = ("compile", "cudagraphs", "flash", "tf32", "tuned")


def config(**said: Any) -> RunConfig:
    return resolve({"model": "tiny", **said}, cuda=False).config


def refusal(**said: Any) -> str:
    with pytest.raises(UsageError) as caught:
        config(**said)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ALIKE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"optimize": "eager"}),
    ({"optimization": "eager"}, {"optimize": "none"}),
    ({"optimization": "compile"}, {"optimize": "compile"}),
    ({"optimization": "cudagraphs"}, {"optimize": "cudagraphs"}),
    ({"optimization": "cudagraphs"}, {"optimize": "compile,cudagraphs"}),
    ({"fp32_matmul": "high"}, {"optimize": "tf32"}),
    ({"attention": "flash"}, {"optimize": "flash"}),
    ({"optimization": "flash", "attention": "eager"}, {"optimize": "flash", "attention": "eager"}),
    (
        {"optimization": "compile", "coordinate_descent_tuning": True, "fp32_matmul": "high"},
        {"optimize": " tuned, tf32,compile,tf32 ,"},
    ),
    ({"optimization": "cudagraphs", "attention": "flash"}, {"optimize": ["flash", "cudagraphs"]}),
    ({"optimization": "compile", "fp32_matmul": "high"}, {"optimize": "tf32,compile"}),
    ({"optimize": "tf32,compile"}, {"optimization": "compile", "optimize": "tf32"}),
    ({"optimization": "cudagraphs"}, {"optimization": "cudagraphs", "optimize": "compile"}),
    ({"optimization": "cudagraphs"}, {"optimization": "compile", "optimize": "cudagraphs"}),
]  # fmt: skip


@pytest.mark.parametrize(("older", "newer"), ALIKE)
def test_either_spelling_gives_the_same_run(older: dict[str, Any], newer: dict[str, Any]) -> None:
    one, other = config(**older), config(**newer)
    assert one == other
    assert id_of(one) == id_of(other)
    assert load_key(one) == load_key(other)
    assert (mode_of(one), run_name(one)[17:]) == (mode_of(other), run_name(other)[17:])


def test_the_older_options_keep_their_ids() -> None:
    """A change here leaves every sweep folder on disk without its finished cells."""
    base = {"model": "tiny", "device": "cpu", "dtype": "fp32", "dataset": "synthetic-textvqa"}
    kept = {
        "122439ab3438": {"optimization": "compile"},
        "dc1d1170f656": {"optimization": "cudagraphs", "fp32_matmul": "high"},
        "ee494d761f62": {"optimization": "flash"},
        "195bd465bf6e": {"attention": "flash", "fp32_matmul": "high"},
    }
    assert {id_of(RunConfig(**(base | said))) for said in kept.values()} == kept.keys()  # type: ignore[arg-type]


@given(st.data())
def test_the_order_of_names_changes_nothing(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
    other = data.draw(st.permutations(chosen))
    if "tuned" in chosen and not {"compile", "cudagraphs"} & set(chosen):
        assert refusal(optimize=",".join(chosen)) == refusal(optimize=",".join(other))
    else:
        one = config(optimize=",".join(chosen))
        assert config(optimize=",".join(other)) == one
        assert set(one.optimizations) == set(closed(chosen))
    assert in_one_order(",".join(chosen)) == in_one_order(",".join(other))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"optimize": "tf23"}, "has no 'tf23'; did you mean `tf32`?"),
        ({"optimize": "cuda-graphs,tf32"}, "has no 'cuda-graphs'; did you mean `cudagraphs`?"),
        ({"optimize": "coordinate-descent-tuning"}, "did you mean `tuned`?"),
        ({"optimize": "Compile"}, "did you mean `compile`?"),
        ({"optimize": "qqq"}, f"there are {listed(list(remedies()))}."),
        ({"optimize": ""}, "`optimize` names nothing; there are compile"),
        ({"optimize": ","}, "`optimize` names nothing"),
        ({"optimize": 5}, "`optimize` is 5: names joined by commas were expected"),
        ({"optimize": ["compile", 5]}, "names joined by commas were expected"),
        ({"optimize": "eager,tf32"}, "has eager and tf32: eager is a run without any"),
        ({"optimize": "compile,none"}, "has none and compile"),
        ({"optimize": "tuned"}, "has tuned, which tunes compiled code; add compile or cudagraphs."),
        ({"optimize": "eager", "fp32_matmul": "high"}, "has eager and `fp32_matmul` is high"),
        ({"optimize": "tf32", "fp32_matmul": "highest"}, "has tf32 and `fp32_matmul` is highest"),
        ({"optimize": "compile", "optimization": "eager"}, "has compile and `optimization` is eager"),
        ({"optimize": "compile", "optimization": "flash"}, "has compile and `optimization` is flash"),
        ({"optimize": "compile,flash", "attention": "eager"}, "has flash and `attention` is eager"),
        ({"optimize": "compile,tuned", "coordinate_descent_tuning": False}, "has tuned and"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_that_names_it(said: dict[str, Any], words: str) -> None:
    assert words in refusal(**said)


def test_a_pair_that_is_contradictory_or_was_never_tried_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: Any = remedies()
    plain = dataclasses.replace(known["tf32"], aliases=(), goes_with=("compile",))
    odd = dataclasses.replace(plain, name="odd", contradicts={"compile": "odd pads by itself"})
    even = dataclasses.replace(plain, name="even")
    for remedy in (odd, even):
        monkeypatch.setitem(known, remedy.name, remedy)
    assert "compile and odd cannot go together: odd pads by itself" in refusal(
        optimize="odd,compile"
    )
    assert "even and odd cannot go together: nobody has tried" in refusal(optimize="odd,even")
    # One of the two has to know the other.
    found = config(optimize="even,compile")
    assert (found.optimize, found.optimization) == ("compile,even", "compile")
    assert mode_of(found) == "compile, even"
    assert run_name(found).endswith("-compile-even")
    assert id_of(found) != id_of(config(optimization="compile"))
    assert load_key(found) != load_key(config(optimization="compile"))
    assert without(found, ["compile"]).optimize == "even"
    assert without(found, ["even"]) == config(optimization="compile")


def test_a_record_from_before_says_its_names_and_one_that_disagrees_is_a_fault() -> None:
    old = RunConfig(
        model="m", dataset="d", device="cpu", dtype="fp16", optimization="cudagraphs",
        fp32_matmul="high",
    )  # fmt: skip
    assert old.optimizations == ("compile", "cudagraphs", "tf32")
    assert RunConfig(model="m", dataset="d", device="cpu", dtype="fp16").optimizations == ()
    with pytest.raises(ValueError, match="optimize is compile,cudagraphs,tf32, and the options"):
        dataclasses.replace(old, optimization="eager")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_without_takes_what_depends_on_it_along(count: int) -> None:
    for names in itertools.combinations(NAMES, count):
        if "tuned" in names and not {"compile", "cudagraphs"} & set(names):
            continue
        found = config(optimize=list(names) or "eager")
        assert without(found, ["compile"]).optimizations == tuple(
            n for n in names if n in ("flash", "tf32")
        )
        assert without(found, NAMES) == config()
        rest = without(found, ["cudagraphs"])
        assert set(rest.optimizations) == set(closed(names)) - {"cudagraphs"}
        assert (rest.optimization == "compile") == ("compile" in rest.optimizations)


def test_the_option_that_said_it_is_known() -> None:
    assert spelling_of(config(optimization="cudagraphs"), "compile") == "--optimization cudagraphs"
    assert spelling_of(config(optimization="flash"), "flash") == "--optimization flash"
    assert spelling_of(config(attention="flash"), "flash") == "--attention flash"
    assert spelling_of(config(optimize="compile,tuned"), "tuned") == "--coordinate-descent-tuning"
    spelled = resolve({"optimize": "cudagraphs,tf32"}, cuda=False).spelled
    assert spelled["compile"] == spelled["cudagraphs"] == "--optimize cudagraphs"
    assert resolve({"optimization": "cudagraphs"}, cuda=False).spelled == {}
