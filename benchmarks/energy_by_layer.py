"""Energy by layer of one model at several batch sizes: one load, small files, how repeats agree.

Each cell is a real `profile` run with energy per layer. Kept of it are the tables and the figure, not
the trace. Repeats of a cell are compared by kind of layer. Needs a joule counter (NVML, or RAPL).
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

KEPT = ("layer_energy.csv", "layers.csv", "findings.json", "figures/energy.svg")
# Below this share of the joules a kind's own change says nothing about the run.
COMPARED_SHARE = 0.01


@click.command()
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--model", default="instructblip-flan-t5-xl", show_default=True)
@click.option("--device", default="cuda", show_default=True)
@click.option("--batch", "batches", multiple=True, type=int, default=(16, 1), show_default=True)
@click.option("--what", multiple=True, default=("groups",), show_default=True)
@click.option("--limit-s", default=90.0, show_default=True, help="Of one replay pass.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--set", "more", multiple=True, help="field=value of the run's configuration.")
def main(
    out: Path,
    model: str,
    device: str,
    batches: tuple[int, ...],
    what: tuple[str, ...],
    limit_s: float,
    repeats: int,
    more: tuple[str, ...],
) -> None:
    """Run every cell and write its tables, then `repeats.json` and `summary.md`."""
    from rich.console import Console

    from layerscope.config.resolve import resolve
    from layerscope.passes.profile import profile
    from layerscope.report.layer_energy import energy_lines
    from layerscope.report.markdown import energy_markdown
    from layerscope.report.progress import ProgressReporter

    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    lines: list[str] = []
    joules: dict[str, list[dict[str, Joules]]] = defaultdict(list)
    load = _load_once()
    with tempfile.TemporaryDirectory(prefix="energy-by-layer-") as work:
        for repeat in range(repeats):
            for words in what:
                for batch in batches:
                    said: dict[str, Any] = {
                        "model": model, "weights": "random", "dataset": "synthetic-random",
                        "device": device, "batch_size": batch, "samples": batch,
                        "measure_limit_s": 2.0, "energy_per_layer": words,
                        "energy_limit_s": limit_s, "out": work,
                    }  # fmt: skip
                    said |= _settings(more)
                    resolved = resolve(said, cuda=device == "cuda")
                    reporter = ProgressReporter(Console(stderr=True), quiet=True)
                    done = profile(resolved, reporter, click.echo, load=load)
                    name = f"b{batch}-{words.replace(',', '-')}-{repeat + 1}"
                    _keep(done.folder, out / name)
                    found = done.layer_energy
                    lines += ["", f"## {name}: {done.record.environment.gpu_name or device}", ""]
                    if found is None or found.reason is not None:
                        lines += [f"not measured: {found.reason if found else 'not asked for'}"]
                        continue
                    lines += [energy_markdown(found), ""]
                    lines += [f"- {line}" for line in energy_lines(found)]
                    joules[f"b{batch} {words}"].append(_by_kind(out / name / "layer_energy.csv"))
                    click.echo(f"{time.monotonic() - began:.0f} s: {name} done")
    agreement = {cell: _agreement(runs) for cell, runs in joules.items() if len(runs) > 1}
    (out / "repeats.json").write_text(json.dumps(agreement, indent=1) + "\n")
    (out / "summary.md").write_text("# Energy by layer\n" + "\n".join(lines) + "\n")
    click.echo(f"{out}: {time.monotonic() - began:.0f} s in all")


def _load_once() -> Any:
    """A loader that keeps the model: all cells share it."""
    from layerscope.workload.model import load_model

    kept: list[Any] = []

    def load(*args: Any, **kwargs: Any) -> Any:
        if not kept:
            kept.append(load_model(*args, **kwargs))
        return kept[0]

    return load


def _settings(more: tuple[str, ...]) -> dict[str, Any]:
    """`field=value` pairs, the values read as YAML reads them."""
    import yaml

    pairs = (text.partition("=") for text in more)
    return {field: yaml.safe_load(value) for field, _, value in pairs}


def _keep(folder: Path, into: Path) -> None:
    """Copy the small files; raw windows compressed; the run's record without its samples' texts."""
    into.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (folder / name).exists():
            shutil.copy(folder / name, into / Path(name).name)
    if (folder / "replay.json").exists():
        packed = gzip.compress((folder / "replay.json").read_bytes(), mtime=0)
        (into / "replay.json.gz").write_bytes(packed)
    record = json.loads((folder / "run.json").read_text())
    names = ("name", "config", "environment", "energy", "report", "account")
    kept = {name: record[name] for name in names}
    (into / "run.json").write_text(json.dumps(kept, indent=1) + "\n")
    shutil.rmtree(folder)


@dataclass
class Joules:
    """Of one kind in one run: all of it, and what replay measured of it, above idle power."""

    energy_j: float = 0.0
    dynamic_j: float = 0.0


def _by_kind(path: Path) -> dict[str, Joules]:
    """Joules by kind and phase of the lines that have some."""
    found: dict[str, Joules] = defaultdict(Joules)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["energy_j"]:
                kind = row["unit"] if row["kind"] == "(rest)" else f"{row['kind']} ({row['phase']})"
                found[kind].energy_j += float(row["energy_j"])
                found[kind].dynamic_j += float(row["dynamic_j_per_call"] or 0) * int(row["calls"])
    return dict(found)


def _agreement(runs: list[Mapping[str, Joules]]) -> dict[str, dict[str, float]]:
    """By kind: the means, and how far the repeats lie apart as shares of them.

    Waiting joules differ with the host's speed in each run's own batches; those above idle are what
    the replay itself measures.
    """
    whole = sum(kind.energy_j for run in runs for kind in run.values()) / len(runs)
    found = {}
    for kind in dict.fromkeys(kind for run in runs for kind in run):
        here = [run.get(kind, Joules()) for run in runs]
        mean, apart = _spread([each.energy_j for each in here])
        if mean < COMPARED_SHARE * whole:
            continue
        found[kind] = {"mean_j": mean, "apart": apart}
        if all(each.dynamic_j for each in here):
            mean, apart = _spread([each.dynamic_j for each in here])
            found[kind] |= {"dynamic_mean_j": mean, "dynamic_apart": apart}
    return found


def _spread(values: list[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    return mean, (max(values) - min(values)) / mean if mean else 0.0


if __name__ == "__main__":
    main()
