"""The passes of a run on the bundled model, which ends its answers before the limit."""

from __future__ import annotations

import dataclasses
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from layerscope.config.resolve import resolve
from layerscope.passes.draft import Draft
from layerscope.passes.latency import latency
from layerscope.passes.session import Destination, Session, opened
from layerscope.passes.trace import trace
from layerscope.passes.warm_up import warm_up
from layerscope.report.progress import ProgressReporter
from layerscope.workload.optimization import Optimization, optimizations

LIMIT = 9
GIVEN = {
    "model": "tiny", "dataset": "synthetic-textvqa", "device": "cpu", "batch_size": 2,
    "samples": 4, "max_new_tokens": LIMIT, "warmup": 2, "measure_limit_s": 0.05,
}  # fmt: skip


@contextmanager
def small_session(folder: Path, mode: str = "eager", **given: Any) -> Iterator[Session]:
    resolved = resolve(GIVEN | given, cuda=False)
    # Afterwards, past the refusal of a mode that needs CUDA.
    config = dataclasses.replace(resolved.config, optimization=mode)
    resolved = dataclasses.replace(resolved, config=config)
    progress = ProgressReporter(sys.stderr, quiet=True)
    destination = Destination(folder=folder, name="run", created=datetime.now(UTC))
    with opened(resolved, progress, lambda line: None, destination) as session:
        yield session


@pytest.mark.parametrize("optimization", ["eager", "cudagraphs"])
def test_warm_ups_reach_every_step_that_may_be_measured(
    optimization: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer to `synthetic-textvqa` has two to four tokens; each step is a CUDA graph of its own."""
    # Without its compiled parts, which need CUDA, the mode's generators run on the CPU too.
    known: Any = optimizations()
    for name in ("compile", "cudagraphs"):
        monkeypatch.setitem(known, name, Optimization(plan=known[name].plan))
    draft = Draft()
    with small_session(tmp_path, optimization) as session:
        warm_up(session, draft)
        latency(session, draft)
    warm = {sample.decoder_steps for sample in draft.warmups}
    measured = {item.sample.decoder_steps for item in draft.batches}
    assert max(measured) < LIMIT
    assert warm == {LIMIT} if optimization == "cudagraphs" else warm <= measured
    assert all(max(s.new_tokens) < LIMIT for s in draft.repeats)


def test_no_collection_falls_into_the_traced_batch(tmp_path: Path) -> None:
    """It would stop the host for tenths of a second, and a layer would be said to have waited."""
    collected: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        collected.append(info["generation"])

    with small_session(tmp_path, batch_size=1, samples=1, max_new_tokens=2, warmup=1) as session:
        draft = Draft()
        warm_up(session, draft)
        latency(session, draft)
        generate = session.generator

        class Watching:
            describe = generate.describe

            def __call__(self, inputs: Any) -> Any:
                gc.callbacks.append(note)
                try:
                    self.kept = [[] for _ in range(200_000)]  # would start collections, if awake
                    return generate(inputs)
                finally:
                    gc.callbacks.remove(note)

        watching: Any = Watching()
        trace(dataclasses.replace(session, generator=watching), draft)
    assert draft.trace is not None
    assert collected == []
    assert gc.isenabled()
