"""Bytes that atheris makes up in, the trace reader's defects out (a coverage-guided fuzz run).

    pip install atheris
    python scripts/fuzz_trace.py CORPUS_FOLDER -max_total_time=600 -max_len=8192

An input is a defect when it ends in anything but an account that adds up or a `DataError` with file and
position; atheris then stops and writes it to `crash-…`, which belongs into the tests.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

with atheris.instrument_imports(include=["layerscope"]):
    from support.trace_attack import judge, mutated, seeds

import random


def main() -> None:
    """Fuzz until the limits given on the command line."""
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.json"

        def one(data: bytes) -> None:
            # Small blocks, so that cuts between events are tried as well; the first byte decides.
            judge(data, path, 64 if data[:1] == b"[" and len(data) % 2 else 4 << 20)

        def mutate(data: bytes, most: int, seed: int) -> bytes:
            rng = random.Random(seed)  # noqa: S311 - mutations, no secrets
            if rng.random() < 0.5:
                return mutated(rng, data)[:most]
            mixed: bytes = atheris.Mutate(data, most)
            return mixed

        atheris.Setup(sys.argv, one, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
