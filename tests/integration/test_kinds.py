"""Which kind a test file is follows from its text, whichever way it starts a command or runs a model."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kinds import kinds


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from support.command import layerscope\n", {"command"}),
        ('subprocess.run([sys.executable, "-m", "layerscope"])\n', {"command"}),
        ('from support.command import layerscope\nlayerscope("flops")\n', {"command", "models"}),
        ("from support.small_model import small_model\n", {"models"}),
        ("def test() -> None:\n    from transformers import T5Config\n", {"models"}),
        ("from layerscope.workload.model import load_model\n", {"models"}),
        ("from layerscope.trace.columns import read_trace\n", set()),
        ("# transformers is named, nothing more\n", set()),
    ],
)
def test_the_kinds_of_a_file(tmp_path: Path, text: str, found: set[str]) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(text)
    assert kinds(path) == found


def test_the_mark_is_set(request: pytest.FixtureRequest) -> None:
    """This file's text names the ways of starting the command, so it is of that kind itself."""
    assert kinds(Path(__file__)) == {"command"}
    assert "command" in {mark.name for mark in request.node.iter_markers()}
    assert "models" not in {mark.name for mark in request.node.iter_markers()}
