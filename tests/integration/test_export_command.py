"""`layerscope export` as a user runs it, on a run folder and on a bare trace."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from support.command import layerscope
from support.kineto import TraceWriter

from layerscope.records import load
from layerscope.runs.export import power_absent

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "traces" / "sample-tiny-b2"
XL = ROOT / "docs" / "results" / "h200" / "xl-b16-eager"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(SAMPLE, folder)
    for derived in folder.glob("*.pt.trace.json.gz"):
        derived.unlink()
    return folder


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    writer = TraceWriter()
    writer.layer("forward", 0, 1000)
    writer.launch(1, 10)
    writer.kernel(1, 100, 50)
    (tmp_path / "foreign").mkdir()
    return writer.write(tmp_path / "foreign" / "my.model.trace.json.gz")


def test_both_files_of_a_run_lie_in_its_folder_and_the_trace_stays(run: Path) -> None:
    before = hashlib.sha256((run / "trace.json.gz").read_bytes()).hexdigest()
    done = layerscope("export", run, "--tb-profiler", "--perfetto")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert hashlib.sha256((run / "trace.json.gz").read_bytes()).hexdigest() == before
    (derived,) = run.glob("*.pt.trace.json.gz")
    assert derived.name.startswith("layerscope.17")  # worker and time in ms, as the plugin wants it
    events = json.loads(gzip.decompress(derived.read_bytes()))["traceEvents"]
    names = {event["name"] for event in events if event.get("cat") == "python_function"}
    assert "nn.Module: language_model.decoder (T5Stack)" in names
    assert (run / "trace.perfetto.json.gz").exists()
    assert "no counter of power: the run measured no power over time" in done.stderr
    assert "332 modules by call path" in done.stderr


def test_a_bare_trace_goes_where_it_lies_or_where_it_is_told(trace: Path, tmp_path: Path) -> None:
    os.utime(trace, (1_700_000_000, 1_700_000_000))
    assert layerscope("export", trace, "--tb-profiler").returncode == 0
    done = layerscope("export", trace, "--perfetto", "--out", tmp_path / "new" / "place")
    assert done.returncode == 0
    assert [path.name for path in sorted(trace.parent.iterdir())] == [
        "my.model.trace.json.gz",
        "my_model.1700000000000.pt.trace.json.gz",
    ]
    assert (tmp_path / "new" / "place" / "my_model.perfetto.json.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("RUN",), 2, "--tb-profiler, --perfetto, or both"),
        (("gone.json", "--perfetto"), 4, "gone.json"),
        (("EMPTY", "--perfetto"), 4, "no run.json in it"),
        (("UNTRACED", "--perfetto"), 4, "no trace.json.gz in it"),
        (("BLANK", "--tb-profiler"), 4, "nothing to export"),
        (("RUN", "--perfetto", "--out", "FILE"), 2, "is a file"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    blank = TraceWriter().write(tmp_path / "blank.json")
    places = {
        "RUN": run, "EMPTY": tmp_path / "empty", "UNTRACED": XL, "BLANK": blank,
        "FILE": run / "run.json",
    }  # fmt: skip
    done = layerscope("export", *(places.get(word, word) for word in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_why_power_is_absent() -> None:
    assert power_absent(None) == "a trace holds no power"
    assert "a window of its own" in power_absent(load(XL))
