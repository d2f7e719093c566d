"""A resolved configuration in; one batch's executed FLOPs and their cross-checks out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from layerscope.config.optimize import beside_fields, without
from layerscope.config.resolve import Resolved
from layerscope.core.errors import AccountingError
from layerscope.core.progress import Progress
from layerscope.core.remedy import EAGER
from layerscope.core.words import listed
from layerscope.instrument.environment import read_environment
from layerscope.measure.flops import count_work
from layerscope.measure.flops.cross_check import cross_check
from layerscope.models.closed_form import ClosedForm
from layerscope.passes.load import Announce, load_for
from layerscope.records.cross_check import CrossChecked, difference_text
from layerscope.records.work import Check, CountedWork
from layerscope.workload.batching import iter_batches
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generated, Generator
from layerscope.workload.multimodal_batching import batches_for


def check_flops(
    resolved: Resolved,
    progress: Progress,
    announce: Announce,
    *,
    with_fvcore: bool = True,
    form: ClosedForm | None = None,
) -> CrossChecked:
    """Run one full batch eagerly, count its work, and count it again in other ways.

    Sides that differ are no exception here: the caller decides how to end.

    Args:
        resolved: the configuration; its first `batch_size` samples are used.
        progress: told of every step.
        announce: takes one line at a time about what is about to happen (a download, its size).
        with_fvcore: whether fvcore traces each part.
        form: FLOPs from the architecture, which the executed ones are held against; those of the model's
            family where it is left out.

    Raises:
        LayerscopeError: bad input, a missing device, a model or data that cannot be loaded.
    """
    resolved = _eager(resolved)
    source = open_samples(resolved.config)
    ready = load_for(resolved, progress, announce)
    loaded, config = ready.model, ready.config
    batcher = batches_for(config, loaded.model, loaded.processor)
    samples = source.samples(config.batch_size)
    batch = next(iter_batches(samples, batcher, config.batch_size))
    inputs = batch.to(config.device, torch_dtype(config.dtype))
    run = _Repeated(Generator(loaded.model, config), inputs)
    with progress.task("count FLOPs", 1, ticks=True) as advance:
        work = count_work(loaded.model, run)
        advance(1)
    with progress.task("count again in other ways", 1, ticks=True) as advance:
        checks = cross_check(loaded.model, run, work=work, form=form, with_fvcore=with_fvcore)
        advance(1)
    return CrossChecked(
        config=config,
        environment=read_environment(cuda=config.device == "cuda"),
        model=loaded.record,
        batch=batch.record,
        new_tokens=run.done[0].new_tokens,
        choices=ready.choices,
        work=work,
        checks=(*steps_check(work, run.done), *checks),
    )


def require_equal(checked: CrossChecked) -> None:
    """End with exit code 5 where a check that ran has two different sides.

    Raises:
        AccountingError: naming every such check with both its sides.
    """
    if checked.differing:
        said = "; ".join(difference_text(check) for check in checked.differing)
        raise AccountingError(f"FLOPs differ: {said}.")


def _eager(resolved: Resolved) -> Resolved:
    """Without what would be compiled, or set up around a run; attention and precision stay."""
    asked = resolved.config
    names = ([] if asked.optimization == EAGER else [asked.optimization]) + [*beside_fields(asked)]
    if not names:
        return resolved
    why = f"eager instead of {listed(names)}: operators inside compiled regions bypass the counter"
    config = without(asked, names)
    return dataclasses.replace(resolved, config=config, choices=(*resolved.choices, why))


class _Repeated:
    """The same `generate()` each time it is called; keeps what every call gave."""

    def __init__(self, generator: Generator, inputs: Mapping[str, torch.Tensor]) -> None:
        self._generator = generator
        self._inputs = inputs
        self.done: list[Generated] = []

    def __call__(self) -> None:
        self.done.append(self._generator.describe(self._generator(self._inputs)))


def steps_check(work: CountedWork, done: list[Generated]) -> tuple[Check, ...]:
    """Whether every repetition decoded as many steps as were counted: else no FLOPs can agree.

    Args:
        done: the counted run, then the repetitions.

    Returns:
        One check, or none for a model without known decoder steps.
    """
    if not work.decoder_steps:
        return ()
    others = [run.decoder_steps for run in done[1:]]
    return (
        Check(
            name="decoder steps",
            ours=work.decoder_steps,
            theirs=done[0].decoder_steps,
            compared=len(done),
            unequal=tuple(
                f"repetition {number}: {steps} steps"
                for number, steps in enumerate(others, 1)
                if steps != work.decoder_steps
            ),
            notes=("calls of the language model against the tokens that came out, in every run",),
        ),
    )
