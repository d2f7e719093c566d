"""Whatever an optimization sets in torch, transformers or on a model is what it was afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo.config
import torch._dynamo.utils
import torch._inductor.config
import torch.compiler.config
from support.small_model import small_inputs, small_model, small_yaml

from layerscope.config.resolve import resolve
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.remedy import remedies
from layerscope.measure.matmul_precision import matmul_precision
from layerscope.passes.session import Destination, opened
from layerscope.private.compiler import COMPILE_FX, DUMP_NOTES, JOINT_PASSES, POST_GRAD_PASSES
from layerscope.report.progress import ProgressReporter
from layerscope.workload import compiled as compiled_parts
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel, load_model
from layerscope.workload.optimization import (
    Applying,
    Asked,
    Plan,
    applied,
    optimizations,
    plan_of,
    refuse,
)

# Each alone, as far as it goes alone: one that is added is tried here without a word.
ALONE = tuple(",".join((name, *remedy.needs[:1])) for name, remedy in remedies().items())
optimizations()  # found before anything is replaced
NOTED = (COMPILE_FX, DUMP_NOTES, JOINT_PASSES, POST_GRAD_PASSES)
COMBINED = ("cudagraphs,tf32,tuned", "compile,flash,tf32")
# What needs a device runs here as far as it goes without one: nothing inside is called.
GIVEN = {
    "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
    "max_new_tokens": 3, "min_new_tokens": 3, "batch_size": 2, "samples": 2, "image_size": 28,
    "max_input_len": 8,
}  # fmt: skip


class Stop(Exception):
    """What goes wrong in a run."""


ENDINGS: dict[str, BaseException | None] = {
    "ends": None,
    "fails": Stop(),
    "is interrupted": KeyboardInterrupt(),
}


def values(config: Any) -> dict[str, Any]:
    return config.get_config_copy()


def state(model: Any = None) -> dict[str, Any]:
    """Everything that an optimization may touch, as it is now."""
    found: dict[str, Any] = {
        "inductor": values(torch._inductor.config),
        "dynamo": values(torch._dynamo.config),
        "compiler": values(torch.compiler.config),
        "counters": {k: dict(v) for k, v in torch._dynamo.utils.counters.items() if v},
        "matmul": torch.get_float32_matmul_precision(),
        "cuda matmul": torch.backends.cuda.matmul.fp32_precision,
        "onednn matmul": torch.backends.mkldnn.matmul.fp32_precision,
        "cudnn": torch.backends.cudnn.fp32_precision,
        "sdp": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "warnings": list(warnings.filters),
        # Functions of torch that are wrapped for a while.
        "private": {name.name: id(name.get()) for name in NOTED},
    }  # fmt: skip
    if model is not None:
        found["model"] = {
            "attention": {n: m.config._attn_implementation for n, m in configured(model)},
            "generation": model.generation_config.to_dict(),
            "training": [m.training for m in model.modules()],
            "calls": [m._compiled_call_impl for m in model.modules()],
            "attributes": [sorted(vars(m)) for m in model.modules()],
            "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
            "dtypes": [p.dtype for p in model.parameters()],
            "addresses": [p.data_ptr() for p in model.parameters()],
        }  # fmt: skip
    return found


def configured(model: Any) -> list[tuple[str, Any]]:
    """The modules of transformers that have a configuration."""
    return [(name, module) for name, module in model.named_modules() if hasattr(module, "config")]


@pytest.fixture(autouse=True)
def unusual() -> Iterator[None]:
    """What a user may have set before, so that putting back is no resetting."""
    before = torch._dynamo.config.recompile_limit
    with warnings.catch_warnings(), matmul_precision("highest"):
        torch.set_float32_matmul_precision("medium")
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch._dynamo.config.recompile_limit = 5
        torch._dynamo.utils.counters["graph_break"]["the user's own"] += 2
        warnings.filterwarnings("ignore", message="the user's own")
        with torch._inductor.config.patch(coordinate_descent_tuning=True, epilogue_fusion=False):
            yield
        torch._dynamo.config.recompile_limit = before
        torch._dynamo.utils.counters.clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_model(tmp_path_factory.mktemp("small"))


def ended(ending: str, inside: Callable[[], None], context: AbstractContextManager[Any]) -> None:
    error = ENDINGS[ending]
    if error is None:
        with context:
            inside()
        return

    def go() -> None:
        with context:
            inside()
            raise error

    with pytest.raises(type(error)):
        go()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("names", [*ALONE, *COMBINED])
def test_an_optimization_is_taken_back(
    names: str, ending: str, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_parts, "why_no_graphs", lambda device: None)
    config = resolve(GIVEN | {"optimize": names}, cuda=False).config
    plan, before = plan_of(config), state(model)
    seen: list[dict[str, Any]] = []
    applying = Applying(config=config, plan=plan, model=model)
    ended(ending, lambda: seen.append(state(model)), applied(applying))
    assert state(model) == before
    # A test that nothing is left behind is worth what was seen to be set.
    if plan.compiled:
        assert seen[0]["model"]["calls"] != before["model"]["calls"]
        assert seen[0]["dynamo"]["recompile_limit"] > 5
        assert seen[0]["counters"] == {}
        assert seen[0]["inductor"] != before["inductor"]
        assert seen[0]["private"] != before["private"]
    if "tf32" in names:
        assert (seen[0]["matmul"], seen[0]["cuda matmul"]) == ("high", "tf32")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("names", ["eager", "tf32", "compile,tf32"])
def test_a_whole_run_leaves_torch_as_it_was(names: str, ending: str, tmp_path: Path) -> None:
    given = GIVEN | {"model": str(small_yaml(tmp_path)), "optimize": names}
    resolved, before = resolve(given, cuda=False), state()
    loaded: list[LoadedModel] = []
    states: list[dict[str, Any]] = []

    def load(*arguments: Any) -> LoadedModel:
        loaded.append(load_model(*arguments))
        states.append(state(loaded[0].model))
        return loaded[0]

    inside: list[str] = []
    destination = Destination(folder=tmp_path, name="r", created=datetime.now(UTC))
    progress = ProgressReporter(_Nowhere(), quiet=True)  # type: ignore[arg-type]
    session = opened(resolved, progress, lambda line: None, destination, load)
    ended(ending, lambda: inside.append(torch.get_float32_matmul_precision()), session)
    assert state() == before
    assert state(loaded[0].model)["model"] == states[0]["model"]
    assert inside == ["high" if "tf32" in names else "highest"]


class _Nowhere:
    def print(self, *_: object, **__: object) -> None: ...


def test_generating_with_a_static_cache_leaves_none_on_the_model(model: Any) -> None:
    config = resolve(GIVEN | {"optimize": "cudagraphs"}, cuda=False).config
    before = state(model)
    Generator(model, config)(small_inputs())
    after = state(model)
    assert after["model"] == before["model"]
    assert after == before


def test_what_fails_on_the_way_in_is_put_back_too(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part cannot be compiled: the parts before it, limits and filters go back."""
    last = model.language_model

    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    config = resolve(GIVEN | {"optimize": "tf32,compile"}, cuda=False).config
    before = state(model)
    with monkeypatch.context() as patched:
        patched.setattr(last, "compile", broken)
        inside = applied(Applying(config=config, plan=plan_of(config), model=model))
        with pytest.raises(KeyboardInterrupt), inside:
            raise AssertionError("never reached")
    assert state(model) == before


def test_a_model_that_was_compiled_before_is_compiled_afterwards(model: Any) -> None:
    own = model.qformer
    own.compile(backend="eager")
    try:
        before = own._compiled_call_impl
        config = resolve(GIVEN | {"optimize": "compile"}, cuda=False).config
        with applied(Applying(config=config, plan=plan_of(config), model=model)):
            assert own._compiled_call_impl is not before
        assert own._compiled_call_impl is before
    finally:
        own._compiled_call_impl = None


def test_refusals_set_nothing_and_name_the_option(model: Any) -> None:
    before = state(model)
    for names, words in (
        ("cudagraphs", "CUDA graphs need a CUDA device"),
        ("flash", "fp16 or bf16"),
    ):
        config = resolve(GIVEN | {"optimize": names}, cuda=False).config
        asked = Asked(config=config, architecture=model.config, model=model)
        with pytest.raises(EnvironmentProblem, match=words):
            refuse(asked)
    config = resolve(GIVEN | {"optimize": "compile"}, cuda=False).config
    bare = Asked(config=config, architecture=None, model=torch.nn.Linear(2, 2))
    with pytest.raises(EnvironmentProblem, match=r"^--optimization compile: the model has none of"):
        refuse(bare)
    assert state(model) == before


def test_plans_of_several_add_up_and_contradictions_are_faults() -> None:
    config = resolve(GIVEN | {"optimize": "cudagraphs,tuned,tf32"}, cuda=False).config
    assert plan_of(config) == Plan(
        text_multiple=32, static_cache=True, host_ahead=True, longest_warm_up=True, cuda_graphs=True,
        compiled=True, tuned=True,
    )  # fmt: skip
    assert plan_of(resolve(GIVEN, cuda=False).config) == Plan()
    with pytest.raises(ValueError, match="attention is to be a and b"):
        Plan(attention="a").with_changes(Plan(attention="b"))
    assert set(optimizations()) == set(remedies())


def test_matmul_precision_comes_back_however_it_was_set() -> None:
    """By torch's newer setting of one backend, torch no longer tells the one for all."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
        torch.get_float32_matmul_precision()
    for precision in ("high", "highest"):
        with matmul_precision(precision):  # type: ignore[arg-type]
            assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    assert torch.get_float32_matmul_precision() == "highest"
