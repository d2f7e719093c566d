"""Each bad input to the real command: one clear line, the right exit code, nothing half-written."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.command import layerscope
from support.disks import mounted

from layerscope.records import load
from layerscope.workload.architecture import bundled_folder

Done = subprocess.CompletedProcess[str]
USAGE, ENVIRONMENT, MODEL_OR_DATA = 2, 3, 4
SMALL = (
    "--model", "tiny", "--device", "cpu", "--batch", "1", "--samples", "1", "--warmup", "0",
    "--max-new-tokens", "1", "--quiet",
)  # fmt: skip
PYTHON_TAG = 'model: !!python/object/apply:os.system ["touch {marker}"]\n'


def refused(done: Done, code: int, *parts: str) -> None:
    """It ended with this code and one line on stderr that holds every part; stdout is empty."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("layerscope: ")
    for part in parts:
        assert part in lines[0], lines[0]
    assert done.stdout == ""


def limited(*arguments: str | Path, limit: int, value: int) -> Done:
    """The command under a resource limit.

    A small program sets the limit and becomes the command. `preexec_fn` would fork this process,
    and a library with threads of its own, which other tests load, may abort in the fork.
    """
    become = (
        "import os, resource, sys\n"
        f"resource.setrlimit({limit}, ({value}, {value}))\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    return python("-c", become, "-m", "layerscope", *map(str, arguments))


def python(*arguments: str) -> Done:
    """Python, offline, with one thread."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs started at once into a folder where the names of this minute are taken."""
    out = tmp_path_factory.mktemp("runs")
    now = datetime.now(UTC)
    for second in range(60):
        stamp = (now + timedelta(seconds=second)).strftime("%Y%m%dT%H%M%SZ")
        taken = out / f"{stamp}-tiny-b1-224px-synthetic-textvqa"
        taken.mkdir()
        (taken / "mine").write_text(stamp)
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(layerscope, "profile", *SMALL, "--out", out) for _ in range(2)]
        for future in started:
            assert future.result().returncode == 0, future.result().stderr
    return out


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Path:
    """A copy of a run to damage."""
    return Path(shutil.copytree(next(runs.glob("*-2")), tmp_path / "run"))


# What fails before torch is imported.


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["profile", "--batch", "0"], ["`batch_size` is 0", ">= 1"]),
        (["profile", "--batch", "many"], ["--batch", "'many' is not a valid integer"]),
        (["profile", "--samples", "3", "--batch", "4"], ["3 samples", "--samples 4"]),
        (["profile", "--min-new-tokens", "9", "--max-new-tokens", "2"], ["`min_new_tokens` 9"]),
        (["profile", "--device", "tpu"], ["--device", "'cuda', 'cpu'"]),
        (["profile", "--modle", "tiny"], ["--modle", "--model", "layerscope profile --help"]),
        (["profile", "--quiet", "--json"], ["--quiet and --json", "choose one"]),
        (["profile", "--config", "no/such.yaml"], ["no/such.yaml: no such file"]),
        (["profil"], ["No such command 'profil'"]),
        (["layers"], ["RUN_OR_TRACE", "layerscope layers --help"]),
        (["configs", "--copy", "xxl"], ["xxl: no such file"]),
        (["view", "no/such/folder"], ["no/such/folder: no such folder"]),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    refused(layerscope(*arguments, cwd=tmp_path), USAGE, *parts)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model: tiny\nbatch_sise: 4\n", ["unknown key `batch_sise`", "`batch_size`"]),
        ("batch_size: many\n", ["`batch_size` is 'many'", "`int`"]),
        ("batch_size: [1\nseed: 0\n", [".yaml:2: not plain YAML"]),
        ("- model\n", ["a mapping"]),
        (PYTHON_TAG, [".yaml:1: not plain YAML", "python/object/apply:os.system"]),
    ],
)
def test_a_wrong_configuration(tmp_path: Path, text: str, parts: list[str]) -> None:
    path, marker = tmp_path / "bad.yaml", tmp_path / "ran"
    path.write_text(text.replace("{marker}", str(marker)))
    refused(layerscope("profile", "--config", path, cwd=tmp_path), USAGE, str(path), *parts)
    assert os.listdir(tmp_path) == ["bad.yaml"]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "the file is empty"),
        (b'{"model_type": "instructblip"}', "no `traceEvents`"),
        (b'{"traceEvents": []}', "neither a device event nor a layer range"),
        (b"[1, 2]", "damaged JSON"),
        (b"PAR1 and more", "neither a JSON object nor a list"),
        (gzip.compress(b'{"traceEvents": [' + os.urandom(4096))[:-900], "gzip data ends early"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path: Path, data: bytes | None, part: str) -> None:
    path = tmp_path / "trace.json"
    if data is not None:
        path.write_bytes(data)
    csv = tmp_path / "layers.csv"
    refused(layerscope("layers", path, "--csv", csv), MODEL_OR_DATA, str(path), part)
    assert not csv.exists()


# What needs a finished run.


def test_two_runs_into_one_name_both_survive(runs: Path) -> None:
    made = [path for path in runs.iterdir() if not (path / "mine").exists()]
    assert len(made) == 2
    assert all(re.fullmatch(r".*textvqa-[23]", path.name) for path in made)
    assert {load(path).name for path in made} == {path.name for path in made}
    taken = [path for path in runs.iterdir() if path not in made]
    assert len(taken) == 60
    assert all(os.listdir(path) == ["mine"] for path in taken)


def _cut(trace: bytes) -> bytes:
    return trace[: len(trace) // 2]


def _flip(trace: bytes) -> bytes:
    middle = len(trace) // 2
    return trace[:middle] + bytes(64) + trace[middle + 64 :]


def _cut_inside(trace: bytes) -> bytes:
    return _cut(gzip.decompress(trace))


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        (_cut, "gzip data ends early"),
        (_flip, "damaged"),
        (_cut_inside, "the file ends inside the list of events"),
    ],
)
def test_a_damaged_trace_in_a_run(run: Path, damage: Callable[[bytes], bytes], part: str) -> None:
    trace = run / "trace.json.gz"
    trace.write_bytes(damage(trace.read_bytes()))
    refused(layerscope("layers", run), MODEL_OR_DATA, str(trace), part)


def test_a_run_without_a_trace(run: Path) -> None:
    (run / "trace.json.gz").unlink()
    done = layerscope("layers", run)
    assert done.returncode == 0
    assert "the table is read back from layers.csv" in done.stdout
    (run / "layers.csv").unlink()
    refused(
        layerscope("layers", run), MODEL_OR_DATA, str(run), "neither trace.json.gz nor layers.csv"
    )


def test_a_damaged_record(run: Path) -> None:
    record = run / "run.json"
    whole = record.read_bytes()
    for data in (b"", whole[:2000], b'{"schema_version": 1}', b"[]"):
        record.write_bytes(data)
        refused(layerscope("layers", run), MODEL_OR_DATA, str(record), "not a layerscope run")
    newer = json.loads(whole) | {"schema_version": 999}
    record.write_text(json.dumps(newer))
    refused(layerscope("layers", run), MODEL_OR_DATA, "999", "update layerscope")


@pytest.mark.parametrize(
    ("option", "value", "code", "parts"),
    [
        ("--sort", "cpu_slef_us", USAGE, ["--sort cpu_slef_us", "did you mean cpu_self_us?"]),
        ("--phase", "vison", USAGE, ["--phase vison", "vision"]),
        ("--csv", "no/such/layers.csv", ENVIRONMENT, ["no/such/layers.csv", "cannot write"]),
    ],
)
def test_what_a_run_does_not_have(
    run: Path, option: str, value: str, code: int, parts: list[str]
) -> None:
    refused(layerscope("layers", run, option, value, cwd=run.parent), code, *parts)


# What needs torch to be told.


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("no_cuda")
def test_no_cuda(tmp_path: Path) -> None:
    done = layerscope("profile", *SMALL, "--device", "cuda", "--out", tmp_path / "out")
    refused(done, ENVIRONMENT, "--device cuda", "--device cpu")
    assert os.listdir(tmp_path) == []


def _foreign(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 8}')


def _pickles(folder: Path) -> None:
    shutil.copy(bundled_folder() / "config.json", folder)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")


def _cut_weights(folder: Path) -> None:
    shutil.copy(bundled_folder() / "config.json", folder)
    (folder / "model.safetensors").write_bytes((1 << 20).to_bytes(8, "little") + b'{"a":')


@pytest.mark.parametrize(
    ("fill", "parts"),
    [
        (_foreign, ["config.json", "'bert' is no model that takes images", "layerscope.capture"]),
        (_pickles, ["the weights are pickles (pytorch_model.bin)", "save_pretrained"]),
        (_cut_weights, ["model.safetensors: damaged", "copy or download it again"]),
    ],
)
def test_a_folder_that_holds_no_model_of_ours(
    tmp_path: Path, fill: Callable[[Path], None], parts: list[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    fill(folder)
    done = layerscope(
        "profile", *SMALL, "--model", folder, "--dataset", "synthetic-random",
        "--out", tmp_path / "out",
    )  # fmt: skip
    refused(done, MODEL_OR_DATA, str(folder), *parts)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("options", "code", "parts"),
    [
        (["--image-size", "225"], MODEL_OR_DATA, ["--image-size 225", "14", "224 or 238"]),
        (["--max-input-len", "9999"], MODEL_OR_DATA, ["--max-input-len 9999", "512 or less"]),
        (["--dataset", "textvq"], USAGE, ["--dataset textvq", "nearest is textvqa"]),
        (
            ["--model", "Salesforce/instructblip-flan-t5-xl"],
            ENVIRONMENT,
            ["Three ways on", "--model FOLDER", "--weights random", "--model tiny"],
        ),
    ],
)
def test_what_the_model_data_or_hub_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    code: int,
    parts: list[str],
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty-cache"))
    done = layerscope("profile", *SMALL, *options, "--out", tmp_path / "out")
    refused(done, code, *parts)
    assert not (tmp_path / "out").exists()


def test_a_batch_that_memory_cannot_hold(tmp_path: Path) -> None:
    """300 MiB for the model, the batch and all between them; a batch of 160 needs a multiple.

    Beyond what the imports take: builds of torch differ by more than a gigabyte in that.
    """
    held = (
        "import re, resource, sys\n"
        "import layerscope.passes.profile, transformers.models.instructblip.modeling_instructblip\n"
        "taken = int(re.search(r'VmData:\\s+(\\d+) kB', open('/proc/self/status').read())[1]) << 10\n"
        "limit = taken + (300 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))\n"
        "from layerscope.cli.main import main; main(sys.argv[1:])"
    )
    arguments = (
        "profile", *SMALL, "--dataset", "synthetic-random", "--batch", "160", "--samples", "160",
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    done = python("-c", held, *arguments)
    refused(done, ENVIRONMENT, "in phase vision, in vision_model", "batch 160", "--batch 80")
    assert os.listdir(tmp_path) == []


# Places that cannot be written.


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = layerscope("profile", *SMALL, "--out", tmp_path / "file" / "out")
    refused(done, ENVIRONMENT, "file/out: runs cannot be written there", "--out")
    assert os.listdir(tmp_path) == ["file"]


def test_a_read_only_place(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=16m") as disk:
        done = layerscope("profile", *SMALL, "--out", disk / "out")
        refused(done, ENVIRONMENT, "Read-only file system", "--out")
        assert os.listdir(disk) == []


def test_a_full_disk_is_told_first(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as disk:
        done = layerscope("profile", *SMALL, "--out", disk / "out")
        refused(done, ENVIRONMENT, "MiB free, a run needs more", "--out")
        assert os.listdir(disk) == []


def test_a_disk_that_fills_while_the_record_is_written(tmp_path: Path) -> None:
    done = limited(
        "profile", *SMALL, "--no-trace", "--out", tmp_path / "out",
        limit=resource.RLIMIT_FSIZE, value=4096,
    )  # fmt: skip
    refused(done, ENVIRONMENT, "File too large", "nothing was kept")
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fills_while_the_trace_is_written(tmp_path: Path) -> None:
    done = limited(
        "profile", *SMALL, "--out", tmp_path / "out",
        limit=resource.RLIMIT_FSIZE, value=200_000,
    )  # fmt: skip
    refused(done, ENVIRONMENT, "the trace cannot be written")
    assert os.listdir(tmp_path) == []
