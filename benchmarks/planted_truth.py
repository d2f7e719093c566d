"""Delays of known length in random layers: does the account give each to its layer, in its length?

    python benchmarks/planted_truth.py --out OUT                       # some 1,000 delays on the CPU
    python benchmarks/planted_truth.py --out OUT --device cuda         # some 400 on a GPU, graphs too

`OUT/<device>.csv` has a row a delay and is written window by window, `OUT/<device>.json` the sums.
"""

from __future__ import annotations

import csv
import json
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.planted import series, windows
from support.planted.series import Window
from support.planted.subjects import Build, find_zoo, forward_only, own, replicated, zoo
from support.planted.verdict import TOLERANCE, Finding

# `wrapped` is compiled code of models whose `forward`s were replaced on the instance.
MODES = ("eager", "threads", "compiled", "wrapped", "graphs")
_COLUMNS = ("mode", "model", "window", "layer", "planted_us", "found_us", "found_layer", "verdict")
_NAMED = 0.98
_THREADS = 3
# Of the zoo: those that threads call at once, and those that are compiled whole.
_ZOO_THREADS = ("instructblip_t5", "llava", "qwen2_5_vl", "whisper", "florence2", "mixtral")
_ZOO_COMPILED = ("vit_cls", "plain_llama")
_ZOO_ON_GPU = ("instructblip_t5", "llava", "plain_llama", "vit_cls")


@dataclass(frozen=True)
class Step:
    """One model in one mode."""

    mode: str
    model: str
    run: Callable[[random.Random], Iterable[Window]]


@dataclass
class Tally:
    """What was found in one mode."""

    verdicts: Counter[str] = field(default_factory=Counter)
    errors: list[float] = field(default_factory=list)
    windows: int = 0
    anew: int = 0
    models: dict[str, None] = field(default_factory=dict)

    def add(self, model: str, window: Window) -> None:
        """Count a window's delays."""
        self.windows += 1
        self.anew += window.anew
        self.models.setdefault(model)
        for finding in window.findings:
            self.verdicts[finding.verdict] += 1
            if finding.verdict in ("right", "off") and finding.found_us is not None:
                self.errors.append(abs(finding.found_us / finding.planted_us - 1))

    def summary(self) -> dict[str, Any]:
        """The sums as they are written."""
        total = self.verdicts.total()
        return {
            "delays": total,
            **{name: self.verdicts[name] for name in ("right", "unknown", "wrong", "off", "lost")},
            "named": round(self.verdicts["right"] / total, 5) if total else None,
            "median_error": round(median(self.errors), 6) if self.errors else None,
            "largest_error": round(max(self.errors), 6) if self.errors else None,
            "windows": self.windows,
            "measured_anew": self.anew,
            "models": list(self.models),
        }


def steps_on_cpu(mine: dict[str, Build], others: dict[str, Build]) -> list[Step]:
    """Some 1,000 delays, a third of them in compiled code."""
    found = [_eager(name, build, 30, windows=2) for name, build in mine.items()]
    found += [_eager(name, build, 20) for name, build in others.items()]
    found += [_threads(name, mine[name], 40) for name in ("captioner", "experts")]
    found += [_threads(f"{n} x{_THREADS}", _copies(mine[n]), 40) for n in ("captioner", "tower")]
    found += [_threads(name, others[name], 20) for name in _ZOO_THREADS if name in others]
    found += [
        _compiled("captioner", mine["captioner"], 30, windows=3),
        _compiled("experts", mine["experts"], 24, windows=3),
        _compiled("tower by block", mine["tower"], 30, windows=3, blocks="blocks"),
    ]
    at_once = _compiled(f"tower, {_THREADS} threads", mine["tower"], 12, threads=_THREADS)
    found.append(at_once)
    whole = [name for name in _ZOO_COMPILED if name in others]
    found += [_compiled(n, forward_only(others[n]), 24, windows=2) for n in whole]
    return [*found, _compiled("experts", mine["experts"], 20, wrap=True)]


def steps_on_gpu(mine: dict[str, Build], others: dict[str, Build]) -> list[Step]:
    """Some 400 delays; the modes that take long last.

    No blocks alone as CUDA graphs: one graph that serves them all overwrites its output with the next
    block's, which torch refuses.
    """
    found = [_eager(name, build, 30) for name, build in mine.items()]
    found += [_eager(name, others[name], 20) for name in _ZOO_ON_GPU if name in others]
    found += [_threads("captioner", mine["captioner"], 36)]
    found += [_threads(f"tower x{_THREADS}", _copies(mine["tower"]), 24)]
    graphs: dict[str, Any] = {"mode": "reduce-overhead"}
    found += [
        _compiled("experts", mine["experts"], 24, windows=2, **graphs),
        _compiled("captioner", mine["captioner"], 30, windows=2, **graphs),
        _compiled("experts", mine["experts"], 24, windows=2),
        _compiled("tower by block", mine["tower"], 30, windows=2, blocks="blocks"),
        _compiled("tower", mine["tower"], 30, windows=2, **graphs),
        _compiled("experts", mine["experts"], 20, wrap=True),
    ]
    return found


def _eager(name: str, build: Build, count: int, *, windows: int = 1) -> Step:
    def run(source: random.Random) -> Iterator[Window]:
        subject = build()
        for _ in range(windows):
            yield _eager_window(subject, source, count)

    return Step("eager", name, run)


def _eager_window(subject: series.Subject, source: random.Random, count: int) -> Window:
    return windows.eager(subject, source, count)


def _threads(name: str, build: Build, count: int) -> Step:
    def run(source: random.Random) -> Iterator[Window]:
        yield windows.eager(build(), source, count, threads=_THREADS)

    return Step("threads", name, run)


def _copies(build: Build) -> Build:
    return lambda: replicated(build(), _THREADS)


def _compiled(name: str, build: Build, count: int, **how: Any) -> Step:
    def run(source: random.Random) -> Iterator[Window]:
        yield from windows.compiled(build(), source, count, **how)

    mode = "graphs" if "mode" in how else "wrapped" if how.get("wrap") else "compiled"
    return Step(mode, name, run)


def run_steps(
    steps: Iterable[Step], out: Path, device: str, seed: int, limit_s: float
) -> dict[str, Any]:
    """Run the steps, writing each window as it ends; what could not be run is in the record."""
    began = time.monotonic()
    tallies: dict[str, Tally] = {}
    record: dict[str, Any] = _record(device, seed)
    with (out / f"{device}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for step in steps:
            if time.monotonic() - began > limit_s:
                record["left_out"].append(f"{step.mode} {step.model}: over --limit-s")
                continue
            tally = tallies.setdefault(step.mode, Tally())
            # Its own source: a step that fails changes nothing in the others.
            source = random.Random(f"{seed} {step.mode} {step.model}")  # noqa: S311
            try:
                for number, window in enumerate(step.run(source)):
                    tally.add(step.model, window)
                    writer.writerows(_row(step, number, finding) for finding in window.findings)
                    file.flush()
                    _say(step, number, window, time.monotonic() - began)
            except Exception as error:
                line = f"{step.mode} {step.model}: {type(error).__name__}: {error}".splitlines()[0]
                record["failed"].append(line)
                print(line, file=sys.stderr, flush=True)
            record["modes"] = {mode: tally.summary() for mode, tally in tallies.items()}
            record["seconds"] = round(time.monotonic() - began, 1)
            _write(out / f"{device}.json", record)
    return record


def _record(device: str, seed: int) -> dict[str, Any]:
    cuda = device == "cuda"
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "torch": str(torch.__version__),
        "seed": seed,
        "tolerance": TOLERANCE,
        "planted_us": list(series.GPU_US if cuda else series.CPU_US),
        "modes": {},
        "failed": [],
        "left_out": [],
    }


def _row(step: Step, number: int, finding: Finding) -> tuple[Any, ...]:
    found_us = "" if finding.found_us is None else f"{finding.found_us:.3f}"
    return (
        *(step.mode, step.model, number, finding.layer, f"{finding.planted_us:.3f}", found_us),
        *(finding.found_layer or "", finding.verdict),
    )


def _say(step: Step, number: int, window: Window, seconds: float) -> None:
    verdicts = Counter(finding.verdict for finding in window.findings)
    said = ", ".join(f"{count} {name}" for name, count in verdicts.items())
    print(f"{seconds:6.1f} s  {step.mode:9} {step.model:24} {number}  {said}", flush=True)


def _write(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def failures(record: dict[str, Any]) -> list[str]:
    """What does not hold: a wrong layer, too few named, a length that is off, a step that failed."""
    found = [*record["failed"]]
    for mode, sums in record["modes"].items():
        if sums["wrong"] or sums["off"] or sums["lost"] or (sums["named"] or 0) < _NAMED:
            found.append(
                f"{mode}: {sums['wrong']} wrong, {sums['lost']} lost, {sums['off']} off by more than "
                f"{TOLERANCE:.0%}, {sums['unknown']} unknown of {sums['delays']}"
            )
    return found


def _summary_lines(record: dict[str, Any]) -> Iterator[str]:
    for mode, sums in record["modes"].items():
        yield (
            f"{mode:9} {sums['delays']:5} delays: {sums['right']} right, {sums['unknown']} unknown, "
            f"{sums['wrong']} wrong, {sums['off']} off, {sums['lost']} lost; "
            f"largest error {sums['largest_error'] or 0:.2%}; "
            f"{sums['measured_anew']} measured anew"
        )


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda")))
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Only these.")
@click.option("--model", "models", multiple=True, help="Only steps whose model is named so.")
@click.option("--zoo", "zoo_file", type=click.Path(path_type=Path, exists=True), help="zoo.py.")
@click.option("--seed", default=0, show_default=True)
@click.option("--limit-s", default=3600.0, show_default=True, help="No new step after that.")
def main(
    out: Path,
    device: str,
    modes: tuple[str, ...],
    models: tuple[str, ...],
    zoo_file: Path | None,
    seed: int,
    limit_s: float,
) -> None:
    """Plant delays, account for them, and exit 1 where the account is wrong."""
    cuda = device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise click.UsageError("--device cuda: torch sees no CUDA device.")
    if cuda and not hasattr(torch.cuda, "_sleep"):
        raise click.UsageError(f"torch {torch.__version__} has no torch.cuda._sleep.")
    out.mkdir(parents=True, exist_ok=True)
    path = zoo_file or find_zoo()
    others: dict[str, Build] = {}
    if path is None:
        print("no shared/cases/zoo.py beside this checkout: our own models alone", file=sys.stderr)
    else:
        others = zoo(path, cuda)
    steps = (steps_on_gpu if cuda else steps_on_cpu)(own(cuda), others)
    wanted = [step for step in steps if step.mode in (modes or MODES)]
    wanted = [step for step in wanted if not models or step.model in models]
    record = run_steps(wanted, out, device, seed, limit_s)
    print("\n".join(_summary_lines(record)))
    for line in record["left_out"]:
        print(f"not run: {line}")
    broken = failures(record)
    print("\n".join(f"FAILED {line}" for line in broken) or "all as planted")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
