"""`layerscope reproduce` on a sharded checkpoint and Parquet files in the hub's own layouts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.shared import shared

from layerscope.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_gpu_it_says_so_before_it_asks_the_hub(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = CliRunner().invoke(cli, ["reproduce", "--out", str(tmp_path / "r")])
    assert done.exit_code == 1
    assert "need a CUDA GPU" in str(done.exception)
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_a_table_is_run_checked_bundled_and_resumed(tmp_path: Path) -> None:
    processor = shared("processors/instructblip-flan-t5")
    made = [sys.executable, str(ROOT / "scripts/stand_in_hub.py"), str(tmp_path / "hub")]
    subprocess.run(
        [*made, "--processor", str(processor), "--samples", "20", "--shard", "2MB"],
        check=True,
        capture_output=True,
    )
    assert len(list((tmp_path / "hub/model").glob("model-*-of-*.safetensors"))) > 1
    command = [
        sys.executable, "-m", "layerscope", "reproduce", "--device", "cpu", "--samples", "16",
        "--model", str(tmp_path / "hub/model"), "--data-dir", str(tmp_path / "hub/data"),
        "--out", str(tmp_path / "out"), "--table", "device",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True)
    # The table compares a GPU with a CPU: without a GPU one of its rows is a reason.
    assert first.returncode in (0, 3), first.stderr
    again = subprocess.run([*command, "--quiet"], capture_output=True, text=True)
    assert again.returncode == first.returncode
    bundle = zipfile.ZipFile(tmp_path / "out" / "reproduction.zip")
    for line in bundle.read("reproduction/SHA256SUMS").decode().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256(bundle.read(f"reproduction/{name}")).hexdigest() == digest
    page = bundle.read("reproduction/README.md").decode()
    assert "Not known to be the published weights" in page
    said = json.loads(bundle.read("reproduction/reproduction.json"))
    assert said["checks_hold"]
    assert set(said["pins"]["weights_sha256"]) == {
        path.name for path in (tmp_path / "hub/model").glob("*.safetensors")
    }
    rows = list(csv.DictReader(io.StringIO(bundle.read("reproduction/checks.csv").decode())))
    (cpu,) = [row for row in rows if "device=cpu" in row["cell"]]
    assert cpu["difference_ns"] == "0"
    assert cpu["wer_value"] == cpu["wer_jiwer"] != ""
    assert cpu["answers"] == "16"
    assert float(cpu["load_s"]) > 0
