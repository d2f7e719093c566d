"""The example notebook runs cell by cell, and what its last lines give shows itself."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import layerscope
from layerscope.core.errors import EnvironmentProblem
from layerscope.records import LayerRow

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
SAMPLE = ROOT / "traces" / "sample-tiny-b2"


def shown_by(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; the value of its last line, if that is an expression."""
    body = ast.parse(cell).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return (
        None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    )


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(NOTEBOOK.parent)
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    names: dict[str, Any] = {}
    cells = ["".join(c["source"]) for c in document["cells"] if c["cell_type"] == "code"]
    run, kinds, sums, said, compared = [shown_by(cell, names) for cell in cells]
    html = run._repr_html_()
    assert 'sandbox="allow-scripts"' in html
    assert "vision_model.encoder.layers.*.self_attn" in html
    assert "×6" in kinds._repr_html_()
    whole = run.account.table.whole.host_window_ns
    assert round(sums.sum() * 1000) == whole
    assert said == [finding.sentence for finding in run.findings.seen]
    assert "headline" in compared._repr_html_()
    assert all(not c.get("outputs") for c in document["cells"])  # as it was written


def test_layers_are_the_rows_and_fold_without_loss() -> None:
    run = layerscope.open_run(SAMPLE)
    rows = run.account.table.rows
    assert tuple(run.layers) == rows
    assert (len(run.layers), run.layers[0], run.layers[-1]) == (len(rows), rows[0], rows[-1])
    assert isinstance(run.layers[0], LayerRow)
    assert len(run.layers[2:5]) == 3
    kinds = run.layers.kinds
    assert sum(row.cpu_self_ns or 0 for row in kinds) == sum(row.cpu_self_ns or 0 for row in rows)
    pandas = pytest.importorskip("pandas")
    frame = kinds.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(kinds)
    assert frame.calls.sum() == sum(row.calls for row in rows)


def test_without_polars_it_says_what_to_install() -> None:
    layers = layerscope.open_run(SAMPLE).layers
    try:
        import polars  # noqa: F401
    except ImportError:
        with pytest.raises(EnvironmentProblem, match="pip install pyarrow polars"):
            layers.to_polars()
    else:
        assert layers.to_polars().height == len(layers)


def test_diff_is_what_compare_says() -> None:
    one = layerscope.diff(SAMPLE, layerscope.open_run(SAMPLE))
    layers = one.comparison.layers
    assert layers is not None
    assert (layers.change_ns, layers.unexplained_ns) == (0, 0)
    assert str(one).startswith("base   ")
    assert "minus the change of the whole: 0 ns" in str(one)
