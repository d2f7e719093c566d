"""Train the bundled tiny InstructBLIP from nothing, on layerscope's own synthetic data.

    python scripts/train_tiny --out WORK --workers 15       # on an H200, about 23 minutes
    python scripts/train_tiny --out WORK --smoke            # every part once, a minute on a CPU
    python scripts/train_tiny --out WORK --install FOLDER   # put the result into the package's

Run it again with the same options and it goes on from its last checkpoint. `--minutes` stops it in
good time before a limit from outside.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import torch

from album import load
from batches import Batches
from checkpoint import resume, save
from held_out import Source, grid, measure
from install import install
from layerscope.workload.architecture import build, bundled_folder, find_architecture
from layerscope.workload.checkpoint import quiet_transformers, read_processor
from learner import Learner, Plan
from pictures import SPLITS, draw

SEED = 20261124  # of training: its data, its batches and the first weights
# Samples rendered beforehand per split; a run on a GPU sees each some tens of times.
PICTURES = {"synthetic-textvqa": 80_000, "synthetic-scienceqa": 40_000, "synthetic-coco": 12_000}
FULL = Plan(see_steps=5000, answer_steps=6500, batch_size=256)
SMOKE = Plan(see_steps=2, answer_steps=2, batch_size=4, warmup=2)
SIZES = (224, 336, 448)
LENGTHS = (50, 100, 200)
_SAVE_EVERY_S = 60.0
_LOG_EVERY = 100
_CHECK_EVERY = 1000
_FEWEST = 40  # pictures per split, whatever the share
_CHECKED = 256  # samples per split in a check while training


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to work in.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu")
@click.option("--smoke", is_flag=True, help="A few steps on a few samples.")
@click.option("--see-steps", type=int, default=FULL.see_steps, show_default=True)
@click.option("--answer-steps", type=int, default=FULL.answer_steps, show_default=True)
@click.option("--batch", type=int, default=FULL.batch_size, show_default=True)
@click.option("--lr", type=float, default=FULL.peak_lr, show_default=True)
@click.option(
    "--pictures", type=float, default=1.0, show_default=True, help="Share of them to draw."
)
@click.option("--minutes", type=float, default=None, help="Stop and save after this long.")
@click.option("--compiled", is_flag=True, help="Compile the vision encoder (CUDA).")
@click.option("--workers", type=int, default=2, show_default=True, help="Processes that draw.")
@click.option("--samples", type=int, default=512, show_default=True, help="Held-out, per cell.")
@click.option(
    "--install", "into", type=click.Path(path_type=Path, exists=True, file_okay=False), default=None,
    help="Folder that gets weights, card and tables: layerscope/workload/tiny.",
)  # fmt: skip
def main(
    out: Path,
    device: str,
    smoke: bool,
    see_steps: int,
    answer_steps: int,
    batch: int,
    lr: float,
    pictures: float,
    minutes: float | None,
    compiled: bool,
    workers: int,
    samples: int,
    into: Path | None,
) -> None:
    began = time.monotonic()
    plan = SMOKE if smoke else Plan(see_steps, answer_steps, batch, peak_lr=lr)
    out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    learner = Learner(_untrained(device), plan, compiled=compiled)
    try:
        step = resume(out, learner)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if step < plan.steps:
        deadline = None if minutes is None else began + 60 * minutes
        step = _train(
            learner,
            step,
            _batches(out, learner, 0.0 if smoke else pictures, workers),
            out,
            deadline,
            workers,
        )
    if step < plan.steps:
        click.echo(f"stopped after {step} of {plan.steps} steps; the same command goes on")
        return
    finished = out / "model"
    learner.model.to(torch.float16).save_pretrained(finished)
    if not (out / "held_out.json").is_file():
        _measure_held_out(out, device, workers, 4 if smoke else samples, smoke)
    if into is not None:
        params = sum(value.numel() for value in learner.model.parameters())
        counts = {split: _count(split, 0.0 if smoke else pictures) for split in SPLITS}
        install(out, into, plan, seed=SEED, params=params, pictures=counts)


def _untrained(device: str) -> torch.nn.Module:
    with quiet_transformers():
        model = build(
            find_architecture("tiny"),
            dtype=torch.float32,
            layout="from_pretrained",
            attention="sdpa",
            device=device,
            seed=SEED,
        )
    return model.train()


def _batches(out: Path, learner: Learner, share: float, workers: int) -> Batches:
    began = time.monotonic()
    counts = {split: _count(split, share) for split in SPLITS}
    chunks = draw(out / "pictures", bundled_folder(), counts, seed=SEED, workers=workers)
    click.echo(f"{sum(counts.values())} samples drawn in {time.monotonic() - began:.0f} s")
    albums = {split: load(paths, learner.device) for split, paths in chunks.items()}
    click.echo(f"and loaded, {time.monotonic() - began:.0f} s in all")
    processor = read_processor(bundled_folder())
    return Batches(albums, processor, learner.model.config, seed=SEED)


def _count(split: str, share: float) -> int:
    return max(_FEWEST, round(share * PICTURES[split]))


def _train(
    learner: Learner, step: int, batches: Batches, out: Path, deadline: float | None, workers: int
) -> int:
    """Steps until the plan or the time is over; the number of steps done."""
    plan = learner.plan
    began, saved = time.monotonic(), time.monotonic()
    since = step
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        while step < plan.steps:
            if plan.stage(step) != learner.stage:
                learner.begin(plan.stage(step))
            if learner.stage == "see":
                said = learner.see(step, batches.pictures(step, plan.batch_size))
            else:
                said = learner.answer(step, batches.questions(step, plan.batch_size))
            step += 1
            if step % _LOG_EVERY == 0 or step == plan.steps:
                row: dict[str, Any] = {name: round(float(value), 4) for name, value in said.items()}
                pace = (time.monotonic() - began) / (step - since)
                row = {
                    "step": step,
                    "stage": plan.stage(step - 1),
                    **row,
                    "s_per_step": round(pace, 4),
                }
                _say(log, row)
            if step % _CHECK_EVERY == 0 and plan.stage(step - 1) == "answer":
                _say(log, {"step": step, "wer": _check(learner, workers)})
            over = deadline is not None and time.monotonic() > deadline
            if over or step == plan.steps or time.monotonic() - saved > _SAVE_EVERY_S:
                save(out, learner, step)
                saved = time.monotonic()
            if over:
                break
    return step


def _check(learner: Learner, workers: int) -> dict[str, float]:
    """WER by split at 448 and 224 px, on training seeds' samples beyond those that are trained on."""
    source = Source(seed=SEED, split="train", first=max(PICTURES.values()), count=_CHECKED)
    with torch.no_grad():
        rows = list(measure(learner.model, grid((224, 448), (200,)), source, workers))
    learner.model.train()
    return {f"{row['dataset']}-{row['image_size']}": round(row["wer_value"], 4) for row in rows}


def _measure_held_out(out: Path, device: str, workers: int, samples: int, smoke: bool) -> None:
    """The finished weights as a user loads them (fp16 on disk, fp32 in memory), over the grid."""
    from transformers import InstructBlipForConditionalGeneration

    with quiet_transformers():
        model: Any = InstructBlipForConditionalGeneration.from_pretrained(
            out / "model", dtype=torch.float32, local_files_only=True
        )
    cells = grid((224,), (50,)) if smoke else grid(SIZES, LENGTHS)
    rows = []
    for row in measure(model.to(device), cells, Source(count=samples), workers):
        rows.append(row)
        click.echo(json.dumps(row))
    (out / "held_out.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _say(log: Any, row: dict[str, Any]) -> None:
    line = json.dumps(row)
    click.echo(line)
    log.write(line + "\n")
    log.flush()


if __name__ == "__main__":
    main()
