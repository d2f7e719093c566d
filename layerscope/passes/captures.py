"""A call that captures CUDA graphs in, what each graph launched under capture noted: the reference
that names the kernels of its replays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.provenance import ProvenanceWatch
from layerscope.passes.account import note_captures


@contextmanager
def captures_noted(watch: ProvenanceWatch, *, cuda: bool) -> Iterator[None]:
    """Profile what runs inside, in which graphs are captured, and give `watch` their sequences.

    The trace is thrown away: an XL model's has tens of megabytes, its sequences a few kilobytes.
    """
    with tempfile.TemporaryDirectory(prefix="layerscope-captures-") as folder:
        path = Path(folder) / "trace.json"
        with ProfilerSession(cuda=cuda) as session:
            yield
        session.export(path)
        note_captures(path, watch)
