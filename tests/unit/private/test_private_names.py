"""Every private name as it is here, and what a user reads where one of them is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

import layerscope
from layerscope.cli.main import run
from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance_gate import why_not_understood
from layerscope.instrument.ranges import LayerRanges
from layerscope.measure.flops.attempt import attempted
from layerscope.measure.flops.captured import CapturedCall, tensors_only
from layerscope.measure.flops.formulas import label_of
from layerscope.measure.replay.capture import capture
from layerscope.private import compiler, generation, modules, operators, profiler, tensors
from layerscope.private.names import TORCH, TRANSFORMERS, Feature, NoSuchName, PrivateName
from layerscope.private.registry import PRIVATE_NAMES
from layerscope.records.work import Check
from layerscope.run.diagnosis import tested
from layerscope.run.diagnosis.private_names import judge, private_names
from layerscope.workload import flash as flash_of_parts
from layerscope.workload.compiled import CompiledParts
from layerscope.workload.dtype_layout import parameter_dtypes
from layerscope.workload.greedy_loop import GreedyLoop
from layerscope.workload.module_list import attention_in_use
from layerscope.workload.out_of_memory import place_of
from layerscope.workload.static_cache import StaticCaches
from tests.support.small_model import SMALL, small_inputs, small_model

X = torch.ones(1, 4)


@pytest.mark.parametrize("name", PRIVATE_NAMES, ids=lambda name: name.name)
def test_it_is_there_and_behaves_as_layerscope_needs_it(name: PrivateName) -> None:
    assert name.why_not() == ""


def test_each_is_listed_once_and_says_what_it_is_for() -> None:
    assert len({name.name for name in PRIVATE_NAMES}) == len(PRIVATE_NAMES)
    for name in PRIVATE_NAMES:
        assert name.what_for
        assert name.degrades.endswith(".")
        assert name.tried == (TORCH if name.library == "torch" else TRANSFORMERS)


def test_versions_tried_are_those_that_the_doctor_calls_tested() -> None:
    assert tuple(dict.fromkeys(t.series for t in tested.TORCH)) == TORCH
    assert tested.TRANSFORMERS == TRANSFORMERS


# What needs a name, called without it.


def gone(monkeypatch: pytest.MonkeyPatch, lost: PrivateName) -> None:
    """This one name is not found any more."""
    look_up = PrivateName.owner

    def owner(name: PrivateName) -> Any:
        if name == lost:
            raise name.missing()
        return look_up(name)

    monkeypatch.setattr(PrivateName, "owner", owner)


def ranges(_folder: Path) -> object:
    with LayerRanges(nn.Linear(4, 4)):
        return ""


def session(_folder: Path) -> object:
    with ProfilerSession(cuda=False):
        return ""


def captured(_folder: Path) -> object:
    with layerscope.capture(nn.Linear(4, 4)):
        return ""


def compiled(folder: Path) -> object:
    with CompiledParts(small_model(folder), "compile"):
        return ""


def flops(_folder: Path) -> object:
    return layerscope.count_flops(nn.Linear(4, 4), X)


def replayed(_folder: Path) -> object:
    model = nn.Sequential(nn.Linear(4, 4))
    return capture(model, [("0", 0)], lambda: model(X), budget_bytes=1 << 20)


def traced_by_fvcore(_folder: Path) -> str:
    def check() -> Check:
        wrapped, given = tensors_only(CapturedCall("", nn.Linear(4, 4), (X,), {}))
        return Check(name="it", ours=0, theirs=len(wrapped(*given)))

    return attempted("it", check).reason


def static_cache(folder: Path) -> object:
    return StaticCaches(small_model(folder), 4).empty(small_inputs())


def flash(folder: Path) -> object:
    config = resolve({"model": "tiny", "weights": "random", "device": "cuda", "dtype": "fp16",
                      "optimization": "flash"}, cuda=True).config  # fmt: skip
    with patch.object(flash_of_parts, "_PACKAGE", "torch"):  # stands for flash-attn
        return flash_of_parts.flash_verdicts(config, small_model(folder).config)


def dtypes(folder: Path) -> object:
    return parameter_dtypes(small_model(folder), torch.float16, "from_pretrained")


def own_loop(_folder: Path) -> object:
    return GreedyLoop()


def notes(_folder: Path) -> str:
    return why_not_understood()


def needing(names: tuple[PrivateName, ...], feature: Callable[[Path], object]) -> list[Any]:
    return [pytest.param(name, feature, id=name.name) for name in names]


_IN_A_REFUSAL = [
    *needing((profiler.FAST_RANGE, modules.REPLICATE), ranges),
    *needing((profiler.ALL_THREADS,), captured),
    *needing(profiler.SESSION, session),
    *needing((modules.TWINS,), captured),
    *needing(compiler.COMPILED, compiled),
    *needing(operators.COUNTED, flops),
    *needing(tensors.REPLAYED, replayed),
    *needing((tensors.ZERO_ALL, generation.ALLOCATE), static_cache),
    *needing(generation.OWN_LOOP, own_loop),
    *needing((generation.SUPPORTS_FLASH,), flash),
    *needing((generation.KEPT, generation.KEPT_STRICTLY), dtypes),
]
_TRIAL = (compiler.INPUT_SOURCE,)
_IN_A_REASON = [
    *needing(modules.FRAMES, notes),
    *needing((compiler.GRAPH, compiler.COMPILE_FX), notes),
    *needing(tuple(n for n in compiler.NOTED if n not in _TRIAL), notes),
    *needing(operators.IN_GRAPHS, notes),
    *needing((tensors.FLATTEN, tensors.UNFLATTEN), traced_by_fvcore),
]
# Each of these has a test of its own below.
_OTHERWISE = (modules.COMPILED_CALL, modules.ORIGINAL, operators.TRITON_KERNEL, generation.PADDING,
              generation.PREFILL, generation.ATTENTION, *_TRIAL)  # fmt: skip


def test_every_name_is_taken_away_once() -> None:
    taken = {given.values[0] for given in (*_IN_A_REFUSAL, *_IN_A_REASON)} | {*_OTHERWISE}
    assert taken == set(PRIVATE_NAMES)


@pytest.mark.parametrize(("name", "feature"), _IN_A_REFUSAL)
def test_what_needs_it_is_refused_in_one_line(
    name: PrivateName,
    feature: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    feature(tmp_path)  # with it, it works
    gone(monkeypatch, name)
    with pytest.raises(EnvironmentProblem) as refused:
        feature(tmp_path)
    said = str(refused.value)
    assert f"has no {name.name} (tried with {name.library} {name.tried[0]}" in said
    assert said.endswith(name.degrades)
    assert "\n" not in said
    monkeypatch.undo()
    feature(tmp_path)  # nothing was left half done


@pytest.mark.parametrize(("name", "feature"), _IN_A_REASON)
def test_what_does_without_it_says_why(
    name: PrivateName,
    feature: Callable[[Path], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone(monkeypatch, name)
    assert name.name in feature(tmp_path)


def test_another_name_for_compiled_calls_matters_where_something_was_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.delattr(nn.Module, modules.COMPILED_CALL.attribute)
    with pytest.raises(NoSuchName, match="_compiled_call_impl"):
        ranges(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "torch._dynamo")
    ranges(tmp_path)


def test_a_twin_that_keeps_its_module_elsewhere_is_no_layer_of_its_own() -> None:
    twin: Any = torch.compile(nn.Linear(4, 4), backend="eager")
    twin._modules["_renamed"] = twin._modules.pop("_orig_mod")
    with pytest.raises(NoSuchName, match="_orig_mod"):
        modules.original_of(twin)


def test_a_users_own_class_of_that_name_is_no_twin() -> None:
    ours: Any = type("OptimizedModule", (nn.Linear,), {})(4, 4)
    assert modules.original_of(ours) is None


def test_a_triton_kernel_without_its_function_is_listed_by_its_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone(monkeypatch, operators.TRITON_KERNEL)
    operator = "triton_kernel_wrapper_mutation"
    assert label_of(operator, {"kernel_idx": 0}) == operator


def test_the_padding_of_a_loop_of_ours() -> None:
    with pytest.raises(NoSuchName, match="_pad_token_tensor"):
        generation.padding_of(SimpleNamespace())
    assert generation.padding_of(SimpleNamespace(_pad_token_tensor=None)) is None


def test_without_the_name_of_the_first_step_memory_ran_out_in_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.language_model = nn.ModuleDict({"decoder": Fails()})

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self._prefill(x)

        def _prefill(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.language_model["decoder"](x)
            return found

    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")

    model = Net()
    with pytest.raises(RuntimeError) as failed:
        model(X)
    assert place_of(failed.value, model) == ("prefill", "language_model.decoder")
    gone(monkeypatch, generation.PREFILL)
    assert place_of(failed.value, model) == ("prefill or decode", "language_model.decoder")


def test_an_attention_that_no_configuration_names_is_absent(tmp_path: Path) -> None:
    model = small_model(tmp_path, SMALL)
    assert set(attention_in_use(model).values()) == {"sdpa"} or attention_in_use(model)
    model.config = SimpleNamespace(vision_config=SimpleNamespace())
    assert attention_in_use(model) == {}


def test_inputs_whose_source_is_not_told_have_no_layer() -> None:
    node = next(n for n in torch.fx.symbolic_trace(nn.Linear(4, 4)).graph.nodes)
    assert compiler.input_source(node) == ""


# The command and the doctor.


def test_a_profile_without_ranges_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(torch._C._profiler, "_RecordFunctionFast")
    asked = (
        "profile --model tiny --device cpu --batch 1 --samples 1 --max-new-tokens 2 --image-size 56"
    )
    code = run([*asked.split(), "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert code == EnvironmentProblem.exit_code
    assert "has no torch._C._profiler._RecordFunctionFast" in said.replace("\n", " ")
    assert "Traceback" not in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_doctor_counts_them() -> None:
    few = PRIVATE_NAMES[:3]
    found = private_names(few)
    assert found.status == "ok"
    assert found.found.startswith("3 of 3 as layerscope needs them (torch ")


def test_the_doctor_names_what_is_gone_and_what_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    gone(monkeypatch, profiler.FAST_RANGE)
    found = private_names(profiler.NAMES)
    assert found.status == "limited"
    assert found.found.startswith(f"{len(profiler.NAMES) - 1} of {len(profiler.NAMES)} ")
    assert "torch._C._profiler._RecordFunctionFast: torch 2." in found.found
    assert "lost: ranges around layers. No account by layer" in found.found
    assert found.remedy == f"pip install 'torch=={TORCH[-1]}.*'"


def test_the_doctor_says_that_a_version_is_new_and_tries_all_the_same() -> None:
    asked = PRIVATE_NAMES[:2]
    found = judge(asked, {}, {"torch": "9.1.0"}, {})
    assert (found.status, found.remedy) == ("ok", "")
    assert "2 of 2" in found.found
    assert "not tried with this torch, but with 2.11" in found.found


def test_the_doctor_asks_nothing_of_a_library_that_is_broken() -> None:
    found = judge((), {}, {}, {"transformers": "OSError: libx.so"})
    assert found.status == "missing"
    assert "transformers cannot be imported (OSError: libx.so)" in found.found


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        (lambda _: "changed", "changed"),
        (lambda value: value(1, 2, 3, 4), "TypeError: "),
    ],
)
def test_a_name_that_is_there_and_behaves_otherwise(probe: Callable[[Any], str], said: str) -> None:
    name = PrivateName(
        module="torch.nn", path="Module.parameters", what_for="", feature=Feature("it", "All."),
        probe=probe,
    )  # fmt: skip
    assert name.why_not().startswith(said)
