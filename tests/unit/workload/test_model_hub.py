"""The hub: a real download from a small server on this machine, the cache offline, the refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from layerscope.core.errors import EnvironmentProblem, ModelError
from layerscope.records import RunConfig
from layerscope.workload.architecture import build, find_architecture
from layerscope.workload.hub import Hub, expected_time, free_bytes, is_hub_id, wanted_files
from layerscope.workload.model import load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "someone/instructblip-small"
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


class HubServer(ThreadingHTTPServer):
    """Serves one folder as one model repository, as the hub's HTTP interface does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.extra_bytes = 0  # claimed size of a file that is not there

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{REPO}/tree/{COMMIT}"):
            self._send(json.dumps([self._entry(f) for f in self._files()]).encode())
        elif path in (f"/api/models/{REPO}", f"/api/models/{REPO}/revision/{COMMIT}"):
            siblings = [{"rfilename": f.name, "size": f.stat().st_size} for f in self._files()]
            if self.server.extra_bytes:
                siblings.append({"rfilename": "tokenizer.json", "size": self.server.extra_bytes})
            info = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}
            self._send(json.dumps(info).encode())
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self._send(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._send((self.server.folder / path.rsplit("/", 1)[1]).read_bytes())
        else:
            self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _files(self) -> list[Path]:
        return sorted(self.server.folder.iterdir())

    def _entry(self, file: Path) -> dict[str, Any]:
        oid = hashlib.sha1(file.read_bytes()).hexdigest()
        return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": oid}

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    model: Any = build(
        find_architecture("tiny"),
        dtype=torch.float16,
        layout="from_pretrained",
        attention="sdpa",
        device="cpu",
        seed=2,
    )
    model.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"never to be fetched")
    return folder


@pytest.fixture
def server(checkpoint: Path, tmp_path: Path) -> Iterator[HubServer]:
    served = HubServer(Path(shutil.copytree(checkpoint, tmp_path / "served")))
    thread = threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def run_config(**changes: Any) -> RunConfig:
    base: dict[str, Any] = {
        "model": REPO,
        "dataset": "synthetic-random",
        "device": "cpu",
        "dtype": "fp16",
    }
    return RunConfig(**(base | changes))


def test_download_then_cache_then_offline(server: HubServer, tmp_path: Path) -> None:
    lines: list[str] = []
    cache = tmp_path / "cache"
    hub = Hub(endpoint=server.url, cache_dir=cache)
    loaded = load_model(run_config(), lines.append, hub=hub)
    assert loaded.record.revision == COMMIT
    assert loaded.record.source == "hub"
    assert loaded.record.params == 5_322_816
    assert len(lines) == 1
    assert "downloading 0.01 GB at commit 0123456789ab" in lines[0]
    assert "GB free" in lines[0]
    assert "at 100 Mbit/s" in lines[0]
    assert not list(cache.rglob("*.bin"))

    lines.clear()
    load_model(run_config(), lines.append, hub=hub)
    assert lines == [f"{REPO}: commit 0123456789ab is in the local cache."]

    lines.clear()
    offline = Hub(endpoint=NOWHERE, cache_dir=cache)
    again = load_model(run_config(revision=COMMIT), lines.append, hub=offline)
    assert again.record.revision == COMMIT
    assert "the hub is out of reach" in lines[0]
    assert "using commit 0123456789ab in the local cache" in lines[0]

    next(cache.rglob("model.safetensors")).unlink()
    with pytest.raises(EnvironmentProblem, match=r"only part of the model.*Three ways on"):
        load_model(run_config(revision=COMMIT), hub=offline)


def test_inputs_are_refused_before_the_weights_are_fetched(
    server: HubServer, tmp_path: Path
) -> None:
    hub = Hub(endpoint=server.url, cache_dir=tmp_path / "cache")
    with pytest.raises(ModelError, match="patch size 14"):
        load_model(run_config(image_size=225), hub=hub)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_disk_that_is_too_small(server: HubServer, tmp_path: Path) -> None:
    server.extra_bytes = free_bytes(tmp_path) + 10**12
    lines: list[str] = []
    hub = Hub(endpoint=server.url, cache_dir=tmp_path / "cache")
    with pytest.raises(EnvironmentProblem, match="HF_HOME") as caught:
        load_model(run_config(), lines.append, hub=hub)
    assert caught.value.exit_code == 3
    assert len(lines) == 1
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_unknown_model_and_revision(server: HubServer, tmp_path: Path) -> None:
    hub = Hub(endpoint=server.url, cache_dir=tmp_path)
    with pytest.raises(ModelError, match="no such model on the hub"):
        hub.locate("someone/else", None)
    with pytest.raises(ModelError, match="no revision 'nowhere'"):
        hub.locate(REPO, "nowhere")


def test_pickles_only(server: HubServer, tmp_path: Path) -> None:
    for file in server.folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match="no safetensors weights"):
        load_model(run_config(), hub=Hub(endpoint=server.url, cache_dir=tmp_path / "cache"))


def test_offline_names_three_ways_on(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        load_model(run_config(), hub=Hub(endpoint=NOWHERE, cache_dir=tmp_path))
    assert caught.value.exit_code == 3
    for way in ("--model FOLDER", "--weights random", "--model tiny"):
        assert way in str(caught.value)


def test_the_offline_switch_of_the_hub_is_obeyed(tmp_path: Path) -> None:
    """A process of its own: huggingface_hub reads its switch when it is imported."""
    code = (
        "from layerscope.workload.hub import Hub\n"
        "from layerscope.core.errors import EnvironmentProblem\n"
        "try:\n    Hub().locate('Salesforce/instructblip-flan-t5-xl', None)\n"
        "except EnvironmentProblem as e:\n    print(e)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Three ways on" in done.stdout


def test_wanted_files() -> None:
    names = [
        "README.md",
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model-00001-of-00002.bin",
        "qformer_tokenizer/vocab.txt",
        "spiece.model",
        "chat_template.jinja",
        "modeling_own.py",
        "flax/model.msgpack",
    ]
    assert set(wanted_files("a/b", names, weights=True)) == {
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "qformer_tokenizer/vocab.txt",
        "spiece.model",
        "chat_template.jinja",
    }
    assert not any("00001" in n for n in wanted_files("a/b", names, weights=False))


def test_words() -> None:
    """16.1 GB: 128.8 s at a gigabit, ten times that at 100 Mbit/s."""
    assert expected_time(16_100_000_000) == "about 2 min at 1,000 Mbit/s, 21 min at 100 Mbit/s"
    assert expected_time(10_000_000) == "about 0 s at 1,000 Mbit/s, 1 s at 100 Mbit/s"
    assert is_hub_id("Salesforce/instructblip-flan-t5-xl")
    for path in ("/a/b", "./a", "../a", "~/a", "a/b/c", "a"):
        assert not is_hub_id(path)
