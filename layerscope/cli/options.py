"""The options that stand for one field of `RunConfig` each: names of fields in, click options out.

Every verb that runs a model takes its options from here, so that one name means one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
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
    ("--data-revision", "data_revision", "Hub commit of the data set. Default: pinned, or newest."),
    (
        "--prompt",
        "prompt",
        "Template instead of the data set's own; {question}, {options}, {context} are filled in.",
    ),
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
FIELDS = frozenset({*_CHOICES, *(item[1] for item in _TEXT), *(item[1] for item in _WHOLE)})


def run_options(
    fields: Collection[str] = FIELDS, helps: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """A decorator that adds `--config` and one option for each of these fields.

    Args:
        fields: fields of `RunConfig`; all that have an option, where left out.
        helps: other help texts, where a verb has another default.
    """
    said = dict(helps or {})
    unknown = {*fields, *said} - FIELDS
    if unknown:
        raise ValueError(f"no option for {', '.join(sorted(unknown))}")

    def decorate(command: Any) -> Any:
        for field, choices in reversed(_CHOICES.items()):
            if field in fields:
                name, text = "--" + field.replace("_", "-"), said.get(field, _HELP[field])
                command = click.option(name, field, type=click.Choice(choices), help=text)(command)
        for names, field, text in reversed(_WHOLE):
            if field in fields:
                command = click.option(*names, field, type=int, help=said.get(field, text))(command)
        for name, field, text in reversed(_TEXT):
            if field in fields:
                command = click.option(name, field, help=said.get(field, text))(command)
        config_help = "YAML file, or the name of a shipped configuration."
        return click.option("--config", "config_file", help=config_help)(command)

    return decorate


def read_options(config_file: str | None, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The configuration file's values with the command line's over them, and what to name in errors.

    Raises:
        UsageError: no such file, not plain YAML, or a key that `RunConfig` does not have.
    """
    from layerscope.config.resolve import check_keys, read_yaml
    from layerscope.core.shipped import find_config

    said: dict[str, Any] = {}
    where = "options"
    if config_file is not None:
        path = find_config(config_file)
        said, where = read_yaml(path), str(path)
        check_keys(said, where)
    return said | {key: value for key, value in given.items() if value is not None}, where
