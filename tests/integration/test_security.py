"""Hostile files, names and addresses are data: nothing runs, leaves or is given away."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import layerscope
from support.hub_layouts import row, write

from layerscope.workload.architecture import build, bundled_folder, find_architecture

SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"
SMALL = (
    "--device", "cpu", "--batch", "1", "--samples", "1", "--warmup", "0", "--max-new-tokens", "1",
    "--measure-limit-s", "0.1", "--image-size", "56",
)  # fmt: skip
SECRET = "correct-horse-battery-staple"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<!script>"


def test_code_in_a_model_folder_never_runs(tmp_path: Path) -> None:
    """`auto_map` is how a folder asks transformers for `trust_remote_code`."""
    folder = Path(shutil.copytree(bundled_folder(), tmp_path / "model"))
    model: Any = build(
        find_architecture("tiny"),
        dtype=torch.float32,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=2,
    )
    model.save_pretrained(folder)
    marker = tmp_path / "ran"
    (folder / "evil.py").write_text(
        f"open({str(marker)!r}, 'w').write('ran')\n"
        "class Evil:\n    from_pretrained = classmethod(lambda *a, **k: None)\n"
    )
    for path in folder.rglob("*config.json"):
        held = json.loads(path.read_text())
        names = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoImageProcessor")
        held["auto_map"] = dict.fromkeys(names, "evil.Evil") | {
            "AutoTokenizer": ["evil.Evil", None]
        }
        path.write_text(json.dumps(held))
    done = layerscope(
        "profile", *SMALL, "--model", folder, "--dataset", "synthetic-textvqa", "--no-trace",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not marker.exists()
    assert "trust_remote_code" not in done.stderr


class Elements(HTMLParser):
    """Collects a page's elements with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on data whose folder, questions and answers are markup, with a secret in the environment."""
    root = tmp_path_factory.mktemp("hostile")
    rows = [
        row("textvqa", i, question=f"what is {HOSTILE}?", answers=[HOSTILE] * 10) for i in (1, 2)
    ]
    data = write("textvqa", rows, root / HOSTILE)
    os.environ["LAYERSCOPE_SECRET"] = os.environ["HF_TOKEN"] = SECRET
    try:
        done = layerscope(
            "profile", *SMALL, "--model", "tiny", "--dataset", "textvqa", "--data-dir", data,
            "--out", root / "out", "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert isinstance(json.loads(done.stdout), dict)
        (run,) = (root / "out").iterdir()
        for arguments in (
            ("report", run, "--html", root / "report.html", "--markdown", root / "report.md"),
            ("layers", run, "--csv", root / "layers.csv"),
            ("export", run, "--perfetto", "--out", root / "perfetto.json.gz"),
        ):
            done = layerscope(*arguments)
            assert done.returncode == 0, done.stderr
    finally:
        del os.environ["LAYERSCOPE_SECRET"], os.environ["HF_TOKEN"]
    return root


def test_no_environment_variable_is_in_any_file(hostile: Path) -> None:
    seen = 0
    for path in (path for path in hostile.rglob("*") if path.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        assert SECRET.encode() not in data, path
        seen += 1
    assert seen > 20


def test_markup_in_data_stays_text_in_the_report(hostile: Path) -> None:
    text = (hostile / "report.html").read_text()
    assert "alert(1)" in text  # it is shown, so the test is about something
    assert HOSTILE not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    page = Elements()
    page.feed(text)
    assert not [tag for tag, held in page.seen if "onerror" in held]
    assert not [tag for tag, held in page.seen if held.get("src") == "x"]
    # What the page's script reads is JSON, from which no end of the script can be made.
    for block in re.findall(r"<script[^>]*>(.*?)</script>", text, flags=re.DOTALL):
        assert "<script>alert(2)" not in block
    assert not re.search(r"(?<!\\)<(img|script)", (hostile / "report.md").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """`layerscope view` over a folder with one run and links that lead out of it."""
    root = tmp_path_factory.mktemp("served")
    outside = root / "outside"
    shutil.copytree(SAMPLE, outside / "run")
    (outside / "secret").write_text(SECRET)
    log = root / "log"
    inside = Path(shutil.copytree(SAMPLE, log / "run"))
    (log / "linked").symlink_to(outside / "run", target_is_directory=True)
    (inside / "layers.csv").unlink()
    (inside / "layers.csv").symlink_to(outside / "secret")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "layerscope", "view", str(log), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                if get(port, "/data/plugin/layerscope/runs")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def get(port: int, path: str) -> tuple[int, bytes]:
    """A request whose path is sent as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize(
    "path",
    [
        "/file?run=../outside/run&name=layers",
        "/file?run=..%2foutside%2frun&name=layers",
        "/file?run=%2e%2e%2f%2e%2e%2fetc&name=passwd",
        "/file?run=linked&name=layers",
        "/file?run=run&name=layers",  # a link to a file outside
        "/file?run=run&name=../../outside/secret",
        "/trace?run=linked",
        "/trace?run=../outside/run",
        "/../../../../../../etc/passwd",
        "/static/../plugin.py",
        "/static/%2e%2e/plugin.py",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
    ],
)
def test_no_address_leads_out_of_the_log_folder(server: int, path: str) -> None:
    status, body = get(server, f"/data/plugin/layerscope{path}")
    assert status in (400, 404), (status, body[:200])
    for secret in (SECRET.encode(), b"root:", b"import annotations", b"phase,layer"):
        assert secret not in body


def test_the_run_itself_is_served(server: int) -> None:
    status, body = get(server, "/data/plugin/layerscope/runs")
    assert status == 200
    assert b'"linked"' not in body
    assert get(server, "/data/plugin/layerscope/trace?run=run")[0] == 200
