"""The profiler session writes Kineto's own trace, and nothing on the terminal."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
import torch

from layerscope.core.errors import EnvironmentProblem
from layerscope.instrument.profiler import ProfilerSession


def test_gzipped_and_plain_exports_hold_the_same_trace(tmp_path: Path) -> None:
    with ProfilerSession(cuda=False) as session:
        torch.ones(3).add(1)
    session.export(tmp_path / "t.json.gz")
    document = json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))
    assert "aten::add" in {event["name"] for event in document["traceEvents"]}
    assert os.listdir(tmp_path) == ["t.json.gz"]


def test_an_unwritable_place_is_one_line(tmp_path: Path) -> None:
    with ProfilerSession(cuda=False) as session:
        torch.ones(1)
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        session.export(tmp_path / "missing" / "t.json.gz")


def test_a_session_writes_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ProfilerSession(cuda=False) as session:
        torch.ones(1)
    session.export(tmp_path / "t.json")
    assert capfd.readouterr().err == ""
