"""From a model folder in the hub's layout to a loaded model: safetensors only, never its code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError
from layerscope.core.run_config import DtypeLayout
from layerscope.core.words import one_line
from layerscope.workload.dtype_layout import apply_dtypes, parameter_dtypes

if TYPE_CHECKING:
    import torch
    from torch import nn

    from layerscope.workload.architecture import Attention

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of the model, each one there and with a whole header.

    Raises:
        ModelError: no weights, pickles only, shards missing, or a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    files = _listed_files(folder)
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} of {len(files)} weight files are missing (first: "
            f"{missing[0]}); copy or download them again."
        )
    for path in files:
        try:
            # The header alone: a truncated file, or a Git LFS pointer, shows here and by name.
            with safe_open(path, framework="numpy"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path}: damaged or no safetensors file ({error}); copy or download it again."
            ) from None
    return files


def read_model(
    folder: Path,
    *,
    dtype: torch.dtype,
    layout: DtypeLayout,
    attention: Attention,
    device: str,
) -> nn.Module:
    """The model in the folder, through `from_pretrained`, in eval mode on `device`.

    Raises:
        ModelError: the weights do not fit the configuration or cannot be read.
        torch.OutOfMemoryError: the device is too small.
        ImportError, ValueError: the attention asked for is not to be had.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    cls: Any = AutoModelForImageTextToText
    weight_files(folder)
    with quiet_transformers():
        try:
            model, info = cls.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,  # else transformers asks at the terminal
                output_loading_info=True,
            )
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, OSError) as error:
            raise ModelError(
                f"{folder}: cannot be loaded ({one_line(error, longest=300)})."
            ) from error
    absent = sorted(info["missing_keys"])
    if absent:
        # transformers would fill them with random numbers and go on.
        raise ModelError(
            f"{folder}: the weights lack {len(absent)} parameters of the model (first: "
            f"{absent[0]}); they belong to another configuration or were cut."
        )
    if layout == "uniform":
        apply_dtypes(model, parameter_dtypes(model, dtype, layout))
    loaded: nn.Module = model.to(device).eval()
    return loaded


def has_processor(folder: Path) -> bool:
    """Whether the folder holds a processor beside (or without) a model."""
    return any((folder / name).is_file() for name in _PROCESSOR_FILES)


def read_processor(folder: Path) -> Any:
    """The processor (image processor and tokenizers) in the folder, as its files name it.

    Raises:
        ModelError: none is there, or it cannot be read.
    """
    from transformers import AutoProcessor

    if not has_processor(folder):
        raise ModelError(
            f"{folder}: no processor in it (processor_config.json, tokenizer.json, "
            "qformer_tokenizer/); give one with --processor, or use --dataset synthetic-random, "
            "which needs none."
        )
    with quiet_transformers():
        try:
            auto: Any = AutoProcessor
            processor = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, TypeError, AttributeError, ImportError) as error:
            raise ModelError(
                f"{folder}: the processor cannot be loaded ({one_line(error, longest=300)})."
            ) from error
    if not hasattr(processor, "image_processor") or not hasattr(processor, "tokenizer"):
        raise ModelError(
            f"{folder}: {type(processor).__name__} is no processor of images and text; its "
            "processor_config.json names none."
        )
    return processor


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' advice and progress bars: a run has its own.

    What it warns of (missing keys, tied weights) is checked and said by layerscope itself.
    """
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _listed_files(folder: Path) -> tuple[Path, ...]:
    if (folder / WEIGHTS_FILE).is_file():
        return (folder / WEIGHTS_FILE,)
    index = folder / INDEX_FILE
    if index.is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{index}: not an index of weight files ({error!r}).") from None
        for name in names:
            if not isinstance(name, str) or Path(name).name != name:
                raise ModelError(f"{index}: names a file outside the folder ({name!r}).")
        return tuple(folder / name for name in sorted(names))
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"{folder}: the weights are pickles ({pickles[0]}), which can run code when loaded; "
            'convert them where you trust their source: python -c "from transformers import '
            f"AutoModelForImageTextToText as M; M.from_pretrained('{folder}')"
            ".save_pretrained('NEW_FOLDER')\""
        )
    raise ModelError(
        f"{folder}: no weights in it ({WEIGHTS_FILE}); --weights random builds its architecture "
        "with random weights."
    )
