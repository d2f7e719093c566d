"""Bytes made up in, the trace reader's defects out: a fuzz run, guided by coverage where atheris is.

    pip install atheris
    python scripts/fuzz_trace.py CORPUS_FOLDER -max_total_time=600 -max_len=8192 -rss_limit_mb=0

An input is a defect when it ends in anything but an account that adds up or a `DataError` with file
and position. It is written to `crash-…`, which belongs into the tests, and the run ends. Where atheris
has no wheel for this Python, the same mutations run without its guidance, which is said. Without
`-rss_limit_mb=0` a run of half an hour ends at 2 GB: libFuzzer's process grows by 1.3 kB an input, the
reader alone does not (80,000 inputs: 50 MB).
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

try:
    import atheris  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["layerscope"]) if atheris else contextlib.nullcontext():
    from support.trace_attack import judge, mutated, mutated_inside, seeds


def _try(data: bytes, path: Path) -> str:
    # Small blocks, so that cuts between events are tried as well; the input itself decides.
    return judge(data, path, 64 if sum(data[-8:]) % 2 else 4 << 20)


def _changed(rng: random.Random, data: bytes) -> bytes:
    return (mutated_inside if rng.random() < 0.5 else mutated)(rng, data)


def guided(corpus: Path | None, path: Path) -> None:
    """Fuzz until the limits given on the command line; does not return."""
    if corpus is not None:
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds()):
            (corpus / f"seed-{number}").write_bytes(seed)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)  # noqa: S311 - mutations, no secrets
        mixed: bytes = _changed(rng, data) if rng.random() < 0.5 else atheris.Mutate(data, most)
        return mixed[:most]

    atheris.Setup(sys.argv, lambda data: _try(data, path), custom_mutator=mutate)
    atheris.Fuzz()


def unguided(seconds: float, path: Path) -> None:
    """Mutate the seeds, and what came of them, for so long."""
    print(f"atheris is not installed for this Python: unguided mutations for {seconds:g} s")
    rng = random.Random(0)  # noqa: S311
    pool, found = seeds(), Counter[str]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = _changed(rng, rng.choice(pool))
        try:
            answer = _try(data, path)
        except Exception:
            crash = Path(f"crash-{hashlib.sha1(data).hexdigest()}")  # noqa: S324 - a name
            crash.write_bytes(data)
            print(f"a defect: {crash}")
            raise
        found[answer] += 1
        if answer == "read" and len(data) < 1 << 16:
            # What is still read is changed further; what the seeds are is never lost.
            pool[len(seeds()) :] = [*pool[len(seeds()) :], data][-100:]
    print(f"{found.total():,} inputs: {found['read']:,} read, {found['refused']:,} refused")


def main() -> None:
    """See the first lines of this file."""
    corpus = Path(sys.argv[1]) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else None
    limit = re.search(r"-max_total_time=(\d+)", " ".join(sys.argv))
    with tempfile.TemporaryDirectory() as folder:
        if atheris is not None:
            guided(corpus, Path(folder) / "t.json")
        else:
            unguided(float(limit[1]) if limit else 60.0, Path(folder) / "t.json")


if __name__ == "__main__":
    main()
