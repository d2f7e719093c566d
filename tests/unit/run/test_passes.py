"""The passes of a run on the bundled model, which ends its answers before the limit."""

from __future__ import annotations

import dataclasses
import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from layerscope.config.resolve import resolve
from layerscope.report.progress import ProgressReporter
from layerscope.run.passes import Passes
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.model import load_model

LIMIT = 9


@pytest.mark.parametrize("optimization", ["eager", "cudagraphs"])
def test_warm_ups_reach_every_step_that_may_be_measured(optimization: str) -> None:
    """An answer to `synthetic-textvqa` has two to four tokens; each step is a CUDA graph of its own."""
    given = {
        "model": "tiny", "dataset": "synthetic-textvqa", "device": "cpu", "batch_size": 2,
        "samples": 4, "max_new_tokens": LIMIT, "warmup": 2, "measure_limit_s": 0.05,
    }  # fmt: skip
    config = resolve(given, cuda=False).config
    loaded = load_model(config)
    # Without its compiled parts, which need CUDA, the mode's generators run on the CPU too.
    config = dataclasses.replace(config, optimization=optimization)
    passes = Passes(config, loaded, ProgressReporter(sys.stderr, quiet=True))
    found = passes.measure(open_samples(config))
    warm = {sample.decoder_steps for sample in found.warmups}
    measured = {item.sample.decoder_steps for item in found.batches}
    assert max(measured) < LIMIT
    assert warm == {LIMIT} if optimization == "cudagraphs" else warm <= measured
    assert all(max(s.new_tokens) < LIMIT for s in found.repeats)


def test_no_collection_falls_into_the_traced_batch(tmp_path: Path) -> None:
    """It would stop the host for tenths of a second, and a layer would be said to have waited."""
    given = {
        "model": "tiny", "dataset": "synthetic-textvqa", "device": "cpu", "batch_size": 1,
        "samples": 1, "max_new_tokens": 2, "warmup": 1, "measure_limit_s": 0.05,
    }  # fmt: skip
    config = resolve(given, cuda=False).config
    passes = Passes(config, load_model(config), ProgressReporter(sys.stderr, quiet=True))
    measured = passes.measure(open_samples(config))
    collected: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        collected.append(info["generation"])

    generate = passes.generator

    class Watching:
        describe = generate.describe

        def __call__(self, inputs: Any) -> Any:
            gc.callbacks.append(note)
            try:
                self.kept = [[] for _ in range(200_000)]  # would start collections, were it awake
                return generate(inputs)
            finally:
                gc.callbacks.remove(note)

    passes.generator = Watching()  # type: ignore[assignment]
    passes.trace(measured.batches[0], tmp_path / "trace.json.gz")
    assert collected == []
    assert gc.isenabled()
