"""`layerscope flops`: the FLOPs of one batch, counted in several ways, side by side."""

from __future__ import annotations

from typing import Any

import click

from layerscope.cli.options import read_options, run_options
from layerscope.cli.verb import verb

_FIELDS = (
    "model", "revision", "weights", "processor", "dataset", "data_dir", "data_revision",
    "batch_size", "image_size", "image_tokens",
    "max_input_len", "max_new_tokens", "num_beams", "device", "dtype", "dtype_layout", "attention",
    "seed",
)  # fmt: skip
_HELPS = {"batch_size": "Samples in the one batch that runs. Default: 1."}


@verb(
    "flops",
    "layerscope flops --model tiny --device cpu",
)
@run_options(_FIELDS, _HELPS)
@click.option("--no-fvcore", is_flag=True, help="Leave out fvcore, which traces every part.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for programs instead.")
def command(config_file: str | None, no_fvcore: bool, as_json: bool, **given: Any) -> None:
    """Count the FLOPs of one batch and check them against other ways of counting.

    The executed operators of one generate() are held against torch's FlopCounterMode, a closed
    form written from the architecture, and fvcore part by part. Nothing is written. Ends with exit
    code 5 where two sides differ; a check that cannot run says why.
    """
    from layerscope.config.resolve import resolve

    said, where = read_options(config_file, given)
    said.setdefault("batch_size", 1)
    said["samples"] = said["batch_size"]
    # Once without torch: a wrong value must not cost the seconds that importing torch takes.
    resolve(said, cuda=said.get("device") == "cuda", where=where)
    _run(said, where, with_fvcore=not no_fvcore, as_json=as_json)


def _run(said: dict[str, Any], where: str, *, with_fvcore: bool, as_json: bool) -> None:
    import torch
    from rich.console import Console

    from layerscope.config.resolve import resolve
    from layerscope.report.flops import flops_json, render_flops
    from layerscope.report.progress import ProgressReporter
    from layerscope.run.flops import check_flops, require_equal

    resolved = resolve(said, cuda=torch.cuda.is_available(), where=where)
    beside = Console(stderr=True)  # so that stdout holds the result alone

    def announce(line: str) -> None:
        if not as_json:
            beside.print(line, markup=False, highlight=False, soft_wrap=True)

    if resolved.choices:
        announce("; ".join(resolved.choices))
    progress = ProgressReporter(beside, quiet=as_json)
    checked = check_flops(resolved, progress, announce, with_fvcore=with_fvcore)
    if as_json:
        click.echo(flops_json(checked))
    else:
        render_flops(checked, Console())
    require_equal(checked)
