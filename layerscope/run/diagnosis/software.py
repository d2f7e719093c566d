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

from layerscope.core.files import LAYERS_FILE
from layerscope.core.words import kind_and_first_line
from layerscope.run.diagnosis import tested
from layerscope.run.diagnosis.probe import Finding

PLUGIN_GROUP = "tensorboard_plugins"


def python() -> Finding:
    """The interpreter that runs this."""
    return judge_python(platform.python_version(), sys.executable)


def judge_python(version: str, executable: str) -> Finding:
    """Python below the least version would not even parse layerscope's newer syntax."""
    found = f"Python {version} ({executable})"
    if numbers(version) < numbers(tested.PYTHON_LEAST):
        remedy = f"use Python {tested.PYTHON_LEAST} or later"
        return Finding(status="missing", found=found, remedy=remedy)
    here = _series(version) in tested.PYTHON
    # Not "unknown", which rules profiling out: a newer Python that got this far runs it.
    return Finding(status="ok", found=f"{found}; {_among(here, tested.PYTHON)}")


def torch() -> Finding:
    """torch, imported."""
    imported = _imported("torch")
    if isinstance(imported, Finding):
        return imported
    return judge_torch(
        str(imported.__version__), imported.version.cuda, on_gpu=imported.cuda.is_available()
    )


def judge_torch(version: str, cuda: str | None, *, on_gpu: bool) -> Finding:
    """torch's version against those tested, for a build with CUDA or without, with a GPU or without.

    What was tested on a GPU counts as tested without one.
    """
    build = "CUDA" if cuda else "CPU"
    found = f"torch {version}, " + (f"built for CUDA {cuda}" if cuda else "built without CUDA")
    least = tested.TORCH_LEAST
    if numbers(version) < numbers(least):
        return Finding(
            status="limited",
            found=f"{found}; layerscope asks for {least} or later",
            remedy=f"pip install 'torch>={least}'",
        )
    alike = [t for t in tested.TORCH if t.build == build and (t.on_gpu or not on_gpu)]
    return _judged("torch", found, version, [t.series for t in alike], tested.TORCH)


def transformers() -> Finding:
    """transformers, imported."""
    imported = _imported("transformers")
    if isinstance(imported, Finding):
        return imported
    return judge_transformers(str(imported.__version__))


def judge_transformers(version: str) -> Finding:
    """transformers' version against those tested."""
    found = f"transformers {version}"
    least, below = tested.TRANSFORMERS_LEAST, tested.TRANSFORMERS_BELOW
    span = f"transformers>={least},<{below}"
    if not numbers(least) <= numbers(version) < numbers(below):
        return Finding(
            status="limited",
            found=f"{found}; layerscope asks for {span}",
            remedy=f"pip install '{span}'",
        )
    known = tested.TRANSFORMERS
    return _judged("transformers", found, version, known, known)


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
            found=f"{name} cannot be imported ({kind_and_first_line(error)})",
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
    if importlib.util.find_spec("layerscope.tab") is None:
        return Finding(
            status="missing",
            found="this version of layerscope has no tab of its own in TensorBoard",
            remedy=f"none needed: Scalars and Text tabs, {LAYERS_FILE} and `layerscope layers` show "
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
                found=f"{found}, cannot be loaded ({kind_and_first_line(error)})",
                remedy=remedy,
            )
        return Finding(status="ok", found=found)
    return Finding(status="missing", found=f"no plugin of {package}", remedy=remedy)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `2.13.0+cpu` -> (2, 13, 0)."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in leading.group().split(".")) if leading else ()


def _series(version: str) -> str:
    return ".".join(str(part) for part in numbers(version)[:2])


def _among(here: bool, known: Sequence[object]) -> str:
    *rest, last = map(str, known)
    listed = f"{', '.join(rest)} and {last}"
    return f"tested with {listed}" + ("" if here else "; not with this one")


def _judged(
    what: str, found: str, version: str, alike: Sequence[str], known: Sequence[object]
) -> Finding:
    """`alike` are the series tested under the conditions here, `known` all of them."""
    here = _series(version) in alike
    said = f"{found}; {_among(here, known)}"
    if here:
        return Finding(status="ok", found=said)
    remedy = f"if a run fails or does not add up: pip install '{what}=={alike[-1]}.*'"
    return Finding(status="unknown", found=said, remedy=remedy)
