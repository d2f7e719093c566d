"""The bundled model and the XL model's place in the hub cache in, findings out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from layerscope.config.resolve import HUB_MODEL, TINY_MODEL, resolve
from layerscope.core.errors import ModelError
from layerscope.core.units import size_text
from layerscope.run.diagnosis.probe import Finding


def tiny_model() -> Finding:
    """Load the bundled model and its processor on the CPU, as a run does."""
    from layerscope.workload.model import load_model

    config = resolve({"model": TINY_MODEL, "device": "cpu"}, cuda=False).config
    loaded = load_model(config)
    if loaded.processor is None:
        return Finding(
            status="missing",
            found="the bundled model has no processor beside it",
            remedy="reinstall layerscope",
        )
    record = loaded.record
    return Finding(
        status="ok",
        found=f"bundled model and processor loaded: {record.params:,} parameters, {record.weights}",
    )


def xl_in_cache(cache: Path | None = None) -> Finding:
    """Whether the default model lies whole in the local hub cache.

    Args:
        cache: the cache folder; None for huggingface_hub's own.
    """
    from huggingface_hub import try_to_load_from_cache

    from layerscope.workload.checkpoint import CONFIG_FILE, weight_files

    config: Any = try_to_load_from_cache(HUB_MODEL, CONFIG_FILE, cache_dir=cache)
    if not isinstance(config, str):
        return Finding(
            status="missing",
            found=f"{HUB_MODEL} is not in {cache_folder(cache)}",
            remedy=f"hf download {HUB_MODEL} --exclude '*.bin' (about 16 GB), or let the first "
            "run do it",
        )
    folder = Path(config).parent
    try:
        files = weight_files(folder)
    except ModelError as problem:
        return Finding(
            status="limited",
            found=f"only part of {HUB_MODEL} is in the cache: {problem}",
            remedy=f"hf download {HUB_MODEL} --exclude '*.bin' resumes it, as the next run does",
        )
    stored = sum(path.stat().st_size for path in files)
    return Finding(
        status="ok",
        found=f"{HUB_MODEL} at commit {folder.name[:12]}: {len(files)} weight files, "
        f"{size_text(stored, 'GB', 2)}, in {folder}",
    )


def cache_folder(cache: Path | None = None) -> Path:
    """The hub cache that huggingface_hub uses, or the one given."""
    from huggingface_hub import constants

    return cache or Path(constants.HF_HUB_CACHE)
