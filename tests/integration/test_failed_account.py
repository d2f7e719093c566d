"""A run that breaks an accounting rule keeps its folder, marked, and every reader of it exits 5."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import torch
from rich.console import Console
from support.command import layerscope
from torch import nn

from layerscope.config.resolve import resolve
from layerscope.passes.load import Announce
from layerscope.passes.profile import Place, profile
from layerscope.records import RunConfig, load
from layerscope.report.progress import ProgressReporter
from layerscope.workload.model import LoadedModel, load_model
from layerscope.workload.module_list import list_modules


class Twice(nn.Module):
    """Calls what it holds twice: no InstructBLIP does, so rule 4 has to notice."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.inner(x)
        result: torch.Tensor = self.inner(x)
        return result


def load_altered(config: RunConfig, announce: Announce) -> LoadedModel:
    loaded = load_model(config, announce)
    loaded.model.language_projection = Twice(loaded.model.language_projection)  # type: ignore[arg-type]
    record = dataclasses.replace(loaded.record, modules=list_modules(loaded.model))
    return dataclasses.replace(loaded, record=record)


def test_calls_that_the_structure_does_not_demand(tmp_path: Path) -> None:
    resolved = resolve(
        {
            "model": "tiny",
            "device": "cpu",
            "batch_size": 1,
            "samples": 1,
            "warmup": 0,
            "max_new_tokens": 2,
            "measure_limit_s": 0.1,
            "out": str(tmp_path),
        },
        cuda=False,
    )
    progress = ProgressReporter(Console(file=io.StringIO()), quiet=True)
    finished = profile(
        resolved, progress, lambda line: None, load=load_altered, place=Place(step=0)
    )
    assert finished.folder.is_dir()
    saved = load(finished.folder)
    assert saved.account is not None
    assert saved.account.status == "failed"
    assert saved.account.failures == (
        "language_projection.inner: 2 calls, the structure demands 1",
    )
    # Time is complete all the same: only the calls are off.
    assert saved.account.host_difference_ns == 0

    done = layerscope("layers", finished.folder)
    assert done.returncode == 5
    assert "accounting: failed: language_projection.inner" in done.stdout
    assert done.stderr.startswith("layerscope: the account does not add up: ")
