"""The hand-over to Perfetto, against a stand-in that keeps to its documented rules.

The real viewer needs a network. The stand-in answers at its address, and does what the page "Deep
linking to the Perfetto UI" says: messages before it is ready are lost, PING is answered by PONG, and
a trace is taken from the window that opened it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Route

from .conftest import Tab

TINY, WITHOUT = "sample-tiny-b2", "xl-b16-eager"
VIEWER = """<!doctype html><script>
window.lost = [];
function listen() {
  window.addEventListener("message", (event) => {
    if (event.source !== window.opener) return;
    if (event.data === "PING") event.source.postMessage("PONG", "*");
    else if (event.data.perfetto) window.received = event.data.perfetto;
  });
}
// It is ready only after a first message was lost: whoever asks once waits for ever.
window.addEventListener("message", (event) => {
  window.lost.push(event.data);
  setTimeout(listen, 200);
}, { once: true });
</script>"""


@pytest.fixture
def asked(tab: Tab) -> Iterator[list[str]]:
    """What the viewer's server was asked for; a trace must not be among it."""
    requests: list[str] = []

    def answer(route: Route) -> None:
        requests.append(f"{route.request.method} {route.request.url}")
        route.fulfill(content_type="text/html", body=VIEWER)

    tab.page.context.route("https://ui.perfetto.dev/**", answer)
    yield requests
    tab.page.context.unroute("https://ui.perfetto.dev/**")


def test_the_trace_reaches_the_viewers_window_and_no_server(
    tab: Tab, address: str, asked: list[str]
) -> None:
    tab.choose(TINY)
    with tab.page.expect_popup() as opened:
        tab.frame.click("#perfetto")
    viewer = opened.value
    viewer.wait_for_function("window.received !== undefined")
    title, name, digest, first = viewer.evaluate(
        """async () => {
          const { buffer, title, fileName } = window.received;
          const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
          const whole = new Response(new Blob([buffer]).stream()
            .pipeThrough(new DecompressionStream("gzip")));
          const events = (await whole.json()).traceEvents;
          return [title, fileName, [...digest].map((b) => b.toString(16).padStart(2, "0")).join(""),
                  events.length];
        }"""
    )
    with urlopen(f"{address.rstrip('/')}/data/plugin/layerscope/perfetto?run={TINY}") as answer:
        trace = (
            answer.read()
        )  # the trace with named tracks, as `layerscope export --perfetto` has it
    assert digest == hashlib.sha256(trace).hexdigest()
    assert first > 1000
    assert name == f"{title}.trace.json.gz"
    assert viewer.evaluate(
        "window.lost.includes('PING')"
    )  # it kept asking until there was an answer
    assert asked == ["GET https://ui.perfetto.dev/"]
    viewer.close()


def test_it_says_why_it_cannot(tab: Tab) -> None:
    tab.choose(WITHOUT)  # the committed results hold no traces
    assert tab.frame.is_disabled("#perfetto")
    assert "no trace.json.gz" in (tab.frame.get_attribute("#perfetto", "title") or "")
    assert not tab.frame.is_visible("#trace")
    tab.choose(TINY)
    assert tab.frame.is_enabled("#perfetto")
    tab.page.context.set_offline(True)
    tab.frame.wait_for_selector("#perfetto:disabled")
    assert "needs a network" in (tab.frame.get_attribute("#perfetto", "title") or "")
    tab.page.context.set_offline(False)
    tab.frame.wait_for_selector("#perfetto:enabled")


def test_a_trace_that_is_gone_closes_the_window(tab: Tab, logdir: Path, asked: list[str]) -> None:
    tab.choose(TINY)
    trace = logdir / TINY / "trace.json.gz"
    aside = trace.rename(logdir / "aside")
    try:
        with tab.page.expect_popup() as opened:
            tab.frame.click("#perfetto")
        tab.frame.wait_for_function("document.querySelector('#note').textContent.includes('404')")
        # Asked again and again: an event that comes before the listener stands is lost.
        for _ in range(300):
            if opened.value.is_closed():
                break
            tab.page.wait_for_timeout(100)
        assert opened.value.is_closed()
        assert asked == []
    finally:
        aside.rename(trace)
        tab.complaints[:] = [text for text in tab.complaints if "404" not in text]


def test_the_trace_file_is_a_download(tab: Tab, logdir: Path, tmp_path: Path) -> None:
    tab.choose(TINY)
    with tab.page.expect_download() as download:
        tab.frame.click("#trace")
    download.value.save_as(tmp_path / "trace")
    assert (tmp_path / "trace").read_bytes() == (logdir / TINY / "trace.json.gz").read_bytes()
    assert download.value.suggested_filename == f"{TINY}.trace.json.gz"
