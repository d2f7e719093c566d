"""A run and its model's configuration in; which parts of the model can run FlashAttention out."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.config.optimize import spelling_of
from layerscope.core.roles import decoders
from layerscope.models.roles import roles_of
from layerscope.private.generation import supports_flash
from layerscope.records import RunConfig
from layerscope.workload.architecture import without_weights
from layerscope.workload.optimization import Refused, plan_of

if TYPE_CHECKING:
    from torch import nn

FLASH = "flash_attention_2"
_PACKAGE = "flash_attn"


@dataclass(frozen=True)
class FlashVerdict:
    """One part of the model.

    Attributes:
        part: its FQN.
        refusal: why it keeps another attention, "" where it runs.
        key: its name in what is asked of transformers.
    """

    part: str
    refusal: str
    key: str

    def __str__(self) -> str:
        return f"{self.part}: {self.refusal or 'runs ' + FLASH}"


def wants_flash(config: RunConfig) -> bool:
    """Whether FlashAttention was asked for, by any option."""
    return plan_of(config).attention == FLASH


def flash_verdicts(config: RunConfig, model_config: Any) -> tuple[FlashVerdict, ...]:
    """Each part's verdict, from what its class declares, the run's dtype and device, the packages.

    Raises:
        Refused: no part can run it; it says why for each.
    """
    found = judged(config, model_config)
    why = why_none(found)
    if why is not None:
        raise Refused(f"{spelling_of(config, 'flash')}: {why}", name="flash", why=why)
    return found


def judged(config: RunConfig, model_config: Any) -> tuple[FlashVerdict, ...]:
    """The same, where none may be able to."""
    return tuple(
        FlashVerdict(fqn, _refusal(config, cls.__name__, supports=supports_flash(cls)), key)
        for fqn, key, cls in _attending(without_weights(model_config))
    )


def why_none(verdicts: tuple[FlashVerdict, ...]) -> str | None:
    """Each part's reason where no part can run it; None where one can."""
    if not all(verdict.refusal for verdict in verdicts):
        return None
    if not verdicts:
        return "the model has no part of which transformers says what attention it runs."
    return (
        f"no part of the model can run FlashAttention: {'; '.join(map(str, verdicts))}. Use "
        "--attention sdpa: it picks a fused kernel by itself where one fits."
    )


def attention_request(
    config: RunConfig, verdicts: tuple[FlashVerdict, ...] = ()
) -> str | dict[str, str]:
    """What to ask transformers for: one name, or one for each part of the model."""
    planned = plan_of(config).attention
    rest = "sdpa" if config.attention == "flash" else config.attention
    if planned not in ("", FLASH):
        return planned
    if not verdicts:
        return rest
    return {"": rest} | {v.key: rest if v.refusal else FLASH for v in verdicts}


def _refusal(config: RunConfig, name: str, *, supports: bool) -> str:
    if not supports and name.startswith(("T5", "MT5")):
        return f"{name} adds a position bias to the scores, which FlashAttention-2 does not take"
    if not supports:
        return f"{name} declares no FlashAttention"
    if config.dtype not in ("fp16", "bf16"):
        return f"FlashAttention-2 needs fp16 or bf16, the run is in {config.dtype}"
    if config.device != "cuda":
        return f"FlashAttention-2 needs a CUDA device, the run is on the {config.device}"
    if importlib.util.find_spec(_PACKAGE) is None:
        return "the package flash-attn is not installed"
    return ""


def _attending(model: nn.Module) -> Iterator[tuple[str, str, type]]:
    """FQN, key in the request and class of each part with a configuration of its own, the outermost."""
    config: Any = model.config
    kinds = {type(part): key for key in config.sub_configs if (part := getattr(config, key, None))}
    found: set[str] = set()
    for fqn, module in model.named_modules():
        # A part with the whole model's configuration is only around the parts, or is the decoder.
        kind = type(getattr(module, "config", None))
        if fqn and kind in kinds and kinds[kind] not in found:
            found.add(kinds[kind])
            yield fqn, kinds[kind], type(module)
    for fqn in decoders(roles_of(model)):
        module = model.get_submodule(fqn)
        if getattr(module, "config", None) is config:
            yield fqn, "", type(module)
