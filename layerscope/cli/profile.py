"""`layerscope profile`: one run, from the options to the run folder and the screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_CHOICES = {
    "weights": ("pretrained", "random"),
    "dtype_layout": ("from_pretrained", "uniform"),
    "image_size_mode": ("model", "source"),
    "answer_form": ("letter", "text"),
    "device": ("cuda", "cpu"),
    "dtype": ("fp16", "bf16", "fp32"),
    "optimization": ("eager", "compile", "cudagraphs", "flash"),
    "attention": ("sdpa", "eager", "flash"),
    "fp32_matmul": ("highest", "high"),
    "normalisation": ("none", "lower-punct", "vqa"),
}
# Options that stand for one field of RunConfig each: name, field, help.
_TEXT = (
    ("--model", "model", "Hub id, local folder, or tiny (bundled). Default: the XL model on CUDA."),
    ("--revision", "revision", "Hub revision of the model."),
    ("--processor", "processor", "Folder or hub id of the processor, where the model has none."),
    (
        "--dataset",
        "dataset",
        "textvqa, scienceqa, coco, synthetic-textvqa, synthetic-scienceqa, synthetic-coco or "
        "synthetic-random.",
    ),
    ("--data-dir", "data_dir", "Folder with the data set's Parquet files."),
    ("--out", "out", "Folder that receives the run folder. Default: traces."),
)
_WHOLE = (
    (("--batch", "--batch-size"), "batch_size", "Samples per batch. Default: 16."),
    (("--image-size",), "image_size", "Pixels per side that the model sees. Default: 224."),
    (("--max-input-len",), "max_input_len", "Text tokens on both tokenizers. Default: 200."),
    (("--max-new-tokens",), "max_new_tokens", "New tokens per sample at most. Default: 20."),
    (("--min-new-tokens",), "min_new_tokens", "New tokens per sample at least. Default: 0."),
    (("--num-beams",), "num_beams", "Beams; 1 is greedy. Default: 1."),
    (("--samples",), "samples", "Samples of the data set. Default: 64."),
    (("--warmup",), "warmup", "Batches run before anything is measured. Default: 2."),
    (("--seed",), "seed", "Seed of synthetic data and random weights. Default: 0."),
)
_HELP = {
    "weights": "Load a checkpoint, or build the architecture with seeded random weights.",
    "dtype_layout": "Dtypes as from_pretrained gives them, or one dtype for all (a variant).",
    "image_size_mode": "What --image-size means: the model's input, or the source image's size.",
    "answer_form": "ScienceQA: score the letter or the text of the answer.",
    "device": "Default: cuda where there is one.",
    "dtype": "Default: fp16 on CUDA, fp32 on the CPU.",
    "optimization": "How the model runs.",
    "attention": "Attention implementation.",
    "normalisation": "What is done to answers before WER compares words. Default: none.",
    "fp32_matmul": "torch.set_float32_matmul_precision; high lets fp32 layers use TF32.",
}


def _options(command: Any) -> Any:
    for field, choices in reversed(_CHOICES.items()):
        name = "--" + field.replace("_", "-")
        command = click.option(name, field, type=click.Choice(choices), help=_HELP[field])(command)
    for names, field, text in reversed(_WHOLE):
        command = click.option(*names, field, type=int, help=text)(command)
    for name, field, text in reversed(_TEXT):
        command = click.option(name, field, help=text)(command)
    return command


@click.command("profile")
@click.option("--config", "config_file", help="YAML file, or the name of a shipped configuration.")
@_options
@click.option(
    "--measure-limit-s",
    "measure_limit_s",
    type=float,
    help="Longest time batches are repeated for a narrower latency interval. Default: 10.",
)
@click.option("--no-trace", is_flag=True, help="Only the end-to-end numbers, no account by layer.")
@click.option("--quiet", is_flag=True, help="Print only the accounting line and the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print a machine-readable summary instead.")
def command(
    config_file: str | None, no_trace: bool, quiet: bool, as_json: bool, **given: Any
) -> None:
    """Run a model on batches of samples and account for its time, layer by layer."""
    from layerscope.config.resolve import check_keys, read_yaml, resolve
    from layerscope.config.shipped import find_config
    from layerscope.errors import UsageError

    if quiet and as_json:
        raise UsageError("--quiet and --json: choose one.")
    said: dict[str, Any] = {}
    where = "options"
    if config_file is not None:
        path = find_config(config_file)
        said, where = read_yaml(path), str(path)
        check_keys(said, where)
    said |= {key: value for key, value in given.items() if value is not None}
    if no_trace:
        said["trace"] = False
    # Once without torch: a wrong value must not cost the seconds that importing torch takes.
    resolve(said, cuda=said.get("device") == "cuda", where=where)
    _run(said, where, quiet=quiet, as_json=as_json)


def _run(said: dict[str, Any], where: str, *, quiet: bool, as_json: bool) -> None:
    import torch
    from rich.console import Console

    from layerscope.config.resolve import resolve
    from layerscope.errors import AccountingError
    from layerscope.report.console import render_quiet, render_run
    from layerscope.report.progress import ProgressReporter
    from layerscope.report.summary import summary_json
    from layerscope.run.profile import profile

    resolved = resolve(said, cuda=torch.cuda.is_available(), where=where)
    silent = quiet or as_json
    # Progress goes to stderr, so that stdout holds the result alone.
    beside = Console(stderr=True)

    def announce(line: str) -> None:
        if not silent:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    if resolved.choices:
        # The first line says which model and why; the screen repeats all choices at the end.
        announce("; ".join(resolved.choices))
    finished = profile(resolved, ProgressReporter(beside, quiet=silent), announce)
    screen = Console()
    if as_json:
        click.echo(summary_json(finished.record, finished.account, folder=finished.folder))
    elif quiet:
        render_quiet(finished.account, screen, folder=finished.folder)
    else:
        render_run(finished.record, finished.account, screen, folder=finished.folder)
    verdict = finished.record.account
    if verdict is not None and verdict.status == "failed":
        raise AccountingError(
            f"{_shown(finished.folder)}: accounting failed: {'; '.join(verdict.failures[:3])}. "
            "The folder is kept."
        )


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
