"""What it costs to know the layers: `generate()` under each way of capturing it, side by side.

A model and batch sizes go in; ratios over the bare call and over the profiler alone come out, with
the cost of one module call. The ways take turns in every round and are compared within the round,
so that a host that slows down does so for all of them. Nothing is exported inside a timed region.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

import layerscope
from layerscope.config.resolve import resolve
from layerscope.instrument.environment import read_environment
from layerscope.instrument.library_noise import without_library_noise
from layerscope.instrument.profiler import ProfilerSession
from layerscope.instrument.ranges import LayerRanges
from layerscope.records import RunConfig
from layerscope.workload.batching import Batcher
from layerscope.workload.data.catalogue import open_samples
from layerscope.workload.dtype_layout import torch_dtype
from layerscope.workload.generation import Generator
from layerscope.workload.model import LoadedModel, load_model

BARE, ALONE, OURS = "bare", "profiler alone", "layerscope"
ALL_THREADS, CAPTURE, BEFORE = "layerscope, all threads", "capture()", "before"
_CLOCKS = {"wall": time.perf_counter_ns, "thread": time.thread_time_ns}
_MODELS = {"cpu": "tiny", "cuda": "instructblip-flan-t5-xl"}

Export = Callable[[Path], object]
Way = Callable[[nn.Module], AbstractContextManager[Export | None]]


@dataclass
class Samples:
    """Raw nanoseconds of one way, one entry a round; the export is timed once, in the last round."""

    generate_ns: list[int] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    stop_ns: list[int] = field(default_factory=list)
    export_ns: int | None = None
    trace_bytes: int | None = None


def ways(*, cuda: bool, before: Path | None = None) -> dict[str, Way]:
    """Every way of capturing that this machine can run, in the order of the table.

    Args:
        before: another checkout of layerscope, whose ranges are timed beside this one's.
    """

    @contextmanager
    def bare(model: nn.Module) -> Iterator[None]:
        yield None

    @contextmanager
    def ranges(model: nn.Module) -> Iterator[None]:
        with LayerRanges(model):
            yield None

    @contextmanager
    def alone(model: nn.Module) -> Iterator[Export]:
        with ProfilerSession(cuda=cuda) as session:
            yield session.export

    @contextmanager
    def ours(model: nn.Module) -> Iterator[Export]:
        with LayerRanges(model), ProfilerSession(cuda=cuda) as session:
            yield session.export

    @contextmanager
    def all_threads(model: nn.Module) -> Iterator[Export]:
        session = ProfilerSession(cuda=cuda, all_threads=True)
        with LayerRanges(model), session:
            yield session.export

    @contextmanager
    def captured(model: nn.Module) -> Iterator[None]:
        with layerscope.capture(model):  # its export is part of leaving it
            yield None

    @contextmanager
    def hooks(model: nn.Module) -> Iterator[Export]:
        with record_function_hooks(model), ProfilerSession(cuda=cuda) as session:
            yield session.export

    @contextmanager
    def stack(model: nn.Module) -> Iterator[Export]:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        session = profile(activities=activities, with_stack=True)
        with without_library_noise():
            session.__enter__()  # type: ignore[no-untyped-call]
        try:
            yield lambda path: session.export_chrome_trace(str(path))
        finally:
            synchronize(cuda)
            with without_library_noise():
                session.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    found: dict[str, Way] = {
        BARE: bare,
        "LayerRanges, profiler off": ranges,
        ALONE: alone,
        OURS: ours,
        ALL_THREADS: all_threads,
        CAPTURE: captured,
        "record_function hooks": hooks,
        "with_stack=True": stack,
    }
    if before is not None:
        their_ranges = ranges_of(before)

        @contextmanager
        def earlier(model: nn.Module) -> Iterator[Export]:
            with their_ranges(model), ProfilerSession(cuda=cuda) as session:
                yield session.export

        found[BEFORE] = earlier
    if importlib.util.find_spec("deepspeed") is not None:
        found["DeepSpeed flops profiler"] = deepspeed
    return found


def ranges_of(checkout: Path) -> Callable[[nn.Module], AbstractContextManager[object]]:
    """`LayerRanges` as another checkout has it, with all that it imports from there, beside our own."""
    checkout = checkout.resolve()
    if not (checkout / "layerscope" / "instrument" / "ranges.py").exists():
        raise click.UsageError(f"--before {checkout}: no layerscope/instrument/ranges.py in it.")
    ours = _taken_out()
    sys.path.insert(0, str(checkout))
    try:
        module = importlib.import_module("layerscope.instrument.ranges")
    finally:
        sys.path.remove(str(checkout))
        _taken_out()  # theirs live on in their own names
        sys.modules.update(ours)
    if not Path(str(module.__file__)).is_relative_to(checkout):
        raise click.UsageError(f"--before {checkout}: {module.__file__} was imported instead.")
    found: Callable[[nn.Module], AbstractContextManager[object]] = module.LayerRanges
    return found


def _taken_out() -> dict[str, Any]:
    """Layerscope's modules, taken out of those that are imported."""
    names = [name for name in sys.modules if name.partition(".")[0] == "layerscope"]
    return {name: sys.modules.pop(name) for name in names}


@contextmanager
def record_function_hooks(model: nn.Module) -> Iterator[None]:
    """The usual recipe: a `record_function` opened and closed by each module's forward hooks."""
    opened: list[record_function] = []

    def enter(name: str) -> Callable[..., None]:
        def before(module: nn.Module, args: object) -> None:
            mark = record_function(name)
            mark.__enter__()  # type: ignore[no-untyped-call]
            opened.append(mark)

        return before

    def leave(module: nn.Module, args: object, output: object) -> None:
        opened.pop().__exit__(None, None, None)

    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(name or "model")))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def deepspeed(model: nn.Module) -> Iterator[None]:
    """DeepSpeed's flops profiler around the call; it patches operators and hooks every module."""
    from deepspeed.profiling.flops_profiler import FlopsProfiler

    profiler = FlopsProfiler(model)
    profiler.start_profile()
    try:
        yield None
    finally:
        profiler.stop_profile()
        profiler.end_profile()


def synchronize(cuda: bool) -> None:
    """Wait for the device, where there is one."""
    if cuda:
        torch.cuda.synchronize()


class Bench:
    """One model and one batch, run under each way in turn.

    Args:
        config: the run that is timed.
        loaded: its model.
        clock: nanoseconds.
        repeats: generate() calls in one window; the fastest counts, because what disturbs a shared
            host only adds time.
    """

    def __init__(
        self, config: RunConfig, loaded: LoadedModel, clock: Callable[[], int], repeats: int = 1
    ) -> None:
        self._repeats = repeats
        self._model = loaded.model
        self._clock = clock
        self._cuda = config.device == "cuda"
        self._generate = Generator(loaded.model, config)
        batcher = Batcher(config, loaded.processor, loaded.model.config)
        batch = batcher.prepare(list(open_samples(config).samples(config.batch_size)), 0)
        self._inputs = batch.to(config.device, torch_dtype(config.dtype))
        self.calls = self._count_calls()

    def run(self, rounds: int, seconds: float, ways: dict[str, Way]) -> dict[str, Samples]:
        """Interleaved rounds after one that is thrown away, until `seconds` are used up."""
        began = time.monotonic()
        for way in ways.values():
            self._once(way, Samples())
        found = {name: Samples() for name in ways}
        names = list(ways)
        for number in range(rounds):
            used = time.monotonic() - began
            last = number == rounds - 1 or used * (number + 2) / (number + 1) > seconds
            # Another first in each round: nobody always runs after the most expensive neighbour.
            turn = number % len(names)
            for name in (*names[turn:], *names[:turn]):
                self._once(ways[name], found[name], export=last)
            print(".", end="", file=sys.stderr, flush=True)
            if last:
                break
        print(file=sys.stderr)
        return found

    def _once(self, way: Way, into: Samples, *, export: bool = False) -> None:
        gc.collect()
        clock = self._clock
        began = clock()
        with way(self._model) as write:
            synchronize(self._cuda)
            opened = done = clock()
            taken = []
            for _ in range(self._repeats):
                called = clock()
                self._generate(self._inputs)
                synchronize(self._cuda)
                done = clock()
                taken.append(done - called)
        closed = clock()
        into.start_ns.append(opened - began)
        into.generate_ns.append(min(taken))
        into.stop_ns.append(closed - done)
        if export and write is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "trace.json"
                began = clock()
                write(path)
                into.export_ns = clock() - began
                into.trace_bytes = path.stat().st_size

    def _count_calls(self) -> int:
        """Module calls of one `generate()`, counted by hooks; it warms up, too."""
        calls = 0

        def count(module: nn.Module, args: object) -> None:
            nonlocal calls
            calls += 1

        handle = nn.modules.module.register_module_forward_pre_hook(count)
        try:
            self._generate(self._inputs)
        finally:
            handle.remove()
        synchronize(self._cuda)
        return calls


def ratio(samples: Samples, base: Samples) -> float:
    """Median over the rounds of this way's time over the other's in the same round."""
    pairs = zip(samples.generate_ns, base.generate_ns, strict=True)
    return median(mine / other for mine, other in pairs)


def call_us(samples: Samples, base: Samples, calls: int) -> float:
    """Median over the rounds of the difference to the other way, per module call, in µs."""
    pairs = zip(samples.generate_ns, base.generate_ns, strict=True)
    return median((mine - other) / calls for mine, other in pairs) / 1000


def table(found: dict[str, Samples], calls: int) -> list[str]:
    """The lines of the table: ratios first, then what happens outside the timed region."""
    lines = [
        f"{'':<26}{'generate() over':>18}{'µs per call over':>20}{'start':>9}{'stop':>10}"
        f"{'export':>10}{'trace':>10}",
        f"{'':<26}{'bare':>9}{'profiler':>9}{'bare':>10}{'profiler':>10}{'ms':>9}{'ms':>10}"
        f"{'ms':>10}{'MB':>10}",
    ]
    bare, alone = found[BARE], found[ALONE]
    for name, samples in found.items():
        cells = f"{name:<26}{_share(ratio(samples, bare)):>9}{_share(ratio(samples, alone)):>9}"
        cells += f"{call_us(samples, bare, calls):>10.2f}{call_us(samples, alone, calls):>10.2f}"
        cells += f"{median(samples.start_ns) / 1e6:>9.1f}{median(samples.stop_ns) / 1e6:>10.1f}"
        if samples.export_ns is not None and samples.trace_bytes is not None:
            cells += f"{samples.export_ns / 1e6:>10.1f}{samples.trace_bytes / 1e6:>10.2f}"
        lines.append(cells)
    return lines


def _share(value: float) -> str:
    return f"{(value - 1) * 100:+.1f} %"


@click.command()
@click.option("--device", type=click.Choice(("cpu", "cuda")), help="Default: cuda if there is one.")
@click.option("--model", help="As in layerscope profile. Default: tiny, on CUDA the XL model.")
@click.option("--batch", "batches", type=int, multiple=True, help="Repeatable. Default: 1.")
@click.option("--image-size", default=224, show_default=True, help="Smaller: less noise on a CPU.")
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--repeats",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="generate() calls in each window, the fastest counts.",
)
@click.option("--way", "wanted", multiple=True, help="Only these besides bare and profiler alone.")
@click.option(
    "--before",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Another checkout of layerscope, to time its ranges beside these.",
)
@click.option("--seconds", default=200.0, show_default=True, help="At most, for each batch size.")
@click.option(
    "--clock",
    default="wall",
    show_default=True,
    type=click.Choice(tuple(_CLOCKS)),
    help="thread: CPU time of the calling thread, steadier on a shared CPU with one thread.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Raw samples, to here.")
def main(
    device: str | None,
    model: str | None,
    batches: tuple[int, ...],
    image_size: int,
    rounds: int,
    repeats: int,
    wanted: tuple[str, ...],
    before: Path | None,
    seconds: float,
    clock: str,
    json_file: Path | None,
) -> None:
    """Time generate() bare and under each way of capturing it, in one process, taking turns."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cuda = device == "cuda"
    if cuda and clock != "wall":
        raise click.UsageError("--clock thread does not see the device; use wall.")
    sizes = batches or (1,)
    said: dict[str, Any] = {
        "device": device,
        "model": model or _MODELS[device],
        "weights": "random",
        "dataset": "synthetic-random",
        "image_size": image_size,
        "batch_size": sizes[0],
        "samples": max(sizes),
    }
    config = resolve(said, cuda=cuda).config
    loaded = load_model(config, lambda line: print(line, file=sys.stderr))
    chosen = ways(cuda=cuda, before=before)
    if wanted:
        chosen = {n: w for n, w in chosen.items() if n in (BARE, ALONE, BEFORE, *wanted)}
    environment = read_environment(cuda=cuda)
    print(
        f"{config.model}, {environment.gpu_name or environment.cpu_model}, torch {torch.__version__}"
    )
    evidence = []
    for size in sizes:
        bench = Bench(dataclasses.replace(config, batch_size=size), loaded, _CLOCKS[clock], repeats)
        found = bench.run(rounds, seconds, chosen)
        done = len(found[BARE].generate_ns)
        print(
            f"\nbatch {size}: {bench.calls:,} module calls; medians of {done} rounds, {clock} clock"
        )
        print("\n".join(table(found, bench.calls)))
        if "DeepSpeed flops profiler" not in found:
            print("DeepSpeed flops profiler  not installed")
        evidence.append({"batch": size, "module_calls": bench.calls, "ways": found})
    print("\nCompare within this table; the times of another machine or hour are no measure.")
    if json_file is not None:
        record = {
            "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "clock": clock,
            "config": msgspec.to_builtins(config),
            "environment": msgspec.to_builtins(environment),
            "batches": msgspec.to_builtins(evidence),
        }
        json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
