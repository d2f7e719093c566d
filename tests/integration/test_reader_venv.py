"""A laptop without torch reads a saved run: a fresh virtual environment with the reader's list."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What reading a run needs, and nothing more.
READER = ["click", "rich", "msgspec", "numpy", "pyyaml"]


def test_layers_runs_where_torch_is_not_installed(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *READER], check=True, timeout=240)
    subprocess.run([*pip, "--no-deps", str(ROOT)], check=True, timeout=240)
    probe = "import importlib.util as u; assert not u.find_spec('torch')"
    subprocess.run([str(python), "-c", probe], check=True)
    sample = next(ROOT.glob("traces/sample-*"))
    table = tmp_path / "layers.csv"
    done = subprocess.run(
        [str(folder / "bin" / "layerscope"), "layers", str(sample), "--csv", str(table)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "difference 0 ns" in done.stdout
    saved = (sample / "layers.csv").read_text().splitlines()
    assert table.read_text().splitlines()[0] == saved[0]
    # configs/ travel in the wheel.
    listed = subprocess.run(
        [str(folder / "bin" / "layerscope"), "configs"], capture_output=True, text=True, check=True
    )
    assert "models/instructblip-flan-t5-xl" in listed.stdout.split()
    assert sys.prefix != str(folder)
    # So do the tab's page and the report's: a wheel without them would serve an empty tab.
    (installed,) = folder.glob("lib/python*/site-packages/layerscope")
    parts = [p for p in (ROOT / "layerscope").rglob("*") if p.suffix in {".js", ".css", ".html"}]
    assert len(parts) > 20
    for part in parts:
        held = installed / part.relative_to(ROOT / "layerscope")
        assert held.read_bytes() == part.read_bytes(), part
