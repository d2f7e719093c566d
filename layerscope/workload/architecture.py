"""From an architecture (YAML file, config.json or shipped name) to a model of random weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.core.errors import ModelError
from layerscope.core.run_config import DtypeLayout
from layerscope.core.shipped import shipped_config, shipped_names
from layerscope.core.words import did_you_mean, one_line
from layerscope.workload.checkpoint import CONFIG_FILE
from layerscope.workload.dtype_layout import apply_dtypes, layout_bytes, parameter_dtypes

if TYPE_CHECKING:
    import torch
    from torch import nn

# What is asked of transformers: one name, one for each part of the model, or None, its own choice.
Attention = str | dict[str, str] | None
_SHIPPED_KIND = "models"
# Below this a weight drawn in fp16 is zero; transformers' default for the vision tower is 1e-10.
_LEAST_INIT_STD = 1e-4
_INIT_STD = 0.02
# Keys of config.json that transformers reads but that are no fields of its config classes.
_KEYS_BESIDE_FIELDS = frozenset(
    {
        "model_type",
        "tie_word_embeddings",
        "decoder_start_token_id",
        "bos_token_id",
        "vision_use_head",  # in newer versions a field
    }
)


@dataclass(frozen=True)
class Architecture:
    """A vision-language model without weights.

    Attributes:
        name: what the user calls it.
        config: transformers' configuration. Read it, don't change it.
        separate_head: the checkpoint holds an output head of its own. transformers 5 ties some heads
            whatever the config says and unties them only when it reads a checkpoint that has both.
    """

    name: str
    config: Any  # each model type has a class of its own
    separate_head: bool


def bundled_folder() -> Path:
    """The folder of the tiny model inside the package."""
    return Path(__file__).parent / "tiny"


def find_architecture(model: str) -> Architecture:
    """The architecture that `--model` names: `tiny`, a folder, a YAML file or a shipped name.

    A hub id whose last part is a shipped name counts as that name.

    Raises:
        ModelError: it names none of these, or what it names is no vision-language model.
    """
    if model == "tiny":
        return read_folder_architecture(bundled_folder(), name=model)
    path = Path(model).expanduser()
    if path.is_dir():
        return read_folder_architecture(path, name=path.resolve().name)
    if path.suffix in (".yaml", ".yml"):
        return read_yaml_architecture(path)
    return read_yaml_architecture(_shipped(model.rsplit("/", 1)[-1].lower(), model))


def read_folder_architecture(folder: Path, *, name: str) -> Architecture:
    """The architecture of a model folder, from its config.json.

    Raises:
        ModelError: no config.json, not JSON, or of another model type.
    """
    path = folder / CONFIG_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{folder}: no {CONFIG_FILE} in it; give the folder of a model in the hub's layout."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}).") from None
    return _architecture(raw, name=name, where=str(path))


def read_yaml_architecture(path: Path) -> Architecture:
    """The architecture in a YAML file with config.json's keys; an unknown key is an error.

    Raises:
        ModelError: no such file, not YAML, an unknown key, or of another model type.
    """
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not YAML ({one_line(error)}).") from None
    architecture = _architecture(raw, name=path.stem, where=str(path))
    _refuse_unknown_keys(raw, architecture.config, str(path))
    return architecture


def model_class(config: Any) -> type[nn.Module]:
    """The class that `AutoModelForImageTextToText` makes of a configuration."""
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    known: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    found: type[nn.Module] = known[0] if isinstance(known, tuple) else known
    return found


def without_weights(config: Any) -> nn.Module:
    """A configuration's model on the meta device, which holds no numbers: its modules and classes.

    Raises:
        ModelError: it cannot be built, as where a package is missing that it needs.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    auto: Any = AutoModelForImageTextToText
    try:
        with torch.device("meta"):  # every model has this attention
            model: nn.Module = auto.from_config(copy.deepcopy(config), attn_implementation="eager")
    except Exception as error:  # whatever a model's own code raises at a configuration
        kind = getattr(config, "model_type", type(config).__name__)
        raise ModelError(
            f"model_type {kind!r}: transformers cannot build it ({one_line(error, longest=300)})."
        ) from error
    return model


def build(
    architecture: Architecture,
    *,
    dtype: torch.dtype,
    layout: DtypeLayout,
    attention: Attention,
    device: str,
    seed: int,
) -> nn.Module:
    """The architecture with random weights, built on `device` in eval mode.

    The weights are drawn by the model's own initialisation, query tokens (which it sets to zero) and
    a vision tower that would be all zeros with a standard deviation of 0.02. The same seed, device
    and dtype give the same weights; the caller's random state is left as it was.
    """
    import torch
    from transformers.initialization import no_init_weights

    devices = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        # Without no_init_weights every weight would be drawn twice, once of them in vain.
        with torch.device(device), no_init_weights():
            model = _construct(architecture, dtype, attention)
        apply_dtypes(model, parameter_dtypes(model, dtype, layout))
        with torch.device(device), torch.no_grad():
            model.initialize_weights()
            if hasattr(model, "query_tokens"):
                model.query_tokens.normal_(std=_INIT_STD)
    built: nn.Module = model.eval()
    return built


def built_bytes(architecture: Architecture, *, dtype: torch.dtype, layout: DtypeLayout) -> int:
    """Bytes of the parameters that `build` would allocate, without allocating them."""
    import torch

    with torch.device("meta"):
        model = _construct(architecture, dtype, "eager")  # every model has it
    return layout_bytes(model, parameter_dtypes(model, dtype, layout))


def _construct(architecture: Architecture, dtype: torch.dtype, attention: Attention) -> Any:
    """The model with uninitialised weights, on the device that the caller's context sets."""
    from torch import empty_like, nn
    from transformers import AutoModelForImageTextToText

    auto: Any = AutoModelForImageTextToText
    config = copy.deepcopy(architecture.config)
    vision: Any = getattr(config, "vision_config", None)
    if getattr(vision, "initializer_range", _INIT_STD) < _LEAST_INIT_STD:
        vision.initializer_range = _INIT_STD
    model = auto.from_config(config, dtype=dtype, attn_implementation=attention)
    model.tie_weights()
    head = model.get_output_embeddings()
    if architecture.separate_head and head is not None:
        head.weight = nn.Parameter(empty_like(head.weight))
        for name, module in model.named_modules():
            if module is head:
                # Else save_pretrained would leave the head out.
                model.all_tied_weights_keys.pop(f"{name}.weight", None)
    return model


def _architecture(raw: object, *, name: str, where: str) -> Architecture:
    if not isinstance(raw, dict):
        raise ModelError(f"{where}: holds no model configuration.")
    if "model_type" not in raw:
        raise ModelError(f"{where}: no model_type in it, so it is no transformers configuration.")
    config_class = _config_class(str(raw["model_type"]), where)
    try:
        config = config_class.from_dict(copy.deepcopy(raw))
    except Exception as error:  # transformers' strict configs raise their own unrelated types
        raise ModelError(f"{where}: {one_line(error)}") from None
    text = raw.get("text_config")
    tied = text.get("tie_word_embeddings") if isinstance(text, dict) else None
    if tied is None:
        tied = raw.get("tie_word_embeddings")
    return Architecture(name=name, config=config, separate_head=tied is False)


def _config_class(model_type: str, where: str) -> Any:
    """The configuration class of a vision-language model that transformers itself holds.

    Raises:
        ModelError: transformers has no such model, or it is none that answers about images.
    """
    from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    if model_type not in CONFIG_MAPPING:
        hint = did_you_mean(model_type, sorted(CONFIG_MAPPING.keys()), quote="'")
        raise ModelError(
            f"{where}: transformers has no model_type {model_type!r}, and layerscope runs no code "
            f"of a model's own{'; ' + hint if hint else '.'}"
        )
    config_class: Any = CONFIG_MAPPING[model_type]
    if config_class not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ModelError(
            f"{where}: model_type {model_type!r} is no model that takes images and text and generates "
            "(AutoModelForImageTextToText does not know it); for another model use layerscope.capture."
        )
    return config_class


def _refuse_unknown_keys(raw: Mapping[str, Any], config: Any, where: str) -> None:
    """transformers keeps an unknown key in silence, so a misspelt one would change nothing."""
    for section, part in (
        ("", config),
        *((key, getattr(config, key)) for key in config.sub_configs),
    ):
        known = {field.name for field in fields(part)} | set(part.attribute_map)
        known |= _KEYS_BESIDE_FIELDS
        for key in raw if not section else raw.get(section) or {}:
            if key not in known:
                full = f"{section}.{key}" if section else key
                raise ModelError(f"{where}: unknown key {full!r}{_nearest(key, known)}")


def _nearest(key: str, known: Iterable[str]) -> str:
    hint = did_you_mean(key, sorted(known), quote="'")
    return f"; {hint}" if hint else "."


def _shipped(name: str, model: str) -> Path:
    known = shipped_names(_SHIPPED_KIND)
    if name not in known:
        raise ModelError(
            f"--weights random: no architecture {model!r}; give a folder with {CONFIG_FILE}, a "
            f"YAML file, or one of: tiny, {', '.join(known)}."
        )
    return shipped_config(_SHIPPED_KIND, name)
