"""What transformers keeps to itself: how generate() steps, what classes declare, attentions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from layerscope.core.errors import ModelError
from layerscope.private.features import COMPILING
from layerscope.private.names import (
    TRANSFORMERS,
    Feature,
    PrivateName,
    anything,
    is_function,
    is_of,
    takes,
)

_CUDAGRAPHS = Feature(
    "--optimization cudagraphs",
    "Use --optimization compile or eager, whose loop is generate()'s own.",
)
_MEMORY = Feature(
    "the phase in which memory ran out",
    "The message then says prefill or decode; the layer and what would fit stay.",
)
_FLASH = Feature("--attention flash", "Use --attention sdpa or eager.")
_DTYPES = Feature(
    "--dtype-layout from_pretrained",
    "Use --dtype-layout uniform, or --dtype fp32, where nothing is kept.",
)
_ATTENTION = Feature(
    "the attention that each part runs", "Left out of run.json and the report; the rest stays."
)


def _name(
    module: str,
    path: str,
    what_for: str,
    feature: Feature,
    probe: Callable[[Any], str] = anything,
    sample: Callable[[], object] | None = None,
) -> PrivateName:
    return PrivateName(
        module=module,
        path=path,
        what_for=what_for,
        feature=feature,
        tried=TRANSFORMERS,
        probe=probe,
        sample=sample,
    )


def _small_config() -> Any:
    from transformers import T5Config

    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 16}
    return T5Config(**small, decoder_start_token_id=0)


@cache
def _small_model() -> Any:
    import torch
    from transformers import T5ForConditionalGeneration

    with torch.random.fork_rng(devices=[]):
        return T5ForConditionalGeneration(_small_config()).eval()


@cache
def _in_a_custom_loop() -> dict[str, Any]:
    """What generate() hands to a decoding method of ours, for two tokens of a small model."""
    import torch

    seen: dict[str, Any] = {}

    def loop(_model: Any, input_ids: Any, **given: Any) -> Any:
        seen.update(given)
        return input_ids

    ids = torch.ones(1, 2, dtype=torch.long)
    settings: dict[str, Any] = {"max_new_tokens": 2, "do_sample": False}
    with torch.no_grad():
        _small_model().generate(input_ids=ids, custom_generate=loop, **settings)
    return seen


def _filled_settings() -> object:
    return _in_a_custom_loop()["generation_config"]


def _hands_over(_generate: Any) -> str:
    needed = {"logits_processor", "stopping_criteria", "generation_config"}
    missing = sorted(needed - set(_in_a_custom_loop()))
    return f"it does not hand over {', '.join(missing)}" if missing else ""


def _of_class(model_class: str, attribute: str) -> Callable[[Any], str]:
    """A probe that the constructor of a class gathers what its classes declare."""

    def probe(_value: Any) -> str:
        return "" if hasattr(_small_model(), attribute) else f"{model_class} has none"

    return probe


CUSTOM_LOOP = _name(
    "transformers",
    "GenerationMixin.generate",
    "its custom_generate: what it hands to a decoding method is nowhere promised",
    _CUDAGRAPHS,
    _hands_over,
)
PADDING = _name(
    "transformers",
    "GenerationConfig._pad_token_tensor",
    "the token that follows an end token, on the device",
    _CUDAGRAPHS,
    sample=_filled_settings,
)
NEXT_INPUTS = _name(
    "transformers",
    "GenerationMixin._update_model_kwargs_for_generation",
    "the inputs of the next step from the outputs of this one",
    _CUDAGRAPHS,
    takes("outputs", "model_kwargs", "is_encoder_decoder"),
)
ALLOCATE = _name(
    "transformers",
    "cache_utils.StaticLayer.lazy_initialization",
    "a static cache's tensors before the first step, so that their addresses stay",
    COMPILING,
    takes("self", "key_states", "value_states"),
)
PREFILL = _name(
    "transformers",
    "GenerationMixin._prefill",
    "a range around it, and a frame of this name: the first decoder step runs, not a later one",
    _MEMORY,
    is_function,
)
SUPPORTS_FLASH = _name(
    "transformers",
    "PreTrainedModel._supports_flash_attn",
    "which parts of a model can run FlashAttention",
    _FLASH,
    is_of(bool),
)
KEPT = _name(
    "transformers",
    "PreTrainedModel._keep_in_fp32_modules",
    "what a class keeps in fp32 when fp16 is asked for",
    _DTYPES,
    _of_class("T5ForConditionalGeneration", "_keep_in_fp32_modules"),
)
KEPT_STRICTLY = _name(
    "transformers",
    "PreTrainedModel._keep_in_fp32_modules_strict",
    "what a class keeps in fp32 for bf16, too",
    _DTYPES,
    _of_class("T5ForConditionalGeneration", "_keep_in_fp32_modules_strict"),
)
ATTENTION = _name(
    "transformers",
    "PretrainedConfig._attn_implementation",
    "the attention that a built model's configuration names",
    _ATTENTION,
    is_of(str, type(None)),
    sample=lambda: _small_model().config,
)
OWN_LOOP = (CUSTOM_LOOP, NEXT_INPUTS)
NAMES = (*OWN_LOOP, PADDING, ALLOCATE, PREFILL, SUPPORTS_FLASH, KEPT, KEPT_STRICTLY,
         ATTENTION)  # fmt: skip


def padding_of(generation_config: Any) -> Any:
    """The padding token as a tensor, None where there is none.

    Raises:
        NoSuchName: this version keeps it elsewhere.
    """
    if not hasattr(generation_config, PADDING.attribute):
        raise PADDING.missing()
    return getattr(generation_config, PADDING.attribute)


def next_inputs(model: Any, outputs: Any, given: dict[str, Any], *, encoder_decoder: bool) -> Any:
    """The keyword arguments of the next decoder step. `OWN_LOOP` must be required before."""
    return model._update_model_kwargs_for_generation(
        outputs, given, is_encoder_decoder=encoder_decoder
    )


@cache
def _kept_layer() -> Any:
    from transformers.cache_utils import StaticLayer

    class KeptLayer(StaticLayer):  # type: ignore[misc]
        """A static layer whose tensors outlive a `generate()`: what would make them finds them made."""

        def lazy_initialization(self, key_states: Any, value_states: Any) -> None:
            self.is_initialized = True

    return KeptLayer


def static_layer(grown: Any, length: int) -> Any:
    """A cache layer of a fixed number of positions, like one that has grown; its tensors are made now.

    A layer that keeps a state of one size is static already: it is the layer given.

    Raises:
        ModelError: it keeps its past in another way.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    kind = type(grown)
    if isinstance(grown, DynamicLayer) and not grown.is_initialized:
        return _kept_layer()(max_cache_len=length)  # no layer of the model keeps its past there
    if not isinstance(grown, DynamicLayer) and getattr(grown, "is_compileable", False):
        return grown
    if kind not in (DynamicLayer, DynamicSlidingWindowLayer):
        raise ModelError(f"layers of it keep their past in a {kind.__name__}")
    layer = _kept_layer()(max_cache_len=length)
    ALLOCATE.get()(layer, grown.keys[:, :, :0], grown.values[:, :, :0])
    return layer


def is_kept(layer: Any) -> bool:
    """Whether a cache layer is one of ours."""
    return isinstance(layer, _kept_layer())


def cache_argument(model: Any) -> str:
    """What the model's `forward` calls its cache: `cache` from transformers 5.24 on."""
    modules = (model, *(module for name, module in model.named_modules() if name.count(".") < 2))
    known = (inspect.signature(module.forward).parameters for module in modules)
    return "cache" if any("cache" in names for names in known) else "past_key_values"


def handed_back(output: Any) -> Any:
    """The cache in what a model or its `generate()` gives; None where it gives none."""
    # Whoever asks for the older name is warned.
    found = getattr(output, "cache", None)
    return found if found is not None else getattr(output, "past_key_values", None)


def prefill_function() -> str:
    """The name of the function in which generate() runs its first step; "" where it is not known."""
    return "" if PREFILL.why_not() else PREFILL.attribute


def is_prefill(frame: FrameType) -> bool:
    """Whether a frame is that of the function in which generate() runs its first step."""
    return frame.f_code.co_name == prefill_function()


def calls_prefill(frame: FrameType) -> bool:
    """Whether a frame is that of a decoding method, which runs the first step and then the others."""
    name = prefill_function()
    return bool(name) and name in frame.f_code.co_names and not is_prefill(frame)


def inside_prefill() -> bool:
    """Whether the caller runs in generate()'s own prefill; False where that is not known."""
    frame, name = inspect.currentframe(), prefill_function()
    while name and frame is not None:
        if frame.f_code.co_name == name:
            return True
        frame = frame.f_back
    return False


def supports_flash(model_class: Any) -> bool:
    """Whether a model's class declares FlashAttention.

    Raises:
        NoSuchName: this version declares it otherwise.
    """
    SUPPORTS_FLASH.get()
    return bool(getattr(model_class, SUPPORTS_FLASH.attribute, False))


def kept_in_fp32_names(model: Any, *, strictly: bool) -> set[str]:
    """The patterns of parameter names that a model keeps in fp32 for fp16; strictly: for bf16, too.

    Raises:
        NoSuchName: this version's classes declare it otherwise.
    """
    name = KEPT_STRICTLY if strictly else KEPT
    name.get()
    return set(getattr(model, name.attribute, None) or ())


def attention_of(config: Any) -> str | None:
    """The attention that a part's configuration names; None where it names none."""
    found = getattr(config, ATTENTION.attribute, None)
    return None if found is None else str(found)
