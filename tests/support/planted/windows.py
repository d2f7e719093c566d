"""A model in; windows over it with planted delays, eager, from threads, compiled, each judged, out."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

import layerscope
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.passes.captures import captures_noted
from support.planted.in_threads import in_threads
from support.planted.operators import DELAYS, Execution, calibrate
from support.planted.planting import Plant, called_layers, choose, planted
from support.planted.series import Series, Subject, Window, amounts_of

_CAPTURE_CALLS = 6


def eager(subject: Subject, source: random.Random, count: int, threads: int = 1) -> Window:
    """One window with about `count` delays in layers chosen anew; each thread calls the model."""
    call = subject.call if threads == 1 else in_threads(subject.call, threads)
    with torch.no_grad():
        layers = list(called_layers(subject.model, call))
        plants = _fewer(subject, call, choose(source, layers, count), count)
        with planted(subject.model, plants):
            return Series(subject, call, plants, source).next()


def compiled(
    subject: Subject,
    source: random.Random,
    count: int,
    *,
    windows: int = 1,
    threads: int = 1,
    wrap: bool = False,
    blocks: str = "",
    mode: str | None = None,
) -> Iterator[Window]:
    """Windows over a model compiled with `count` plants in it.

    Args:
        threads: so many call the compiled model at once; not with CUDA graphs.
        wrap: plant by replacing `forward` on the instance.
        blocks: compile the children of that container alone: one graph serves them all.
        mode: `reduce-overhead` for CUDA graphs.
    """
    model = subject.model
    torch._dynamo.reset()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers = list(called_layers(model, subject.call, most=1))
        plants = _shared(source, layers, blocks, count) if blocks else choose(source, layers, count)
        ProfilerSession.prepare(cuda=subject.cuda)  # must come before a CUDA graph is captured
        with (
            planted(model, plants, wrap=wrap),
            layerscope.watch_compile(model) as watch,
            _fast(model, blocks, mode) as fast,
        ):
            with DELAYS.counting() as first:
                subject.call(fast)
            replayed = None
            if mode is None:
                subject.call(fast)
            else:
                replayed = _captured(subject, fast, watch, len(first), source)
            regions = {x for x in layers if blocks and x.rpartition(".")[0] == blocks} | {""}
            call = subject.call if threads == 1 else in_threads(subject.call, threads)
            series = Series(subject, call, plants, source, fast, watch, replayed, regions)
            for _ in range(windows):
                yield series.next()


@contextmanager
def _fast(model: torch.nn.Module, blocks: str, mode: str | None) -> Iterator[torch.nn.Module]:
    """The model compiled, or its blocks compiled in place until the end."""
    if not blocks:
        yield torch.compile(model, mode=mode, dynamic=False)  # type: ignore[misc]
        return
    parts = list(model.get_submodule(blocks).children())
    try:
        for part in parts:
            part.compile(mode=mode, dynamic=False)
        yield model
    finally:
        for part in parts:
            part._compiled_call_impl = None


def _captured(
    subject: Subject,
    fast: torch.nn.Module,
    watch: ProvenanceWatch,
    count: int,
    source: random.Random,
) -> list[Execution]:
    """Call until CUDA graphs replay; the executions of the last call that captured.

    Raises:
        RuntimeError: the host still executes the delays: nothing replays them.
    """
    amounts = amounts_of(source, count, calibrate())
    captured: list[Execution] = []
    for _ in range(_CAPTURE_CALLS):
        before = watch.captures
        with captures_noted(watch, cuda=True), DELAYS.running(amounts) as executions:
            subject.call(fast)
        if not executions:
            watch.captures = before  # a replay has no launches to note
            return captured
        captured = executions
    raise RuntimeError(f"no CUDA graph replays the delays after {_CAPTURE_CALLS} calls")


def _fewer(
    subject: Subject, call: Callable[[Any], object], plants: tuple[Plant, ...], count: int
) -> tuple[Plant, ...]:
    """As many of the plants as make about `count` executions: a layer may be called several times."""
    with planted(subject.model, plants), DELAYS.counting() as executions:
        call(subject.model)
    kept: list[Plant] = []
    left = count
    for plant in plants:
        runs = sum(execution.plant == plant.number for execution in executions)
        if runs and left > 0:
            kept.append(plant)
            left -= runs
    return tuple(kept)


def _shared(
    source: random.Random, layers: Sequence[str], blocks: str, count: int
) -> tuple[Plant, ...]:
    """Plants at the same places of every block, so that one graph serves them all."""
    places: dict[str, list[str]] = {}
    for layer in layers:
        if layer.startswith(f"{blocks}."):
            _, _, inside = layer.removeprefix(f"{blocks}.").partition(".")
            places.setdefault(inside, []).append(layer)
    most = max(len(same) for same in places.values())
    in_all = {inside: tuple(same) for inside, same in places.items() if len(same) == most}
    chosen = choose(source, list(in_all), count // most)
    return tuple(Plant(plant.number, in_all[plant.layers[0]], plant.before) for plant in chosen)
