"""The loop that does not wait: the tokens of `generate()`'s own search, and every step counted."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_model import SMALL, SMALL_LLAMA, small_inputs, small_model
from torch.utils._python_dispatch import TorchDispatchMode

from layerscope.account.account import account_of
from layerscope.config.resolve import resolve
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.workload import greedy_loop
from layerscope.workload.generation import Generator
from layerscope.workload.greedy_loop import GreedyLoop
from layerscope.workload.module_list import list_modules
from layerscope.workload.static_cache import StaticCaches

BATCH, LONGEST = 4, 10
NEVER = 64  # outside the vocabulary


@dataclasses.dataclass(frozen=True)
class Talking:
    """A model that says something else at every step, and what it says if nothing ends it."""

    model: Any
    inputs: dict[str, torch.Tensor]
    free: list[list[int]]  # new tokens only

    def own(self, limit: int, ends: list[int] | None = None, **more: Any) -> torch.Tensor:
        """`generate()`'s own greedy search."""
        settings = {"max_new_tokens": limit, "do_sample": False, "num_beams": 1, **more}
        if ends is not None:
            settings["eos_token_id"] = ends
        found: torch.Tensor = self.model.generate(**self.inputs, **settings)
        return found

    def ends_at(self, ends: list[int]) -> list[int]:
        """The step, from 1, at which each sample's end comes; LONGEST + 1 where it never does."""
        return [
            next((step for step, token in enumerate(row, 1) if token in ends), LONGEST + 1)
            for row in self.free
        ]


@pytest.fixture(scope="module", params=["t5", "llama"])
def talking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Talking:
    folder = tmp_path_factory.mktemp("model")
    t5 = request.param == "t5"
    model = small_model(folder, SMALL if t5 else SMALL_LLAMA, seed=1 if t5 else 2)
    if t5:
        # Untrained and tied to its embedding a T5 repeats itself.
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(4)
        head = model.language_model.lm_head
        source = torch.Generator().manual_seed(1)
        head.weight = torch.nn.Parameter(torch.randn(head.weight.shape, generator=source))
    inputs = small_inputs(batch=BATCH)
    unended = Talking(model, inputs, [])
    free = unended.own(LONGEST, [NEVER])[:, -LONGEST:].tolist()
    return dataclasses.replace(unended, free=free)


def ragged(talking: Talking, last: int) -> list[int]:
    """End tokens that end the samples at three steps or more, none at the first, the last at `last`."""
    said = sorted({token for row in talking.free for token in row[:last]})
    for ends in itertools.combinations(said, 4):
        at = talking.ends_at(list(ends))
        if max(at) == last and min(at) > 1 and len(set(at)) > 2:
            return list(ends)
    raise AssertionError("this model's samples do not end so")


def expected_steps(ends: list[int], limit: int) -> int:
    """On paper: one step beyond the last end, unless the limit forbids it."""
    return min(max(ends) + 1, limit)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, LONGEST])
@pytest.mark.parametrize("last", [4, 5])
def test_samples_that_end_at_different_steps(talking: Talking, last: int, limit: int) -> None:
    """The last end below the limit, one before it, in the same step, and beyond it."""
    ends = ragged(talking, last)
    at = talking.ends_at(ends)
    loop = GreedyLoop()
    ours = talking.own(limit, ends, custom_generate=loop)
    assert torch.equal(ours, talking.own(limit, ends))
    assert loop.steps == expected_steps(at, limit)
    new = min(max(at), limit)
    assert ours.shape[1] == talking.own(1, ends).shape[1] - 1 + new
    for row, end in zip(ours[:, -new:].tolist(), at, strict=True):
        assert row[end:] == [0] * max(0, new - end)  # padding after a sample's end


@pytest.mark.parametrize("limit", [5, 6, 7, LONGEST])
def test_min_new_tokens(talking: Talking, limit: int) -> None:
    ends = ragged(talking, 4)
    loop = GreedyLoop()
    ours = talking.own(limit, ends, min_new_tokens=5, custom_generate=loop)
    theirs = talking.own(limit, ends, min_new_tokens=5)
    assert torch.equal(ours, theirs)
    start = talking.own(1, ends).shape[1] - 1
    new = ours.shape[1] - start
    assert new >= 5
    ended = all(set(row) & set(ends) for row in ours[:, start:].tolist())
    assert loop.steps == min(new + ended, limit)


def test_the_length_alone_ends_it(talking: Talking) -> None:
    loop = GreedyLoop()
    ours = talking.own(LONGEST, [NEVER], custom_generate=loop)
    assert torch.equal(ours, talking.own(LONGEST, [NEVER]))
    assert loop.steps == LONGEST


def test_a_loop_serves_one_batch_after_another(talking: Talking) -> None:
    """The flag of a batch that ended must not end the next one, whatever slot it lies in."""
    loop = GreedyLoop()
    for last in (4, 5, 6, 4):
        ends = ragged(talking, last)
        for more in (ends, [NEVER]):
            ours = talking.own(LONGEST, more, custom_generate=loop)
            assert torch.equal(ours, talking.own(LONGEST, more))


def test_a_static_cache_emptied_after_a_dropped_step(talking: Talking) -> None:
    """The dropped step writes one position more into it, never one beyond its length."""
    caches = StaticCaches(talking.model, LONGEST)
    loop = GreedyLoop()
    for ends in (ragged(talking, 4), ragged(talking, 5), [NEVER]):
        ours = talking.own(
            LONGEST,
            ends,
            custom_generate=loop,
            disable_compile=True,
            **caches.empty(talking.inputs),
        )
        assert torch.equal(ours, talking.own(LONGEST, ends))


class Reads(TorchDispatchMode):
    """The addresses whose value the host asked for, outside of the model's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[int] = []
        self.looking = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split(".")[0]
        if self.looking and name in ("aten::_local_scalar_dense", "aten::equal", "aten::nonzero"):
            self.addresses.append(args[0].data_ptr())
        return func(*args, **(kwargs or {}))


@contextmanager
def noted(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What happens in the loop, in order: a step's launch, a flag's copy, a wait for one."""
    story: list[str] = []

    class Event:
        number = 0

        def record(self) -> None:
            steps = sum(line.startswith("copy") for line in story)
            self.number = steps + 1
            story.append(f"copy {self.number}")

        def synchronize(self) -> None:
            story.append(f"wait {self.number}")

    monkeypatch.setattr(greedy_loop, "new_event", lambda device: Event())
    hook = model.language_model.register_forward_pre_hook(lambda *_: story.append("launch"))
    yield story
    hook.remove()


def test_a_step_is_launched_before_the_last_ones_flag_is_read(
    talking: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ragged(talking, 4)
    with noted(talking.model, monkeypatch) as story:
        talking.own(LONGEST, ends, custom_generate=GreedyLoop())
    told = ["launch", "copy 1"]
    for step in range(2, 4 + 2):
        told += ["launch", f"copy {step}", f"wait {step - 1}"]
    assert story == told


def test_the_host_reads_nothing_but_copied_flags(talking: Talking) -> None:
    """No `.item()`, `bool(tensor)` or the like between two steps; each would wait for a device."""
    loop, reads = GreedyLoop(), Reads()
    cache = StaticCaches(talking.model, LONGEST).empty(talking.inputs)

    def watched(model: Any, input_ids: torch.Tensor, **given: Any) -> torch.Tensor:
        with reads:
            return loop(model, input_ids, **given)

    def look(on: bool) -> Callable[..., None]:
        return lambda *_: setattr(reads, "looking", on)

    language = talking.model.language_model
    hooks = (
        language.register_forward_pre_hook(look(False)),
        language.register_forward_hook(look(True)),
    )
    talking.own(LONGEST, ragged(talking, 4), custom_generate=watched, disable_compile=True, **cache)
    for hook in hooks:
        hook.remove()
    (flag,) = loop._flags.values()
    slots = [slot.data_ptr() for slot, _ in flag._slots]
    assert reads.addresses == [slots[step % 2] for step in range(4)]


CONFIG = resolve(
    {
        "model": "tiny", "weights": "random", "dataset": "synthetic-random", "device": "cpu",
        "max_new_tokens": LONGEST, "min_new_tokens": 1,
    },
    cuda=False,
).config  # fmt: skip
GRAPHED = dataclasses.replace(CONFIG, optimization="cudagraphs")


@pytest.fixture
def ending(talking: Talking, monkeypatch: pytest.MonkeyPatch) -> Talking:
    """The model's own end tokens are those of the ragged ends."""
    model, ends = talking.model, ragged(talking, 4)
    monkeypatch.setattr(model.language_model.generation_config, "eos_token_id", ends)
    monkeypatch.setattr(model.config.get_text_config(), "eos_token_id", ends)
    return talking


@contextmanager
def calls_of(module: torch.nn.Module) -> Iterator[list[int]]:
    seen: list[int] = []
    hook = module.register_forward_pre_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def test_a_generator_of_a_cudagraphs_run(ending: Talking) -> None:
    eager, graphed = Generator(ending.model, CONFIG), Generator(ending.model, GRAPHED)
    graphed.prepare(ending.inputs)
    for _ in range(2):
        with calls_of(ending.model.language_model) as calls:
            ours = graphed(ending.inputs)
        theirs = eager(ending.inputs)
        assert torch.equal(ours, theirs)
        found, usual = graphed.describe(ours), eager.describe(theirs)
        assert found.decoder_steps == len(calls) == 4 + 1
        assert found.new_tokens == usual.new_tokens


def test_other_searches_are_transformers_own(
    ending: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the loop ran")

    monkeypatch.setattr(GreedyLoop, "__call__", never)
    for optimization in ("eager", "compile"):
        Generator(ending.model, dataclasses.replace(CONFIG, optimization=optimization))(
            ending.inputs
        )
    graphed = Generator(ending.model, GRAPHED)
    graphed.with_logits(ending.inputs)
    Generator(ending.model, GRAPHED, only_first=True, caches=graphed.caches)(ending.inputs)
    Generator(ending.model, dataclasses.replace(GRAPHED, num_beams=2))(ending.inputs)
    with pytest.raises(AssertionError, match="the loop ran"):
        graphed(ending.inputs)


@pytest.mark.parametrize("talking", ["t5"], indirect=True)  # whose structure rule 4 knows
def test_the_account_of_its_trace_knows_the_dropped_step(ending: Talking, tmp_path: Path) -> None:
    run = Generator(ending.model, GRAPHED)
    run.prepare(ending.inputs)
    with LayerRanges(ending.model), ProfilerSession(cuda=False) as session:
        tokens = run(ending.inputs)
    session.export(tmp_path / "trace.json")
    steps = run.describe(tokens).decoder_steps
    modules = list_modules(ending.model)
    assert account_of(tmp_path / "trace.json", modules, steps).table.failures() == ()
    for wrong in (steps - 1, steps + 1):
        assert account_of(tmp_path / "trace.json", modules, wrong).table.failures()
