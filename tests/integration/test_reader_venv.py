"""A laptop without torch reads a saved run: a fresh virtual environment with the reader's list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What reading a run needs, and nothing more.
READER = ["click", "rich", "msgspec", "numpy", "pyyaml"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built where a compiler would fail."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    without = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false"}
    subprocess.run([*command, str(ROOT)], check=True, timeout=240, env=without)
    (built,) = folder.iterdir()
    return built


def test_the_wheel_is_pure_small_and_licensed(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert wheel.stat().st_size < 20e6
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = (name for name in names if name.endswith("/licenses/LICENSE"))
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dll"))]
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def _python(version: str) -> str:
    """An interpreter of this version: our own, on the path, or pyenv's; skips where there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    if os.environ.get("LAYERSCOPE_ALL_PYTHONS") != "1":
        pytest.skip("LAYERSCOPE_ALL_PYTHONS=1 tries the others, too")
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    found = str(kept[-1]) if kept else shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"no Python {version} here")
    return found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_layers_runs_where_torch_is_not_installed(
    tmp_path: Path, wheel: Path, version: str
) -> None:
    folder = tmp_path / "venv"
    subprocess.run([_python(version), "-m", "venv", str(folder)], check=True, timeout=120)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *READER], check=True, timeout=240)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, timeout=240)
    probe = "import importlib.util as u; assert not u.find_spec('torch')"
    subprocess.run([str(python), "-c", probe], check=True)
    shown = subprocess.run(
        [str(folder / "bin" / "layerscope"), "--help"], capture_output=True, text=True, check=True
    )
    assert "layers" in shown.stdout
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
    # The sample may be older than the columns at the end.
    assert table.read_text().splitlines()[0].startswith(saved[0])
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
