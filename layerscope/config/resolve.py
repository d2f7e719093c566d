"""What the user said (a YAML file, options) in; a `RunConfig` with every choice made out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from layerscope.config.optimize import KEY, asked_names, with_optimizations
from layerscope.core.errors import UsageError
from layerscope.core.remedy import closed
from layerscope.core.words import did_you_mean, first_line
from layerscope.published.model import PUBLISHED_FAMILY, PUBLISHED_MODEL
from layerscope.records import RunConfig
from layerscope.records.layer_energy import read_choice

HUB_MODEL = PUBLISHED_MODEL
TINY_MODEL = "tiny"
_RANDOM_DATASET = "synthetic-random"


@dataclass(frozen=True)
class Resolved:
    """The run, and one sentence for every choice that layerscope made for the user.

    Attributes:
        spelled: optimization -> the option by which the user asked for it, where that is `--optimize`.
    """

    config: RunConfig
    choices: tuple[str, ...]
    given: frozenset[str] = frozenset()  # the fields that the user set
    spelled: Mapping[str, str] = field(default_factory=dict)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, read with the safe loader.

    Raises:
        UsageError: unreadable, not YAML, or not a mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        what = getattr(error, "problem", None) or first_line(error)
        raise UsageError(f"{path}{line}: not plain YAML ({what}).") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{path}: a mapping of option: value was expected.")
    return found


def check_keys(given: Mapping[str, Any], where: str) -> None:
    """Refuse a key that `RunConfig` does not have, naming the nearest one.

    Raises:
        UsageError: naming the key and where it stands.
    """
    known = [field.name for field in dataclasses.fields(RunConfig)]
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known, f"known keys: {', '.join(known)}.")
            raise UsageError(f"{where}: unknown key `{key}`; {hint}")


def resolve(given: Mapping[str, Any], *, cuda: bool, where: str = "options") -> Resolved:
    """Make every choice that `given` leaves open.

    Args:
        given: field name -> value, the command line already laid over the file.
        cuda: whether this machine has a CUDA device that torch can use.
        where: what to name in an error.

    Raises:
        UsageError: an unknown key, a value of the wrong type or out of range, or a contradiction.
    """
    check_keys(given, where)
    said = {key: value for key, value in given.items() if value is not None}
    theirs = frozenset(said)
    choices: list[str] = []
    if "device" not in said:
        said["device"] = "cuda" if cuda else "cpu"
        choices.append(
            f"device {said['device']}: " + ("CUDA is available" if cuda else "no CUDA device here")
        )
    if "model" not in said:
        said["model"] = HUB_MODEL if said["device"] == "cuda" else TINY_MODEL
        choices.append(
            f"model {said['model']}: "
            + ("the default on CUDA" if said["device"] == "cuda" else _TINY_REASON)
        )
    if "dtype" not in said:
        said["dtype"] = "fp16" if said["device"] == "cuda" else "fp32"
        choices.append(f"dtype {said['dtype']}: the default on {said['device']}")
    if "dataset" not in said:
        said["dataset"], reason = _default_dataset(said)
        choices.append(f"data set {said['dataset']}: {reason}")
    if "images" in said and not theirs & {"image_size", "image_tokens", "image_size_mode"}:
        said["image_size_mode"] = "processor"
        choices.append("image size: each image as the processor sizes it")
    if said.get("weights") == "random" and "min_new_tokens" not in said:
        said["min_new_tokens"] = said.get("max_new_tokens", _default("max_new_tokens"))
    config = _typed(with_optimizations(said, where), where)
    return Resolved(config, tuple(choices), theirs, _spelled(said.get(KEY), where))


def _spelled(given: object, where: str) -> dict[str, str]:
    if given is None:
        return {}
    asked = asked_names(given, where)
    included = {part: f"--{KEY} {name}" for name in asked for part in closed([name])}
    return included | {name: f"--{KEY} {name}" for name in asked}


_TINY_REASON = (
    f"the bundled {PUBLISHED_FAMILY}, because the XL model needs CUDA (choose with --model)"
)


def _default(field: str) -> Any:
    return next(f.default for f in dataclasses.fields(RunConfig) if f.name == field)


def _default_dataset(said: Mapping[str, Any]) -> tuple[str, str]:
    if "images" in said:
        return "images", "your own"
    if said["model"] == TINY_MODEL:
        return "synthetic-textvqa", "needs no network"
    if said.get("weights") == "random" and "processor" not in said:
        return _RANDOM_DATASET, "random weights need no processor and no real text"
    return "textvqa", "the default for a pretrained model"


def _typed(said: Mapping[str, Any], where: str) -> RunConfig:
    try:
        config = msgspec.convert(dict(said), type=RunConfig)
    except msgspec.ValidationError as error:
        # msgspec says "Expected `int` >= 1 - at `$.batch_size`".
        what, _, key = str(error).partition(" - at `$.")
        key = key.rstrip("`")
        raise UsageError(
            f"{where}: `{key}` is {said.get(key)!r}: {what[:1].lower()}{what[1:]}."
        ) from None
    if config.min_new_tokens > config.max_new_tokens:
        raise UsageError(
            f"{where}: `min_new_tokens` {config.min_new_tokens} exceeds `max_new_tokens` "
            f"{config.max_new_tokens}."
        )
    if config.coordinate_descent_tuning and config.optimization not in ("compile", "cudagraphs"):
        raise UsageError(
            f"{where}: `coordinate_descent_tuning` tunes compiled code, and `optimization` is "
            f"{config.optimization}; add --optimization compile or cudagraphs."
        )
    if config.quick and config.energy_per_layer is not None:
        raise UsageError(
            f"{where}: --quick leaves energy out, --energy-per-layer asks for it: choose one."
        )
    if config.energy_per_layer is not None:
        read_choice(config.energy_per_layer)
        if not config.trace:
            raise UsageError(
                f"{where}: energy per layer needs the trace, which says what ran how often; leave "
                "out --no-trace (`trace: false`)."
            )
    if config.images is not None and config.dataset != "images":
        raise UsageError(
            f"{where}: `images` are samples of your own, and `dataset` is {config.dataset}; leave "
            "one of them out."
        )
    if config.samples < config.batch_size:
        raise UsageError(
            f"{where}: {config.samples} samples do not fill one batch of {config.batch_size}; "
            f"give --samples {config.batch_size} or more."
        )
    return config
