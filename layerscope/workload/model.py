"""From a `RunConfig` to the model that runs: loaded or built, on its device, with its record."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from layerscope.core.errors import EnvironmentProblem, LayerscopeError, ModelError
from layerscope.core.units import GIB, size_text
from layerscope.core.words import one_line
from layerscope.models.image_sizes import first_side
from layerscope.models.readers import reads_text_twice
from layerscope.records import ModelRecord, RunConfig
from layerscope.workload.architecture import (
    Architecture,
    build,
    built_bytes,
    bundled_folder,
    find_architecture,
    model_class,
    read_folder_architecture,
)
from layerscope.workload.checkpoint import (
    has_processor,
    quiet_transformers,
    read_model,
    read_processor,
    weight_files,
)
from layerscope.workload.cuda_device import why_no_cuda
from layerscope.workload.dtype_layout import stored_dtype, torch_dtype
from layerscope.workload.flash import (
    FlashVerdict,
    attention_request,
    flash_verdicts,
    wants_flash,
)
from layerscope.workload.host_memory import host_peak_bytes
from layerscope.workload.hub import Hub, HubModel, is_hub_id, ways_on
from layerscope.workload.module_list import model_record
from layerscope.workload.optimization import Asked, refuse

if TYPE_CHECKING:
    from torch import nn

    from layerscope.core.run_config import Dtype
    from layerscope.workload.architecture import Attention

TINY = "tiny"
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class LoadedModel:
    """The model of a run.

    Attributes:
        model: in eval mode on the run's device.
        processor: turns images and text into its inputs; None when the run has none.
        record: what goes into the run's record.
        choices: what was decided while loading, one line each.
    """

    model: nn.Module
    processor: Any
    record: ModelRecord
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """Where a model comes from; the weights are not read yet."""

    kind: str  # "bundled", "folder", "hub" or "architecture"
    architecture: Architecture
    folder: Path | None = None  # holds the weights, the processor or both
    hub: HubModel | None = None  # the folder holds only config.json so far


def load_model(
    config: RunConfig,
    announce: Callable[[str], None] = lambda line: None,
    *,
    hub: Hub | None = None,
) -> LoadedModel:
    """Load or build the model that the configuration names. What can be refused is refused first.

    Args:
        config: the run.
        announce: takes one line at a time about what is about to happen (a download, its size).
        hub: where hub ids are looked up; None stands for the hub.

    Raises:
        ModelError: the model cannot be loaded, or cannot take the inputs asked for.
        EnvironmentProblem: no CUDA device, too little device memory or disk, no way to the hub.
    """
    began = time.monotonic()
    loaded = _load(config, announce, hub or Hub())
    record = dataclasses.replace(
        loaded.record, load_s=time.monotonic() - began, host_peak_bytes=host_peak_bytes()
    )
    return dataclasses.replace(loaded, record=record)


def checkpoint_dtype(config: RunConfig, hub: Hub | None = None) -> Dtype | None:
    """The half precision that the model's checkpoint is stored in, as its config.json says.

    Raises:
        ModelError, EnvironmentProblem: no such model, or no way to the hub.
    """
    return stored_dtype(_find(config, hub or Hub()).architecture.config)


def _load(config: RunConfig, announce: Callable[[str], None], hub: Hub) -> LoadedModel:
    check_device(config)
    source = _find(config, hub)
    check_inputs(config, source.architecture.config)
    check_memory(config, source.architecture)
    refuse(Asked(config=config, architecture=source.architecture.config))
    verdicts: tuple[FlashVerdict, ...] = ()
    if wants_flash(config):
        verdicts = flash_verdicts(config, source.architecture.config)
    if source.hub is not None:
        source = _fetched(source, source.hub, hub, announce)
    (model, weights, trained), attention = _with_attention(
        attention_request(config, verdicts), lambda asked: _model(config, source, asked)
    )
    return LoadedModel(
        model=model,
        processor=_processor(config, source, hub, announce),
        record=model_record(
            model,
            name=config.model,
            source=source.kind,
            weights=weights,
            trained=trained,
            revision=None if source.hub is None else source.hub.commit,
        ),
        choices=(*(f"flash: {verdict}" for verdict in verdicts), *attention),
    )


def check_device(config: RunConfig) -> None:
    """Refuse `--device cuda` where torch sees no CUDA device.

    Raises:
        EnvironmentProblem: with the reason.
    """
    import torch

    if config.device != "cuda" or torch.cuda.is_available():
        return
    reason = why_no_cuda(torch.cuda, str(torch.__version__), torch.version.cuda)
    if torch.version.cuda is None:
        reason += "; install a CUDA build of torch"
    else:
        reason += "; check the driver with nvidia-smi"
    raise EnvironmentProblem(f"--device cuda: {reason}, or run with --device cpu.")


def check_inputs(config: RunConfig, model_config: Any) -> None:
    """Refuse inputs that the model cannot take, from its configuration alone.

    T5's positions are relative, so its text has no limit of its own; a decoder-only language model
    has `max_position_embeddings`, shared by query tokens, text and new tokens.

    Raises:
        ModelError: the image size, the text length or the number of new tokens does not fit.
    """
    if not reads_text_twice(model_class(model_config)):
        return  # the batches are checked as they are made
    if config.image_size_mode == "model":
        _check_image_size(config.image_size, first_side(model_config.vision_config.patch_size))
    limit = model_config.qformer_config.max_position_embeddings
    if config.max_input_len > limit:
        raise ModelError(
            f"--max-input-len {config.max_input_len}: the Q-Former has positions for {limit} text "
            f"tokens; use {limit} or less."
        )
    positions = getattr(model_config.text_config, "max_position_embeddings", None)
    needed = model_config.num_query_tokens + config.max_input_len + config.max_new_tokens
    if model_config.use_decoder_only_language_model and positions and needed > positions:
        raise ModelError(
            f"--max-input-len {config.max_input_len} and --max-new-tokens {config.max_new_tokens} "
            f"with {model_config.num_query_tokens} query tokens need {needed} positions; the "
            f"language model has {positions}."
        )


def check_memory(config: RunConfig, architecture: Architecture) -> None:
    """Refuse a model whose parameters alone exceed the device's free memory.

    Raises:
        EnvironmentProblem: with both numbers.
    """
    if config.device != "cuda":
        return
    import torch

    needed = _model_bytes(config, architecture)
    if needed > torch.cuda.mem_get_info()[0]:
        raise too_little_memory(config, needed, *torch.cuda.mem_get_info())


def too_little_memory(
    config: RunConfig, needed_bytes: int, free_bytes: int, total_bytes: int
) -> EnvironmentProblem:
    """The refusal of a model that the device cannot hold."""
    return EnvironmentProblem(
        f"{config.model}: its parameters take {size_text(needed_bytes, 'GiB', 2)} in {config.dtype} "
        f"({config.dtype_layout}), the device has {free_bytes / GIB:.2f} of "
        f"{size_text(total_bytes, 'GiB', 2)} free; stop what else uses it, or choose a smaller model "
        "or --dtype."
    )


def _find(config: RunConfig, hub: Hub) -> _Source:
    """What the model is, without its weights. Reads at most one config.json from the hub."""
    name = config.model
    if config.weights == "random":
        folder = bundled_folder() if name == TINY else Path(name).expanduser()
        return _Source(
            kind="architecture",
            architecture=find_architecture(name),
            folder=folder if folder.is_dir() else None,
        )
    if name == TINY:
        return _Source("bundled", find_architecture(name), bundled_folder())
    folder = Path(name).expanduser()
    if folder.is_dir():
        architecture = read_folder_architecture(folder, name=folder.resolve().name)
        weight_files(folder)
        return _Source("folder", architecture, folder)
    if folder.exists():
        raise ModelError(f"{name}: a file; give the folder that holds config.json and the weights.")
    if not is_hub_id(name):
        raise ModelError(
            f"--model {name}: no such folder, and no hub id (owner/name); a shipped architecture "
            f"goes with --weights random, and {TINY!r} is the bundled model."
        )
    located = hub.locate(name, config.revision)
    architecture = read_folder_architecture(hub.fetch_config(located), name=name)
    return _Source("hub", architecture, hub=located)


def _fetched(
    source: _Source, model: HubModel, hub: Hub, announce: Callable[[str], None]
) -> _Source:
    folder = hub.fetch(model, announce)
    if model.cached is not None:
        try:
            weight_files(folder)
        except ModelError as error:
            raise EnvironmentProblem(
                f"{model.repo_id}: the hub is out of reach ({model.reason}) and the local cache "
                f"holds only part of the model ({error}) {ways_on()}"
            ) from error
    return _Source(source.kind, source.architecture, folder, model)


def _with_attention(
    asked: Attention, make: Callable[[Attention], _Made]
) -> tuple[_Made, tuple[str, ...]]:
    """What `make` gives, and a line where the attention asked for is not to be had in every part."""
    try:
        return make(asked), ()
    except ModelError as error:
        # transformers' own words; it has no way to ask beforehand.
        if asked != "sdpa" or "does not support an attention implementation" not in str(error):
            raise
    return make(None), ("attention: as transformers chooses it, because not every part has sdpa",)


def _model(config: RunConfig, source: _Source, attention: Attention) -> tuple[nn.Module, str, bool]:
    """The model, one sentence on its weights, and whether they are trained."""
    import torch

    try:
        if source.kind == "architecture":
            model = _built(config, source, attention)
            return model, f"random, seed {config.seed}, never trained", False
        if source.folder is None:
            raise ModelError(f"{config.model}: no folder with weights.")
        model = read_model(
            source.folder,
            dtype=torch_dtype(config.dtype),
            layout=config.dtype_layout,
            attention=attention,
            device=config.device,
        )
        words = "bundled, trained on synthetic data" if source.kind == "bundled" else "pretrained"
        return model, words, True
    except torch.OutOfMemoryError:
        needed = _model_bytes(config, source.architecture)
        raise too_little_memory(config, needed, *torch.cuda.mem_get_info()) from None
    except (ImportError, ValueError) as error:
        raise _loading_problem(config, error) from error


def _built(config: RunConfig, source: _Source, attention: Attention) -> nn.Module:
    with quiet_transformers():
        return build(
            source.architecture,
            dtype=torch_dtype(config.dtype),
            layout=config.dtype_layout,
            attention=attention,
            device=config.device,
            seed=config.seed,
        )


def _loading_problem(config: RunConfig, error: Exception) -> LayerscopeError:
    """transformers refuses FlashAttention with ImportError (package) or ValueError (device)."""
    text = one_line(error, longest=300)
    if wants_flash(config):
        return EnvironmentProblem(
            f"FlashAttention: not available here ({text}); use --attention sdpa."
        )
    if isinstance(error, ImportError):
        return EnvironmentProblem(f"{config.model}: a package is missing ({text}).")
    return ModelError(f"{config.model}: cannot be loaded ({text}).")


def _processor(
    config: RunConfig, source: _Source, hub: Hub, announce: Callable[[str], None]
) -> Any:
    """The processor the run names, else the one beside the model, else none."""
    if config.processor is None:
        beside = source.folder
        return read_processor(beside) if beside is not None and has_processor(beside) else None
    if config.processor == TINY:
        return read_processor(bundled_folder())
    folder = Path(config.processor).expanduser()
    if not folder.is_dir():
        if not is_hub_id(config.processor):
            raise ModelError(f"--processor {config.processor}: no such folder, and no hub id.")
        folder = hub.fetch(hub.locate(config.processor, None), announce, weights=False)
    return read_processor(folder)


def _model_bytes(config: RunConfig, architecture: Architecture) -> int:
    return built_bytes(architecture, dtype=torch_dtype(config.dtype), layout=config.dtype_layout)


def _check_image_size(size: int, patch: int) -> None:
    if size % patch == 0:
        return
    below, above = size // patch * patch, (size // patch + 1) * patch
    nearest = f"{below} or {above}" if below else f"{above}"
    raise ModelError(
        f"--image-size {size}: not a multiple of the vision patch size {patch}; use {nearest}."
    )
