"""Whether compiled code's kernels are with the right layers, on a GPU: small nets and the XL model.

Each small net of tests/support/compiled_nets.py runs eagerly, compiled and as CUDA graphs; its products,
convolutions and attentions are compared layer by layer. The XL model runs compiled and as CUDA graphs at
one batch size: its account, the share of device time on layers and the same comparison. All run at
once, in processes of their own, since what is judged is no time; what is done is written at once, so
that an early end loses nothing.

    python benchmarks/compiled_layers.py --out results
    python benchmarks/compiled_layers.py --device cpu --no-model --out results
"""

from __future__ import annotations

import json
import multiprocessing
import queue
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).resolve().parent
_SHARE = 0.985


def judge_nets(graphs: bool, device: str, names: tuple[str, ...], out: Any) -> None:
    """A worker: every net in one mode."""
    sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent)]
    mode = "cudagraphs" if graphs else "compile"
    try:
        import warnings

        from support.compiled_nets import CASES, judge

        warnings.filterwarnings("ignore")
        for name in names or tuple(CASES):
            row: dict[str, Any] = {"what": name, "mode": mode}
            began = time.monotonic()
            try:
                judged = judge(CASES[name], device, graphs=graphs)
                row |= {
                    "verdict": judged.verdict,
                    "differences": judged.differences,
                    "unknown": dict(judged.compiled.unknown),
                    "notes": list(judged.notes),
                }
            except Exception as error:  # one net must not cost the others
                last = traceback.extract_tb(error.__traceback__)[-1]
                said = " ".join(str(error).split())[:300]
                row |= {
                    "verdict": "error",
                    "differences": [f"{type(error).__name__}: {said} ({last})"],
                }
            out.put(row | {"s": round(time.monotonic() - began, 1)})
    except BaseException as error:
        out.put(
            {"what": "nets", "mode": mode, "verdict": "error", "differences": [repr(error)[:500]]}
        )
    out.put({"ended": f"nets, {mode}"})


def judge_model(mode: str, batch: int, model: str, device: str, folder: str, out: Any) -> None:
    """A worker: the model in one mode."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    row: dict[str, Any] = {"what": f"model, batch {batch}", "mode": mode}
    began = time.monotonic()
    try:
        import optimization_modes as modes

        setting = modes.Setting(
            model, device, "fp16" if device == "cuda" else "fp32", 224, 200, 20, 0.1, True,
            Path(folder),
        )  # fmt: skip
        worker = modes.Worker(modes.Mode(mode, "highest", batch), setting)
        until = time.monotonic() + 540
        ready = worker.receive(until)
        answer = worker.ask("account", until)
        if worker.failed:
            row |= {"verdict": "error", "differences": [worker.failed]}
        else:
            whole = answer["whole"].device_sum_ns
            share = answer["on_layers_inside_ns"] / whole if whole else None
            bad = list(answer["failures"])
            if share is not None and share < _SHARE:
                bad.append(f"share of device time on layers {share:.2%}, wanted {_SHARE:.1%}")
            row |= {
                "verdict": "wrong" if bad else "right",
                "differences": bad,
                "share_on_layers": share,
                "difference_ns": answer["difference_ns"],
                "heavy_operators": answer["heavy_operators"],
                "heavy_unknown": answer["heavy_unknown"],
                "device": answer["device"],
                "torch": answer["torch"],
                "notes": list(answer["notes"]),
                "ready_s": ready.get("ready_s"),
            }
        worker.end()
    except BaseException as error:
        row |= {"verdict": "error", "differences": [repr(error)[:500]]}
    out.put(row | {"s": round(time.monotonic() - began, 1)})
    out.put({"ended": f"model, {mode}"})


def show(row: dict[str, Any]) -> None:
    share = row.get("share_on_layers")
    told = f" {share:.2%} on layers" if share is not None else ""
    count = row.get("heavy_operators")
    told += f", {count} heavy operators" if count is not None else ""
    click.echo(f"{row['mode']:10} {row['what']:28} {row['verdict']:8} {row.get('s', '')} s{told}")
    if row["verdict"] != "right":
        for line in (*row["differences"], *map(str, row.get("unknown", {}).items())):
            click.echo(f"             {line}")
    if row["verdict"] != "right" or share is not None:
        for line in row.get("notes", ()):
            click.echo(f"             note: {line}")


@click.command()
@click.option("--device", default="cuda", type=click.Choice(["cuda", "cpu"]))
@click.option(
    "--model", default="instructblip-flan-t5-xl", help="A shipped architecture or a file."
)
@click.option("--batch", default=16)
@click.option("--with-model/--no-model", default=True)
@click.option("--net", "nets", multiple=True, help="Only these nets.")
@click.option("--no-nets", is_flag=True)
@click.option("--minutes", default=8.0, help="What is not done by then is told and left out.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(
    device: str, model: str, batch: int, with_model: bool, nets: tuple[str, ...], no_nets: bool,
    minutes: float, out: Path,
) -> None:  # fmt: skip
    """Judge all nets and the model; exit 1 where anything is wrong, failed or late."""
    until = time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    modes = ("compile", "cudagraphs") if device == "cuda" else ("compile",)
    workers = []
    for mode in modes:
        if with_model:
            arguments = (mode, batch, model, device, str(out.resolve()), results)
            workers.append(context.Process(target=judge_model, args=arguments))
        if not no_nets:
            arguments = (mode == "cudagraphs", device, nets, results)
            workers.append(context.Process(target=judge_nets, args=arguments))
    for worker in workers:
        worker.start()
    rows: list[dict[str, Any]] = []
    waiting = len(workers)
    while waiting:
        try:
            row = results.get(timeout=max(0.1, min(5.0, until - time.monotonic())))
        except queue.Empty:
            if time.monotonic() > until or not any(worker.is_alive() for worker in workers):
                break
            continue
        if "ended" in row:
            waiting -= 1
            continue
        rows.append(row)
        show(row)
        (out / "compiled_layers.json").write_text(json.dumps(rows, indent=1) + "\n")
    for worker in workers:
        worker.terminate()
    verdicts = [row["verdict"] for row in rows]
    counts = {
        verdict: verdicts.count(verdict) for verdict in ("right", "unknown", "wrong", "error")
    }
    click.echo(f"{counts}; {waiting} of {len(workers)} parts did not end in time")
    raise SystemExit(1 if waiting or counts["wrong"] or counts["error"] else 0)


if __name__ == "__main__":
    main()
