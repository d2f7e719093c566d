"""The routes over HTTP's own interface: what they serve, with which headers, and what they refuse."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tensorboard.plugins import base_plugin
from werkzeug.test import Client, TestResponse

from layerscope.report.csv import write_layers_csv
from layerscope.runs.run import Run
from layerscope.tab.plugin import LayersPlugin
from layerscope.tab.runs import FILES

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLE = REPOSITORY / "traces" / "sample-tiny-b2"


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLE, tmp_path / "log" / "sample")
    return tmp_path / "log"


def write_sweep(folder: Path) -> Path:
    folder.mkdir()
    config = {"name": "mine", "grid": {"batch_size": [1, 2]}, "zip": {"dtype": ["fp32", "bf16"]}}
    (folder / "sweep.json").write_text(json.dumps({"config": config, "cells": [{}, {}]}))
    (folder / "sweep.csv").write_text("cell,batch\n")
    return folder


def plugin_over(logdir: Path | str) -> LayersPlugin:
    return LayersPlugin(base_plugin.TBContext(logdir=str(logdir)))


def get(plugin: LayersPlugin, route: str, **query: str) -> TestResponse:
    return Client(plugin.get_plugin_apps()[route]).get(route, query_string=query, buffered=True)


def test_the_tab_has_its_name_and_entry(logdir: Path) -> None:
    plugin = plugin_over(logdir)
    front = plugin.frontend_metadata()
    assert plugin.plugin_name == "layerscope"
    assert (front.tab_name, front.es_module_path) == ("Layers", "/index.js")
    assert front.es_module_path in plugin.get_plugin_apps()


def test_active_as_soon_as_there_is_a_run(tmp_path: Path) -> None:
    plugin = plugin_over(tmp_path)
    assert not plugin.is_active()
    shutil.copytree(SAMPLE, tmp_path / "sample")
    assert plugin.is_active()


def test_active_too_where_a_sweep_came_without_its_cells(tmp_path: Path) -> None:
    plugin = plugin_over(tmp_path / "log")
    (tmp_path / "log").mkdir()
    assert not plugin.is_active()
    write_sweep(tmp_path / "log" / "mine")
    assert plugin.is_active()


@pytest.mark.parametrize("logdir", ["", "gs://bucket/runs", "s3://bucket", "/nonexistent"])
def test_a_log_folder_that_cannot_be_walked_has_no_runs(logdir: str) -> None:
    plugin = plugin_over(logdir)
    assert not plugin.is_active()
    assert get(plugin, "/runs").json == []


def test_active_opens_no_file(logdir: Path) -> None:
    # A record and a trace that would fail if anybody parsed them.
    (logdir / "sample" / "run.json").write_bytes(b"\xff")
    (logdir / "sample" / "trace.json.gz").write_bytes(b"\xff")
    assert plugin_over(logdir).is_active()


def test_every_import_of_the_page_is_served(logdir: Path) -> None:
    apps = plugin_over(logdir).get_plugin_apps()
    for route in [name for name in apps if name.endswith(".js")]:
        response = Client(apps[route]).get(route)
        assert response.mimetype == "text/javascript"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        for name in re.findall(r'^import [^;]*?from "\./([^"]+)";$', response.text, re.MULTILINE):
            assert f"/{name}" in apps, f"{route} imports {name}"
        assert response.text.count("\nimport ") == len(
            re.findall(r'^import [^;]*?from "\./[^"]+";$', response.text, re.MULTILINE)
        )
    assert "/icicle.js" in apps
    assert "/report.js" not in apps  # the HTML report's own
    assert Client(apps["/layers.css"]).get("/layers.css").mimetype == "text/css"


def test_the_listing_tells_what_the_record_says(logdir: Path) -> None:
    (listed,) = get(plugin_over(logdir), "/runs").json or []
    record = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))
    assert listed["id"] == "sample"
    assert listed["problem"] == ""
    for field in ("name", "created_utc", "config", "account", "report"):
        assert listed[field] == record[field]
    assert listed["files"] == [name for name, file in FILES.items() if (SAMPLE / file).exists()]


def test_tables_are_worked_out_and_the_trace_comes_as_it_lies(logdir: Path, tmp_path: Path) -> None:
    plugin = plugin_over(logdir)
    layers = get(plugin, "/file", run="sample", name="layers")
    assert layers.mimetype == "text/csv"
    write_layers_csv(Run.open(SAMPLE).account.table, tmp_path / "layers.csv")
    assert layers.data == (tmp_path / "layers.csv").read_bytes()  # what `layerscope layers` says
    trace = get(plugin, "/trace", run="sample")
    assert trace.mimetype == "application/gzip"
    assert "Content-Encoding" not in trace.headers  # the file itself is the gzip
    assert trace.headers["Content-Disposition"] == 'attachment; filename="sample.trace.json.gz"'
    assert trace.data == (SAMPLE / "trace.json.gz").read_bytes()
    assert b"traceEvents" in gzip.decompress(trace.data)


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("/file", {}),
        ("/file", {"run": "sample"}),
        ("/file", {"run": "sample", "name": "trace"}),
        ("/file", {"run": "sample", "name": "gone"}),
        ("/file", {"run": "sample", "name": "../../secret"}),
        ("/file", {"run": "../log/sample", "name": "layers"}),
        ("/file", {"run": "..", "name": "layers"}),
        ("/trace", {"run": "/etc"}),
        ("/sweep_file", {}),
        ("/sweep_file", {"sweep": "mine"}),
        ("/sweep_file", {"sweep": "mine", "name": "groups"}),  # it lacks this one
        ("/sweep_file", {"sweep": "mine", "name": "sweep.json"}),
        ("/sweep_file", {"sweep": "mine", "name": "../../secret"}),
        ("/sweep_file", {"sweep": "../log/mine", "name": "table"}),
        ("/sweep_file", {"sweep": "sample", "name": "table"}),
    ],
)
def test_anything_else_is_not_found(logdir: Path, route: str, query: dict[str, str]) -> None:
    write_sweep(logdir / "mine")
    response = get(plugin_over(logdir), route, **query)
    assert response.status_code == 404
    assert response.mimetype == "text/plain"


def test_a_file_that_a_run_lacks_is_not_found(logdir: Path) -> None:
    (logdir / "sample" / "steps.csv").unlink()
    plugin = plugin_over(logdir)
    (listed,) = get(plugin, "/runs").json or []
    assert "steps" not in listed["files"]
    assert get(plugin, "/file", run="sample", name="steps").status_code == 404


def test_the_window_of_a_trace(logdir: Path) -> None:
    plugin = plugin_over(logdir)
    whole = get(plugin, "/window", run="sample")
    assert whole.mimetype == "application/json"
    found = whole.json
    assert found is not None
    assert found["device_ns"] is None  # a CPU run
    record = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))
    assert found["host_ns"] == round(record["account"]["host_window_us"] * 1000)
    assert {row["kind"] for row in found["rows"]} == {"phase", "step", "layer", "operator"}
    one = get(plugin, "/window", run="sample", layer="language_model", call="0").json
    assert one is not None
    assert one["host_ns"] < found["host_ns"]


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ({"run": "gone"}, 404, "No such run"),
        ({"run": "../log/sample"}, 404, "No such run"),
        ({"run": "sample", "layer": "gone"}, 422, "gone: no call"),
        ({"run": "sample", "step": "-1"}, 400, "step: a whole number"),
        ({"run": "sample", "call": "x"}, 400, "call: a whole number"),
        ({"run": "sample", "step": "9" * 30}, 400, "step: a whole number"),
    ],
)
def test_a_window_that_cannot_be_is_refused_in_words(
    logdir: Path, query: dict[str, str], code: int, said: str
) -> None:
    response = get(plugin_over(logdir), "/window", **query)
    assert response.status_code == code
    assert response.mimetype == "text/plain"
    assert said in response.text


def test_perfetto_gets_the_trace_with_named_tracks(logdir: Path) -> None:
    plugin = plugin_over(logdir)
    answer = get(plugin, "/perfetto", run="sample")
    assert answer.mimetype == "application/gzip"
    assert "Content-Encoding" not in answer.headers
    events = json.loads(gzip.decompress(answer.data))["traceEvents"]
    named = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"host phases", "host decoder steps", "host layers"} <= named
    assert get(plugin, "/perfetto", run="gone").status_code == 404


def test_a_damaged_trace_is_said_and_a_mended_one_read_again(logdir: Path) -> None:
    plugin = plugin_over(logdir)
    trace = logdir / "sample" / "trace.json.gz"
    whole = trace.read_bytes()
    trace.write_bytes(whole[:5000])
    response = get(plugin, "/window", run="sample")
    assert response.status_code == 422
    assert "trace.json.gz" in response.text
    trace.write_bytes(whole)
    assert get(plugin, "/window", run="sample").status_code == 200


def test_a_folders_name_cannot_leave_the_header(logdir: Path) -> None:
    (logdir / "sample").rename(logdir / 'a"b;c é')
    trace = get(plugin_over(logdir), "/trace", run='a"b;c é')
    assert trace.headers["Content-Disposition"] == 'attachment; filename="a-b-c.trace.json.gz"'


def test_sweeps_list_with_their_axes_and_hand_out_their_small_tables(logdir: Path) -> None:
    plugin = plugin_over(logdir)
    assert get(plugin, "/sweeps").json == []
    folder = write_sweep(logdir / "mine")
    (listed,) = get(plugin, "/sweeps").json or []
    assert listed.pop("written_ns") == str((folder / "sweep.csv").stat().st_mtime_ns)
    assert listed == {
        "id": "mine", "name": "mine", "axes": ["batch_size", "dtype"], "together": ["dtype"],
        "cells": 2, "problem": "", "files": ["table"],
    }  # fmt: skip
    answer = get(plugin, "/sweep_file", sweep="mine", name="table")
    assert (answer.mimetype, answer.data) == ("text/csv", b"cell,batch\n")
    assert [run["id"] for run in get(plugin, "/runs").json or []] == ["sample"]


@pytest.mark.parametrize("plan", ["", "{", "[]", '{"cells": 3}', "\xff"])
def test_a_broken_plan_lists_with_its_problem(logdir: Path, plan: str) -> None:
    folder = write_sweep(logdir / "mine")
    (folder / "sweep.json").write_bytes(plan.encode("latin-1"))
    (listed,) = get(plugin_over(logdir), "/sweeps").json or []
    assert listed["problem"].startswith("sweep.json is not a sweep's plan")


def test_links_of_a_sweep_that_lead_out_are_refused(logdir: Path, tmp_path: Path) -> None:
    outside = write_sweep(tmp_path / "outside")
    (logdir / "linked").symlink_to(outside, target_is_directory=True)
    inside = write_sweep(logdir / "mine")
    (inside / "sweep.csv").unlink()
    (inside / "sweep.csv").symlink_to(outside / "sweep.csv")
    plugin = plugin_over(logdir)
    (listed,) = get(plugin, "/sweeps").json or []
    assert (listed["id"], listed["files"]) == ("mine", [])
    assert get(plugin, "/sweep_file", sweep="mine", name="table").status_code == 404
    assert get(plugin, "/sweep_file", sweep="linked", name="table").status_code == 404


def test_nothing_can_be_posted(logdir: Path) -> None:
    for route, app in plugin_over(logdir).get_plugin_apps().items():
        assert Client(app).post(route).status_code == 405


def test_two_hundred_cells_list_in_under_three_seconds_of_cpu(tmp_path: Path) -> None:
    cell = REPOSITORY / "docs" / "results" / "h200" / "xl-b16-eager"
    for number in range(200):
        folder = tmp_path / "sweep" / "cells" / f"{number:03}"
        folder.mkdir(parents=True)
        # Hard links: 200 records of the XL model's size without 200 copies.
        (folder / "run.json").hardlink_to(_copied(cell / "run.json", tmp_path))
    started = time.process_time()
    listed = get(plugin_over(tmp_path / "sweep"), "/runs").json
    assert listed is not None
    assert len(listed) == 200
    assert time.process_time() - started < 3.0


def _copied(file: Path, folder: Path) -> Path:
    copy = folder / file.name
    if not copy.exists():
        shutil.copyfile(file, copy)
    return copy


def test_the_plugin_loads_without_torch() -> None:
    code = (
        "import sys, layerscope.tab.plugin\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_is_told_of_every_column(logdir: Path) -> None:
    told = {
        column["name"]: column for column in json.loads(get(plugin_over(logdir), "/columns").data)
    }
    header = (SAMPLE / "layers.csv").read_text(encoding="utf-8").partition("\n")[0].split(",")
    assert set(header) <= set(told)
    assert told["gpu_self_us"]["kind"] == "time"
    assert all(column["label"] and column["means"] for column in told.values())
    assert {name for name in told if told[name]["kind"] == "text"} > {
        "layer",
        "layer_kind",
        "bound",
    }


def test_a_table_of_the_first_version_is_served_with_its_kinds(logdir: Path) -> None:
    folder = logdir / "sample"
    (folder / "trace.json.gz").unlink()
    table = folder / "layers.csv"
    lines = [line.split(",") for line in table.read_text(encoding="utf-8").splitlines()]
    if "layer_kind" in lines[0]:  # as 0.1.0 wrote it
        at = lines[0].index("layer_kind")
        table.write_text("".join(",".join(line[:at]) + "\n" for line in lines), encoding="utf-8")
    served = get(plugin_over(logdir), "/file", run="sample", name="layers")
    assert served.status_code == 200
    rows = list(csv.DictReader(served.get_data(as_text=True).splitlines()))
    written = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    kinds = {row["layer"]: row["layer_kind"] for row in rows}
    assert kinds["vision_model.encoder.layers.3.mlp.fc1"] == "vision_model.encoder.layers.*.mlp.fc1"
    assert [row["cpu_self_us"] for row in rows] == [row["cpu_self_us"] for row in written]
    table.write_text("phase,layer\nvision\n", encoding="utf-8")
    refused = get(plugin_over(logdir), "/file", run="sample", name="layers")
    assert refused.status_code == 422
