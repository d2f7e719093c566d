"""A small server that speaks the hub's interface for one data set, and can drop its connections."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class DataHub(ThreadingHTTPServer):
    """Serves the files of a folder as the data set `repo`, whatever revision is asked for.

    `drop_after`: bytes of file content after which every answer ends in the middle and no further one
    comes; None for never.
    """

    daemon_threads = True

    def __init__(self, repo: str, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo, self.folder = repo, folder
        self.drop_after: int | None = None
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the test's."""


@contextmanager
def serving(repo: str, folder: Path) -> Iterator[DataHub]:
    """The server, running."""
    server = DataHub(repo, folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: DataHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        repo, revision = self.server.repo, r"/revision/[^/]+"
        if re.fullmatch(f"/api/datasets/{repo}({revision})?", path):
            siblings = [{"rfilename": name} for name in self._files()]
            self._json({"id": repo, "sha": "f" * 40, "siblings": siblings})
        elif match := re.fullmatch(f"/api/datasets/{repo}/tree/[^/]+(/.*)?", path):
            self._json(self._tree((match[1] or "").strip("/"), "recursive=True" in self.path))
        elif path == f"/api/datasets/{repo}/paths-info/" + path.rsplit("/", 1)[-1]:
            self._json([self._entry(n) for n in self._asked() if n in self._files()])
        elif match := re.fullmatch(f"/datasets/{repo}/resolve/[^/]+/(.+)", path):
            self._file(match[1])
        else:
            self._json({}, 404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _files(self) -> list[str]:
        root = self.server.folder
        return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())

    def _asked(self) -> list[str]:
        from urllib.parse import parse_qs

        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = body.decode()
        return (
            json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        )

    def _entry(self, name: str) -> dict[str, Any]:
        data = (self.server.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": _sha(data)}

    def _tree(self, under: str, recursive: bool) -> list[dict[str, Any]]:
        inside = [n for n in self._files() if not under or n.startswith(f"{under}/")]
        rest = [n[len(under) :].strip("/") for n in inside]
        folders = sorted({r.split("/")[0] for r in rest if "/" in r})
        entries: list[dict[str, Any]] = [
            {"type": "directory", "path": f"{under}/{f}".strip("/"), "oid": "0" * 40}
            for f in folders
        ]
        direct = [n for n, r in zip(inside, rest, strict=True) if recursive or "/" not in r]
        return entries + [self._entry(n) for n in direct]

    def _json(self, value: Any, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _file(self, name: str) -> None:
        path = self.server.folder / name
        if not path.is_file():
            self._json({}, 404)
            return
        data = path.read_bytes()
        begin, end = 0, len(data)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            begin, end = int(asked[1]), int(asked[2] or end - 1) + 1
        part = data[begin:end]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{_sha(data)}"')
        self.send_header("X-Repo-Commit", "f" * 40)
        self.end_headers()
        if self.command == "HEAD":
            return
        room = self.server.drop_after
        if room is not None and self.server.sent + len(part) > room:
            self.wfile.write(part[: max(0, room - self.server.sent)])
            self.server.sent = room
            self.close_connection = True
            self.connection.close()
            return
        self.server.sent += len(part)
        self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def _sha(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
