"""Saved runs, sweeps and traces in, everything that reading them prints or writes out, a file each.

A change that should move no number is judged by this: freeze with the old tree, freeze with the new
one, compare.

    python scripts/freeze_outputs.py INPUT ... --out old     # in the old tree
    python scripts/freeze_outputs.py INPUT ... --out new     # in the new tree
    python scripts/freeze_outputs.py --judge old new         # exit code 1 where a byte differs

An INPUT is a run folder, a sweep's folder, a trace, or a folder of traces (ranks).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]
# The embedded data of a page, apart from its text: each is judged alone.
_SCRIPT = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
_DATA = re.compile(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


def _call(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What the command printed, its exit code last."""
    done = subprocess.run(
        [sys.executable, "-m", "layerscope", *map(str, arguments)],
        cwd=cwd,
        env={"PYTHONPATH": str(TREE), "PATH": "/usr/bin:/bin", "COLUMNS": "200", "HOME": "/root"},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}\n== stderr\n{done.stderr}\n== exit {done.returncode}\n"


def _tab(logdir: Path) -> Iterator[tuple[str, bytes]]:
    """Every answer of the tab's server for the runs and sweeps below `logdir`."""
    sys.path.insert(0, str(TREE))
    from importlib import import_module

    from tensorboard.plugins.base_plugin import TBContext
    from werkzeug.test import Client

    home = "layerscope.tab.plugin"
    if not (TREE / "layerscope" / "tab").exists():
        home = "layerscope.tensorboard.plugin"
    plugin = import_module(home).LayersPlugin(TBContext(logdir=str(logdir)))
    apps = plugin.get_plugin_apps()

    def get(route: str, **query: str) -> bytes:
        return bytes(Client(apps[route]).get("/", query_string=query).get_data())

    yield "runs.json", get("/runs")
    yield "sweeps.json", get("/sweeps")
    for run in json.loads(get("/runs")):
        for name in run["files"]:
            if name != "trace":
                yield f"{run['id']}-{name}", get("/file", run=run["id"], name=name)
        if "trace" in run["files"]:
            for label, query in _windows(run["id"], json.loads(get("/window", run=run["id"]))):
                yield f"{run['id']}-window-{label}.json", get("/window", **query)
            yield f"{run['id']}-perfetto.json", gzip.decompress(get("/perfetto", run=run["id"]))
    for sweep in json.loads(get("/sweeps")):
        for name in sweep["files"]:
            yield (
                f"sweep-{sweep['id']}-{name}",
                get("/sweep_file", sweep=sweep["id"], name=name),
            )


def _windows(run: str, whole: object) -> Iterator[tuple[str, dict[str, str]]]:
    yield "whole", {"run": run}
    yield "step", {"run": run, "step": "1"}
    for phase in ("vision", "encoder", "prefill", "decode", "forward"):
        yield f"phase-{phase}", {"run": run, "phase": phase}
    text = json.dumps(whole)
    layers = re.findall(r'"(?:layer|name)": ?"([A-Za-z_][\w.]*\.[\w.]+)"', text)
    for number, layer in enumerate(sorted(set(layers))[:3]):
        yield f"layer-{number}", {"run": run, "layer": layer}


def _frozen(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each output."""
    with tempfile.TemporaryDirectory(prefix="frozen-") as name:
        work = Path(name)
        yield "layers.txt", _call("layers", source, "--csv", "layers.csv", cwd=work).encode()
        yield "groups.txt", _call("layers", source, "--group").encode()
        yield "depth.txt", _call("layers", source, "--depth", "2", "--sort", "calls").encode()
        export = _call("export", source, "--perfetto", "--tb-profiler", "--out", "out", cwd=work)
        yield "export.txt", export.encode()
        yield "page.txt", _call("report", source, "--html", "page.html", cwd=work).encode()
        yield "comment.txt", _call("report", source, "--markdown").encode()
        yield "compare.json", _call("compare", source, source, "--json", "--anyway").encode()
        yield "compare.txt", _call("compare", source, source, "--anyway").encode()
        if (work / "layers.csv").exists():
            yield "layers.csv", (work / "layers.csv").read_bytes()
        for number, exported in enumerate(sorted((work / "out").glob("*.gz"))):
            yield f"exported-{number}.json", gzip.decompress(exported.read_bytes())
        if (work / "page.html").exists():
            page = (work / "page.html").read_text(encoding="utf-8")
            for number, data in enumerate(_DATA.findall(page)):
                yield f"page-data-{number}.json", data.encode()
            yield "page-text.txt", _TAG.sub("\n", _SCRIPT.sub("", page)).encode()


def freeze(sources: list[Path], out: Path) -> None:
    """Write every output of every source below `out`."""
    shutil.rmtree(out, ignore_errors=True)
    for source in sources:
        _keep(out / source.name, _frozen(source))
    folders = [source for source in sources if source.is_dir()]
    with tempfile.TemporaryDirectory(prefix="frozen-") as name:
        for folder in folders:
            shutil.copytree(folder, Path(name) / folder.name)
        _keep(out / "tab", _tab(Path(name)))
    for one, other in itertools.combinations(folders, 2):
        said = _call("compare", one, other, "--json", "--anyway")
        _keep(out / "pairs", iter([(f"{one.name}-{other.name}.json", said.encode())]))


def _keep(folder: Path, outputs: Iterator[tuple[str, bytes]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in outputs:
        (folder / name.replace("/", "_")).write_bytes(content)
    print(folder.name, file=sys.stderr, flush=True)


def judge(old: Path, new: Path) -> int:
    """Print each file that differs; 0 if none does."""
    names = sorted(
        {p.relative_to(root) for root in (old, new) for p in root.rglob("*") if p.is_file()}
    )
    unlike = [
        name
        for name in names
        if not (old / name).exists()
        or not (new / name).exists()
        or (old / name).read_bytes() != (new / name).read_bytes()
    ]
    for name in unlike:
        print(name)
    print(f"{len(names) - len(unlike)} of {len(names)} files equal")
    return 1 if unlike else 0


def main() -> int:
    """Freeze, or judge two frozen folders."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--judge", nargs=2, type=Path, metavar=("OLD", "NEW"))
    asked = parser.parse_args()
    if asked.judge:
        return judge(*asked.judge)
    if asked.out is None or not asked.sources:
        parser.error("give sources and --out, or --judge OLD NEW.")
    freeze([source.resolve() for source in asked.sources], asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
