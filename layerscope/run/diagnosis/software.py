"""Installed Python packages in, findings on their versions and on TensorBoard's plugins out."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from types import ModuleType

from layerscope.run.diagnosis.probe import Finding, first_line

# Series that layerscope's tests have run with, and the span that pyproject.toml allows.
TORCH_TRIED = {"CUDA": "2.11", "CPU": "2.13"}
TORCH_LEAST = "2.11"
TRANSFORMERS_TRIED = ("5.17", "5.23")
TRANSFORMERS_LEAST = "5.17"
TRANSFORMERS_BELOW = "6"
PYTHON_LEAST = "3.11"
PLUGIN_GROUP = "tensorboard_plugins"


def python() -> Finding:
    """The interpreter that runs this."""
    return judge_python(platform.python_version(), sys.executable)


def judge_python(version: str, executable: str) -> Finding:
    """Python below the least version would not even parse layerscope's newer syntax."""
    found = f"Python {version} ({executable})"
    if numbers(version) < numbers(PYTHON_LEAST):
        return Finding(status="missing", found=found, remedy=f"use Python {PYTHON_LEAST} or later")
    return Finding(status="ok", found=found)


def torch() -> Finding:
    """torch, imported."""
    imported = _imported("torch")
    if isinstance(imported, Finding):
        return imported
    return judge_torch(str(imported.__version__), imported.version.cuda)


def judge_torch(version: str, cuda: str | None) -> Finding:
    """torch's version against those tried, for a build with CUDA or without."""
    build = "CUDA" if cuda else "CPU"
    found = f"torch {version}, " + (f"built for CUDA {cuda}" if cuda else "built without CUDA")
    if numbers(version) < numbers(TORCH_LEAST):
        return Finding(
            status="limited",
            found=f"{found}; layerscope asks for {TORCH_LEAST} or later",
            remedy=f"pip install 'torch>={TORCH_LEAST}'",
        )
    return _tried("torch", found, version, (TORCH_TRIED[build],), f"with a {build} build")


def transformers() -> Finding:
    """transformers, imported."""
    imported = _imported("transformers")
    if isinstance(imported, Finding):
        return imported
    return judge_transformers(str(imported.__version__))


def judge_transformers(version: str) -> Finding:
    """transformers' version against those tried."""
    found = f"transformers {version}"
    span = f"transformers>={TRANSFORMERS_LEAST},<{TRANSFORMERS_BELOW}"
    if not numbers(TRANSFORMERS_LEAST) <= numbers(version) < numbers(TRANSFORMERS_BELOW):
        return Finding(
            status="limited",
            found=f"{found}; layerscope asks for {span}",
            remedy=f"pip install '{span}'",
        )
    return _tried("transformers", found, version, TRANSFORMERS_TRIED, "")


def package(distribution: str, module: str) -> Finding:
    """A package, imported: what is installed and broken must not pass as present."""
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            status="missing",
            found=f"{distribution} is not installed",
            remedy=f"pip install {distribution}",
        )
    imported = _imported(module, distribution)
    if isinstance(imported, Finding):
        return imported
    return Finding(status="ok", found=f"{distribution} {version}")


def _imported(module: str, distribution: str | None = None) -> ModuleType | Finding:
    """The module, or why it cannot be imported: a broken installation raises whatever it likes (a
    missing CUDA library is an OSError)."""
    name = distribution or module
    try:
        return importlib.import_module(module)
    except Exception as error:
        return Finding(
            status="missing",
            found=f"{name} cannot be imported ({first_line(error)})",
            remedy=f"pip install --force-reinstall {name}",
        )


def plugins(group: str = PLUGIN_GROUP) -> tuple[EntryPoint, ...]:
    """The TensorBoard plugins that installed packages announce."""
    return tuple(importlib.metadata.entry_points(group=group))


def profiler_plugin(announced: Sequence[EntryPoint]) -> Finding:
    """torch-tb-profiler, the "PYTORCH_PROFILER" tab."""
    return _plugin(announced, "torch_tb_profiler", "pip install torch-tb-profiler")


def layerscope_plugin(announced: Sequence[EntryPoint]) -> Finding:
    """layerscope's own tab."""
    if importlib.util.find_spec("layerscope.tensorboard") is None:
        return Finding(
            status="missing",
            found="this version of layerscope has no tab of its own in TensorBoard",
            remedy="none needed: Scalars and Text tabs, layers.csv and `layerscope layers` show "
            "the same numbers",
        )
    return _plugin(
        announced, "layerscope", "install layerscope (pip install .): a bare checkout has no tab"
    )


def _plugin(announced: Sequence[EntryPoint], package: str, remedy: str) -> Finding:
    for entry in announced:
        if entry.value.split(":")[0].split(".")[0] != package:
            continue
        version = entry.dist.version if entry.dist is not None else "of unknown version"
        found = f"{package} {version}, announced as {entry.name!r}"
        try:
            entry.load()
        except Exception as error:  # as in _imported()
            return Finding(
                status="missing",
                found=f"{found}, cannot be loaded ({first_line(error)})",
                remedy=remedy,
            )
        return Finding(status="ok", found=found)
    return Finding(status="missing", found=f"no plugin of {package}", remedy=remedy)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `2.13.0+cpu` -> (2, 13, 0)."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in leading.group().split(".")) if leading else ()


def _tried(what: str, found: str, version: str, tried: tuple[str, ...], where: str) -> Finding:
    series = [numbers(known) for known in tried]
    if numbers(version)[:2] in series:
        return Finding(status="ok", found=f"{found}; layerscope was tried with it")
    known = " and ".join(tried)
    said = f"{found}; {known} {'is' if len(tried) == 1 else 'are'} tried {where}".rstrip()
    return Finding(
        status="unknown",
        found=f"{said}, this one is not",
        remedy=f"if a run fails or does not add up: pip install '{what}=={tried[-1]}.*'",
    )
