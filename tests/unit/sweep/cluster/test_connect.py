"""Addresses that lead nowhere: refused at once and in one line, with no Ray involved."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from layerscope.cli.main import run
from layerscope.core.errors import EnvironmentProblem, UsageError
from layerscope.sweep.cluster.connect import check_address, connected


@pytest.mark.parametrize(
    "address", ["ray://host:10001", "host", "host:", ":6379", "host:x", "h:99999"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="--address"):
        check_address(address)


@pytest.mark.parametrize("address", [None, "auto", "local", "10.0.0.1:6379", "[::1]:6379"])
def test_what_is_one_passes(address: str | None) -> None:
    check_address(address)


def nothing_listens() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def enter(address: str | None) -> None:
    ray: Any = None  # must not be reached
    with connected(ray, address):
        raise AssertionError


def test_an_address_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    address = nothing_listens()
    with pytest.raises(EnvironmentProblem, match=f"nothing answers at {address}"):
        enter(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EnvironmentProblem, match=f"nothing answers at {address}"):
        enter(None)


def test_a_cluster_that_was_killed_left_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    for left in (None, nothing_listens(), "nonsense"):
        if left is not None:
            (tmp_path / "ray").mkdir(exist_ok=True)
            (tmp_path / "ray" / "ray_current_cluster").write_text(left)
        with pytest.raises(EnvironmentProblem, match="no Ray cluster runs on this machine"):
            enter("auto")


def test_without_ray_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python itself marks what cannot be imported
    (tmp_path / "s.yaml").write_text("base: {model: tiny, device: cpu, samples: 2, batch_size: 1}")
    code = run(
        ["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--executor", "ray"]
    )
    said = capsys.readouterr().err
    assert code == 3
    assert len(said.splitlines()) == 1
    assert "pip install 'layerscope[ray]'" in said
    assert not (tmp_path / "out").exists()


def test_an_address_belongs_to_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.yaml").write_text("base: {model: tiny, device: cpu, samples: 2, batch_size: 1}")
    assert run(["sweep", str(tmp_path / "s.yaml"), "--address", "auto"]) == 2
    assert "--address: give --executor ray with it." in capsys.readouterr().err
