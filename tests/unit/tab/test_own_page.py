"""The tab answers its own page; a page of another site, under whatever name it asks, gets nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tensorboard.plugins import base_plugin
from werkzeug.test import Client

from layerscope.tab.own_page import HOSTS_VARIABLE
from layerscope.tab.plugin import LayersPlugin

SAMPLE = Path(__file__).resolve().parents[3] / "traces" / "sample-tiny-b2"


@pytest.fixture(scope="module")
def logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("log")
    shutil.copytree(SAMPLE, root / "sample")
    return root


def asked(logdir: Path, route: str, headers: dict[str, str]) -> int:
    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(logdir)))
    query = {"run": "sample", "name": "layers"}
    answer = Client(plugin.get_plugin_apps()[route]).get(
        "/", query_string=query, headers=headers, buffered=True
    )
    if answer.status_code == 403:
        assert b"layers.csv" not in answer.data
        assert len(answer.data) < 300
    return answer.status_code


FOREIGN = (
    "evil.example", "evil.example:6006", "127.0.0.1.evil.example", "localhost.evil.example:6006", "",
    "localhost@evil.example", "evil.example:6006@localhost", "127.0.0.1:6006/evil", "[::1", "::1",
    "2130706433.example", "a b", "localhost:6006:1",
)  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_gets_nothing(logdir: Path, host: str) -> None:
    assert asked(logdir, "/runs", {"Host": host}) == 403


OWN = (
    "localhost", "LOCALHOST:6006", "127.0.0.1:6006", "[::1]:6006", "192.168.0.7:80", "tab.localhost:1"
)  # fmt: skip


@pytest.mark.parametrize("host", OWN)
def test_the_servers_own_names_are_answered(logdir: Path, host: str) -> None:
    assert asked(logdir, "/runs", {"Host": host}) == 200
    assert asked(logdir, "/runs", {"Host": host, "Origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8888"},  # another server of this machine
        {"Origin": "http://localhost:6006@evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_every_route_refuses_another_page(logdir: Path, headers: dict[str, str]) -> None:
    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(logdir)))
    for route in plugin.get_plugin_apps():
        assert asked(logdir, route, {"Host": "localhost:6006"} | headers) == 403, route


def test_a_name_of_ones_own_is_told_by_the_environment(
    logdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked(logdir, "/runs", {"Host": "lab.example:443"}) == 403
    monkeypatch.setenv(HOSTS_VARIABLE, "other.example, Lab.example")
    assert asked(logdir, "/runs", {"Host": "lab.example:443"}) == 200


def test_no_other_site_may_embed_an_answer(logdir: Path) -> None:
    plugin = LayersPlugin(base_plugin.TBContext(logdir=str(logdir)))
    for route in ("/runs", "/trace", "/file"):
        answer = Client(plugin.get_plugin_apps()[route]).get(
            "/", query_string={"run": "sample", "name": "layers"}, buffered=True
        )
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
