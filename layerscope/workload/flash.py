"""A run and its model's configuration in; which parts of the model can run FlashAttention out."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from layerscope.config.optimize import spelling_of
from layerscope.private.generation import class_of, supports_flash
from layerscope.records import RunConfig
from layerscope.workload.optimization import Refused, plan_of

# Part of the model -> its key in transformers' request for an attention implementation.
PARTS = {
    "vision_model": "vision_config",
    "qformer": "qformer_config",
    "language_model": "text_config",
}
FLASH = "flash_attention_2"
_PACKAGE = "flash_attn"


@dataclass(frozen=True)
class FlashVerdict:
    """One part of the model; `refusal` says why it keeps another attention, "" where it runs."""

    part: str
    refusal: str

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
        FlashVerdict(part, _refusal(config, name, supports=supports))
        for part, (name, supports) in _classes(model_config).items()
    )


def why_none(verdicts: tuple[FlashVerdict, ...]) -> str | None:
    """Each part's reason where no part can run it; None where one can."""
    if not all(verdict.refusal for verdict in verdicts):
        return None
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
    return {"": rest} | {PARTS[v.part]: rest if v.refusal else FLASH for v in verdicts}


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


def _classes(model_config: Any) -> dict[str, tuple[str, bool]]:
    """Part -> its class and whether that declares FlashAttention."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.models.instructblip import modeling_instructblip as modeling

    decoder_only = model_config.use_decoder_only_language_model
    auto: Any = AutoModelForCausalLM if decoder_only else AutoModelForSeq2SeqLM
    classes: dict[str, Any] = {
        "vision_model": modeling.InstructBlipVisionModel,
        "qformer": modeling.InstructBlipQFormerModel,
        "language_model": class_of(auto, model_config.text_config),
    }
    return {part: (cls.__name__, supports_flash(cls)) for part, cls in classes.items()}
