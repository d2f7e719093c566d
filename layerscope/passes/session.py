"""A resolved configuration in, what a run holds while it runs out: model, samples, generator, folder."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import torch

from layerscope.config.resolve import Resolved
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.progress import Progress
from layerscope.instrument.environment import read_environment
from layerscope.measure.latency import BatchTimer, Target
from layerscope.measure.matmul_precision import matmul_precision
from layerscope.optimizations.compile import CompiledModel
from layerscope.passes.load import Announce, Load, Ready, load_for
from layerscope.private.names import require
from layerscope.private.operators import COUNTED
from layerscope.private.profiler import FAST_RANGE, SESSION
from layerscope.records import Environment, RunConfig
from layerscope.workload.batching import Batch, Batches
from layerscope.workload.calls import Calls
from layerscope.workload.compiled import CompiledParts
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.data.sample import Sample, SampleSource
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel, load_model
from layerscope.workload.multimodal_batching import batches_for
from layerscope.workload.optimization import (
    Applying,
    Asked,
    Plan,
    Refused,
    applied,
    plan_of,
    refuse,
)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a run is written, and what it is called there.

    Attributes:
        folder: as it is called while the run is not whole.
        name: that it takes when it is.
        step: of a sweep's cell, its place on the sweep's axis; None: a run of its own.
    """

    folder: Path
    name: str
    created: datetime
    step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """What a run holds while it runs. Passes read it; what they find goes into the draft.

    Attributes:
        config: that the model runs with.
        choices: that led to the configuration, in words.
        planned: what the plan had in fields that the model decided.
        chunks: the samples, a batch at a time; they can be taken once.
        generator: runs a batch.
        timer: times a batch; its warm-ups reach every decoder step that may be measured.
        plan: what the run's optimizations change of an eager run.
        compiled: the parts that run compiled; None when none do.
        progress: told of every pass.
        announce: takes a line about what is about to happen.
    """

    config: RunConfig
    choices: tuple[str, ...]
    planned: dict[str, int | str]
    model: LoadedModel
    source: SampleSource
    chunks: Iterator[Sequence[Sample]]
    generator: Generator
    timer: BatchTimer
    plan: Plan
    compiled: CompiledModel | None
    environment: Environment
    progress: Progress
    announce: Announce
    destination: Destination

    @property
    def folder(self) -> Path:
        """That the passes write into."""
        return self.destination.folder

    @property
    def parts(self) -> CompiledParts | None:
        """What runs compiled; None when eager."""
        return self.compiled.parts if self.compiled is not None else None

    def inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """A batch's inputs on the model's device."""
        return batch.to(self.config.device, torch_dtype(self.config.dtype))


@contextmanager
def opened(
    resolved: Resolved,
    progress: Progress,
    announce: Announce,
    destination: Destination,
    load: Load = load_model,
    calls: Calls | None = None,
) -> Iterator[Session]:
    """Load the model and apply the run's optimizations to it; take them back at the end.

    Args:
        load: yields the model; called after what can be refused without it.
        calls: counts the calls of `generate()`.

    Raises:
        LayerscopeError: bad input, a missing device, a model or data that cannot be loaded.
    """
    # Whatever the process was set to: what departs from it is an optimization.
    with _as_spelled(resolved), matmul_precision("highest"):
        source = open_samples(resolved.config)
        ready = load_for(resolved, progress, announce, load)
        config, model = ready.config, ready.model
        # Now, not after minutes of measuring.
        require((*COUNTED, FAST_RANGE, *SESSION) if config.trace else COUNTED)
        refuse(Asked(config=config, architecture=model.model.config, model=model.model))
        plan = plan_of(config)
        # Now, too: to learn what it becomes, an image may run through the model.
        batches = batches_for(config, model.model, model.processor)
        with applied(Applying(config=config, plan=plan, model=model.model)) as given:
            compiled = given.get("compile")
            environment = read_environment(cuda=config.device == "cuda")
            generator = Generator(model.model, config, calls=calls)
            yield Session(
                config=config,
                choices=ready.choices,
                planned=ready.planned,
                model=model,
                source=source,
                chunks=_chunks(source, config.samples, config.batch_size),
                generator=generator,
                timer=_timer(ready, batches, generator),
                plan=plan,
                compiled=compiled if isinstance(compiled, CompiledModel) else None,
                environment=environment,
                progress=progress,
                announce=announce,
                destination=destination,
            )


@contextmanager
def _as_spelled(resolved: Resolved) -> Iterator[None]:
    """A refusal names the option by which the user asked for the optimization."""
    try:
        yield
    except Refused as refused:
        if refused.name not in resolved.spelled:
            raise
        raise EnvironmentProblem(f"{resolved.spelled[refused.name]}: {refused.why}") from None


def _timer(ready: Ready, batches: Batches, generator: Generator) -> BatchTimer:
    config = ready.config
    return BatchTimer(
        generator,
        batches,
        Target(config.device, torch_dtype(config.dtype)),
        config.batch_size,
        for_warmup=_to_the_limit(ready, generator) if plan_of(config).longest_warm_up else None,
    )


def _to_the_limit(ready: Ready, generator: Generator) -> Generator:
    """Answers as long as any may be.

    Each further decoder step is a CUDA graph of its own: an answer longer than all before it
    would have graphs captured in measured time.
    """
    longest = dataclasses.replace(ready.config, min_new_tokens=ready.config.max_new_tokens)
    return Generator(ready.model.model, longest, caches=generator.caches, calls=generator.calls)


def _chunks(source: SampleSource, samples: int, size: int) -> Iterator[Sequence[Sample]]:
    stream = source.samples(samples)
    while batch := tuple(itertools.islice(stream, size)):
        yield batch
