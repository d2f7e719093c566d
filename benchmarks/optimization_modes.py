"""What each way of running the model costs, measured in turns: a table of modes at each batch size.

Each mode is a process of its own with its own model, so that compilations overlap and the measured
rounds of all modes take turns: a host that slows down does so for all of them. Only one process runs
anything on the device while it measures. Afterwards each traces and counts one batch, compares its
tokens with eager ones and accounts for every nanosecond.

    python benchmarks/optimization_modes.py --out results                 # XL on CUDA, batch 1 and 16
    python benchmarks/optimization_modes.py --model small.yaml --device cpu --mode eager --mode compile

A mode is `optimization`, `optimization:fp32_matmul` or `optimization:fp32_matmul:tuned`, the last
with coordinate descent tuning. A mode that is not ready in time fails, the others go on. The rows are
written after each batch size; traces are thrown away unless `--keep-traces` is given.
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import click

MODES = ("eager", "eager:high", "compile", "compile:high", "cudagraphs", "cudagraphs:high")
TUNED = ("cudagraphs:highest:tuned", "cudagraphs:high:tuned")


@dataclass(frozen=True)
class Mode:
    """One row of the table."""

    optimization: str
    fp32_matmul: str
    batch: int
    tuned: bool = False

    @property
    def name(self) -> str:
        """Of its folder: `b16-cudagraphs-high`."""
        end = "-tuned" if self.tuned else ""
        return f"b{self.batch}-{self.optimization}-{self.fp32_matmul}{end}"


@dataclass(frozen=True)
class Setting:
    """What all modes share."""

    model: str
    device: str
    dtype: str
    image_size: int
    max_input_len: int
    new_tokens: int
    round_s: float
    keep_traces: bool
    out: Path


def serve(mode: Mode, setting: Setting, pipe: Connection) -> None:
    """A worker: get ready, then do what is asked until told to stop."""
    try:
        for answer in _work(mode, setting, pipe):
            pipe.send(answer)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        pipe.send({"failed": f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"})


def _work(mode: Mode, setting: Setting, pipe: Connection) -> Iterator[dict[str, Any]]:
    from layerscope.config.resolve import resolve
    from layerscope.passes.draft import Draft
    from layerscope.passes.energy import energy
    from layerscope.passes.latency import latency
    from layerscope.passes.session import Destination, opened
    from layerscope.passes.warm_up import warm_up
    from layerscope.report.progress import ProgressReporter

    given = {
        "model": setting.model, "weights": "random", "dataset": "synthetic-random",
        "device": setting.device, "dtype": setting.dtype, "optimization": mode.optimization,
        "fp32_matmul": mode.fp32_matmul, "coordinate_descent_tuning": mode.tuned,
        "batch_size": mode.batch, "samples": 2 * mode.batch, "image_size": setting.image_size,
        "max_input_len": setting.max_input_len, "max_new_tokens": setting.new_tokens,
        "measure_limit_s": 0.5,
    }  # fmt: skip
    resolved = resolve(given, cuda=setting.device == "cuda")
    progress = ProgressReporter(sys.stderr, quiet=True)
    folder = setting.out / mode.name
    folder.mkdir(parents=True, exist_ok=True)
    destination = Destination(folder=folder, name=mode.name, created=datetime.now(UTC))
    began = time.monotonic()
    with opened(resolved, progress, lambda line: None, destination) as session:
        loaded_s = time.monotonic() - began
        draft = Draft()
        warm_up(session, draft)  # compiles
        latency(session, draft)  # the rounds time it again
        kept, timer = draft.kept, session.timer
        yield {"ready": True, "load_s": loaded_s, "ready_s": time.monotonic() - began}
        while (asked := pipe.recv()) != "stop":
            if asked == "round":
                timer.again(kept[0], 0)  # the other process's caches and clocks
                samples, started = [], time.monotonic()
                while time.monotonic() - started < setting.round_s or len(samples) < 3:
                    again = timer.again(kept[len(samples) % len(kept)], len(samples))
                    samples.append(again.sample.generate_ns)
                yield {"generate_ns": samples}
            elif asked == "energy":
                draft.kept = kept[:1]
                energy(session, draft)
                yield {"energy": draft.energy}
            elif asked == "account":
                yield _account(session, draft, keep_trace=setting.keep_traces)


def _account(session: Any, draft: Any, *, keep_trace: bool) -> dict[str, Any]:
    """Trace, count, compare and account for one batch; the tables stay, the trace does not."""
    from layerscope.account.heavy_count import heavy_count
    from layerscope.core.files import LAYERS_PARQUET_FILE, TRACE_FILE
    from layerscope.passes import order
    from layerscope.report.attention import attention_line
    from layerscope.work.floor import floor_of
    from layerscope.work.rates import rates_of

    wanted = (
        "trace",
        "count",
        "eager_guard",
        "optimized",
        "ceilings",
        "provenance",
        "account",
        "tables",
    )
    for each in order.PASSES:
        if each.run.__name__ in wanted and each.when(session, draft):
            each.run(session, draft)
    if not keep_trace:
        (session.folder / TRACE_FILE).unlink()
    (session.folder / LAYERS_PARQUET_FILE).unlink()
    account, environment = draft.examined.account, session.environment
    table = account.table
    heavy = heavy_count(draft.examined.workings)
    layers = [row for row in table.rows if not row.is_bucket and row.layer != table.root]
    compiled = session.compiled is not None
    inside = [row for row in layers if row.attribution != "range"] if compiled else layers
    floor_ns = None
    if draft.ceilings is not None:
        rates = rates_of(draft.ceilings, session.config.fp32_matmul)
        floor_ns = floor_of(draft.work.parts, rates).floor_ns
    return {
        "device": environment.gpu_name or environment.cpu_model,
        "torch": environment.torch,
        "whole": table.whole,
        "difference_ns": table.device_difference_ns,
        "failures": draft.account.failures,
        "notes": table.notes,
        "heavy_operators": heavy.known.total(),
        "heavy_unknown": heavy.unknown.total(),
        "on_layers_ns": sum(row.gpu_self_ns or 0 for row in layers),
        "on_layers_inside_ns": sum(row.gpu_self_ns or 0 for row in inside),
        "modelled_ns": sum(row.modelled_ns or 0 for row in layers),
        "floor_ns": floor_ns,
        "optimization": draft.optimization,
        "cache_bytes": draft.memory.kv_cache_bytes,
        "attention": attention_line(account),
    }


class Worker:
    """A mode's process."""

    def __init__(self, mode: Mode, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self.mode = mode
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(mode, setting, theirs), daemon=True)
        self._process.start()
        self.failed = ""
        self.answers: dict[str, Any] = {}
        self.generate_ns: list[list[int]] = []

    def receive(self, until: float) -> dict[str, Any]:
        """The next answer; a failure, a death or silence ends this mode alone."""
        answer: dict[str, Any] = {}
        try:
            if self.pipe.poll(max(0.0, until - time.monotonic())):
                answer = self.pipe.recv()
            else:
                answer = {"failed": "no answer in time"}
        except EOFError:
            answer = {"failed": "its process ended"}
        if "failed" in answer:
            self.failed = str(answer["failed"])
            self.end()
        return answer

    def ask(self, what: str, until: float) -> dict[str, Any]:
        """Ask and wait; nothing from a mode that failed."""
        if self.failed:
            return {}
        self.pipe.send(what)
        return self.receive(until)

    def end(self) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.join(10)


def row_of(worker: Worker, base_ns: float | None) -> dict[str, Any]:
    """A line of the table; blank is not measured."""
    from layerscope.stats.energy_summary import summarise_energy
    from layerscope.stats.statistics import summarise

    mode, answers = worker.mode, worker.answers
    row: dict[str, Any] = {
        "batch": mode.batch, "optimization": mode.optimization, "fp32_matmul": mode.fp32_matmul,
        "tuned": int(mode.tuned),
    }  # fmt: skip
    times = [ns for round_ns in worker.generate_ns for ns in round_ns]
    if len(times) >= 3:
        summary = summarise(times)
        row |= {"latency_s": summary.median_ns / 1e9, "runs": len(times)}
        if summary.interval is not None:
            row |= {
                "latency_low_s": summary.interval.low / 1e9,
                "latency_high_s": summary.interval.high / 1e9,
            }
        rounds = [median(round_ns) for round_ns in worker.generate_ns]
        row["slowest_over_fastest_round"] = max(rounds) / min(rounds)
        row["times_faster"] = base_ns / summary.median_ns if base_ns else None
    energy = answers.get("energy")
    if energy is not None:
        found = summarise_energy(energy, seed=0)
        row |= {"j_per_sample": found.joules_per_sample, "energy_absent_because": found.reason}
        if found.interval is not None:
            row |= {"j_low": found.interval.low, "j_high": found.interval.high}
    if "whole" in answers:
        whole = answers["whole"]
        sum_ns, active_ns = whole.device_sum_ns, whole.device_active_ns
        row |= {
            "device": answers["device"], "torch": answers["torch"],
            "device_sum_ms": sum_ns / 1e6 if sum_ns else None,
            "floor_ms": answers["floor_ns"] / 1e6 if answers["floor_ns"] else None,
            "difference_ns": answers["difference_ns"],
            "accounting": "; ".join(answers["failures"]) or "ok",
            "cache_mb": answers["cache_bytes"] / 1e6 if answers["cache_bytes"] else None,
            "attention": answers["attention"], "notes": " | ".join(answers["notes"]),
        }  # fmt: skip
        if sum_ns:
            row["on_layers_inside_share"] = answers["on_layers_inside_ns"] / sum_ns
            row["modelled_share"] = answers["modelled_ns"] / sum_ns
        if times and active_ns:
            # Busy while traced over the unprofiled latency: the profiler slows the host, not kernels.
            row["idle_share"] = 1 - active_ns / median(times)
        if times and answers["floor_ns"]:
            row["times_floor"] = median(times) / answers["floor_ns"]
        record = answers["optimization"]
        if record is not None:
            row |= {
                "compile_s": sum(part.compile_s for part in record.parts),
                "graphs": sum(part.graphs for part in record.parts),
                "later_graphs": sum(part.later_graphs for part in record.parts),
                "graph_breaks": sum(record.graph_breaks.values()),
                "tuned_graphs": record.tuned_graphs,
                "fell_back": "; ".join(record.fell_back),
                "growing_cache_mb": (record.growing_cache_bytes or 0) / 1e6 or None,
            }
            if record.tokens is not None:
                gaps = [d.logit_gap for d in record.tokens.differences if d.logit_gap is not None]
                row |= {
                    "tokens_equal": record.tokens.equal, "tokens_compared": record.tokens.samples,
                    "largest_logit_gap": max(gaps, default=None),
                }  # fmt: skip
    row |= {"ready_s": answers.get("ready_s"), "failed": worker.failed}
    return row


def measure(
    modes: Sequence[Mode], setting: Setting, rounds: int, ready_s: float, until: float
) -> list[Worker]:
    """All modes of one batch size: ready together, measured in turns."""
    workers = [Worker(mode, setting) for mode in modes]
    ready_until = min(until, time.monotonic() + ready_s)
    for worker in workers:
        worker.answers |= worker.receive(ready_until)
        click.echo(f"{worker.mode.name}: {worker.failed or 'ready'}", err=True)
    for number in range(rounds):
        turn = number % len(workers)
        for worker in workers[turn:] + workers[:turn]:  # another one first each time
            answer = worker.ask("round", until)
            if "generate_ns" in answer:
                worker.generate_ns.append(answer["generate_ns"])
    # One whole row after another: what the time does not reach is missing whole.
    for worker in workers:
        for what in ("energy", "account"):
            worker.answers |= worker.ask(what, until)
            click.echo(f"{worker.mode.name}: {what} {worker.failed or 'done'}", err=True)
    for worker in workers:
        worker.end()
    return workers


def write(workers: Sequence[Worker], path: Path) -> None:
    """`modes.csv`, the table so far."""
    base: dict[int, float] = {}
    for worker in workers:
        mode = worker.mode
        plain = (mode.optimization, mode.fp32_matmul) == ("eager", "highest")
        if plain and worker.generate_ns:
            base[mode.batch] = median([ns for r in worker.generate_ns for ns in r])
    rows = [row_of(worker, base.get(worker.mode.batch)) for worker in workers]
    header = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, restval="")
        writer.writeheader()
        writer.writerows(
            {
                k: "" if v is None else f"{v:.6g}" if isinstance(v, float) else v
                for k, v in row.items()
            }
            for row in rows
        )


@click.command()
@click.option(
    "--model", default="instructblip-flan-t5-xl", help="A shipped architecture or a file."
)
@click.option("--device", default="cuda", type=click.Choice(["cuda", "cpu"]))
@click.option("--dtype", default="fp16", type=click.Choice(["fp16", "bf16", "fp32"]))
@click.option("--batch", "batches", multiple=True, type=int, default=(1, 16))
@click.option("--mode", "modes", multiple=True, type=click.Choice((*MODES, *TUNED)), default=MODES)
@click.option("--image-size", default=224)
@click.option("--max-input-len", default=200)
@click.option("--new-tokens", default=20)
@click.option("--rounds", default=4, help="Turns of every mode.")
@click.option("--round-s", default=2.0, help="Seconds of a turn, at least three batches.")
@click.option("--ready-minutes", default=6.0, help="A mode that is not ready by then is left out.")
@click.option("--minutes", default=9.0, help="Then modes that are not done count as failed.")
@click.option("--keep-traces", is_flag=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    model: str, device: str, dtype: str, batches: tuple[int, ...], modes: tuple[str, ...],
    image_size: int, max_input_len: int, new_tokens: int, rounds: int, round_s: float,
    ready_minutes: float, minutes: float, keep_traces: bool, out: Path,
) -> None:  # fmt: skip
    """Measure every mode at every batch size; one table, `modes.csv`."""
    until = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        model, device, dtype, image_size, max_input_len, new_tokens, round_s, keep_traces,
        out.resolve(),
    )  # fmt: skip
    done: list[Worker] = []
    for batch in batches:
        plan = [
            Mode(mode, matmul or "highest", batch, bool(tuned))
            for mode, matmul, tuned in ((*name.split(":"), "", "")[:3] for name in modes)
        ]
        done += measure(plan, setting, rounds, 60 * ready_minutes, until)
        write(done, out / "modes.csv")
    click.echo((out / "modes.csv").read_text())


if __name__ == "__main__":
    main()
