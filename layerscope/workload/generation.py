"""A model and a batch's inputs in, `generate()` as the run's config wants it, and its lengths, out."""

from __future__ import annotations

import dataclasses
import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layerscope.core.errors import ModelError
from layerscope.core.words import first_line
from layerscope.models.readers import has_encoder
from layerscope.records import RunConfig
from layerscope.workload.calls import Calls
from layerscope.workload.greedy_loop import GreedyLoop
from layerscope.workload.optimization import plan_of
from layerscope.workload.out_of_memory import is_out_of_memory, model_out_of_memory
from layerscope.workload.running_part import PartLeft
from layerscope.workload.static_cache import StaticCaches


@dataclass(frozen=True)
class Generated:
    """One `generate()` call's output.

    Attributes:
        tokens: ids as `Generator` returns them, shape (batch, length).
        new_tokens: tokens generated per sample, its end token included. What follows an end token is
            padding; a sample without one never ended, so padding in it was generated, too.
        decoder_steps: steps the decoder ran: counted by the search itself with beams and under CUDA
            graphs, whose loop may run one that gives no token; else the output's length.
    """

    tokens: torch.Tensor
    new_tokens: tuple[int, ...]
    decoder_steps: int


class Generator:
    """Calls `generate()` with the run's settings: greedy, or beams, cache on, no sampling.

    A compiled run has a static cache, so that each decoder step has one shape; transformers' own
    compilation stays off, because layerscope compiles (`workload.compiled`). Under CUDA graphs greedy
    search is layerscope's own loop, which does not wait for the device in each step, in every pass.

    Args:
        only_first: end after the first token; a static cache keeps the length of the whole answer,
            so that nothing is compiled for it alone.
        caches: another generator's, for a compiled run: its graphs know their addresses.
        calls: another generator's, to count on in it.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        config: RunConfig,
        *,
        only_first: bool = False,
        caches: StaticCaches | None = None,
        calls: Calls | None = None,
    ) -> None:
        self._model = model
        self._config = config
        text: Any = model.config.get_text_config(decoder=True)  # type: ignore[operator, union-attr]
        self._encoder_decoder = has_encoder(model)
        self._prompt: _ReturnedPrompt | None = None if self._encoder_decoder else _ReturnedPrompt()
        self._counter: _StepCounter | GreedyLoop | None = None
        self._loop: dict[str, GreedyLoop] = {}
        plan = plan_of(config)
        static = plan.static_cache
        one = dataclasses.replace(config, max_new_tokens=1, min_new_tokens=1)
        self._settings = _settings(one if only_first and not static else config, text.vocab_size)
        if takes_interpolation(model):
            self._settings["interpolate_pos_encoding"] = True
        self._mark_step = plan.cuda_graphs
        self._caches = caches
        self.calls = Calls() if calls is None else calls
        if static:
            # Every step goes through the parts that layerscope compiles; generate() would compile more.
            self._settings["disable_compile"] = True
            self._caches = caches or StaticCaches(model, config.max_new_tokens, self._settings)
            if only_first:
                self._settings["stopping_criteria"] = [_stop_at_once]
        if config.num_beams > 1:
            self._counter = _StepCounter()
            self._settings["logits_processor"] = [self._counter]
        elif plan.host_ahead and not only_first:
            self._counter = self._loop["custom_generate"] = GreedyLoop()

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Token ids, shape (batch, length), an encoder-decoder's start token included, a prompt not.

        Nothing but `generate()` runs here: it is timed.

        Raises:
            EnvironmentProblem: memory is exhausted; it names the phase and a batch that would fit.
            ModelError: the model's own code fails, as where a decoder is deeper than its cache.
        """
        self.calls.count += 1
        if self._counter is not None:
            self._counter.steps = 0
        if self._mark_step:
            # Else the outputs of one call's graphs are overwritten by the next call's.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with self._refusing(inputs):
            try:
                tokens = self._generate(inputs)
            except PartLeft:
                tokens = self._generate(inputs)  # it is eager now, and the cache is emptied again
        return self._answers(tokens, inputs)

    def prepare(self, inputs: Mapping[str, torch.Tensor]) -> bool:
        """Make the static cache of a new shape, outside timed windows; False where none is to be made.

        Raises:
            EnvironmentProblem, ModelError: as a call does.
        """
        if self._caches is None:
            return False
        with self._refusing(inputs):
            return self._caches.make(inputs)

    def _generate(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            tokens: torch.Tensor = self._model.generate(  # type: ignore[operator]
                **inputs,
                **self._settings,
                **self._cache(inputs),
                **self._loop,
            )
        return tokens

    @contextmanager
    def _refusing(self, inputs: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """What the model's code raises inside, in one line."""
        try:
            yield
        except RuntimeError as error:
            if is_out_of_memory(error):
                batch = next(iter(inputs.values())).shape[0]
                raise model_out_of_memory(error, self._model, batch) from None
            if self._caches is None:
                raise
            # Between compiled parts torch raises it of its own: a graph's output that was overwritten.
            raise _refused_by_its_code(error) from error
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise _refused_by_its_code(error) from error

    @property
    def caches(self) -> StaticCaches | None:
        """The static caches of a compiled run; None for an eager one."""
        return self._caches

    def _cache(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        if self._caches is None:
            return {}
        return self._caches.empty(inputs)

    def with_logits(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids as above and the logits behind them, float32 (steps, batch, vocabulary).

        Both on the CPU. By `generate()`'s own greedy search in every mode; not for timed windows.
        """
        self.calls.count += 1
        with torch.no_grad():
            found: Any = self._model.generate(  # type: ignore[operator]
                **inputs,
                **self._settings,
                **self._cache(inputs),
                return_dict_in_generate=True,
                output_logits=True,
            )
        tokens = self._answers(found.sequences, inputs)
        return tokens.cpu(), torch.stack(found.logits).float().cpu()

    def _answers(self, tokens: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A view without the prompt, which `generate()` of a decoder-only model returns too."""
        if self._prompt is None or "input_ids" not in inputs:
            return tokens
        return tokens[:, self._prompt.length(tokens, inputs["input_ids"]) :]

    def describe(self, tokens: torch.Tensor) -> Generated:
        """Count what was generated. Copies the ids to the host, so call it outside timed windows."""
        ids = tokens.cpu()
        generated = ids[:, 1:] if self._encoder_decoder else ids
        floor = min(self._config.min_new_tokens, int(generated.shape[1]))
        ends = _end_tokens(self._model)
        lengths = tuple(max(floor, _length(row, ends)) for row in generated)
        steps = int(generated.shape[1]) if self._counter is None else self._counter.steps
        return Generated(tokens=ids, new_tokens=lengths, decoder_steps=steps)


def takes_interpolation(model: torch.nn.Module) -> bool:
    """Whether the model interpolates its positions for images of other sizes, where it is told to."""
    names = ("forward", "generate")
    return any(
        "interpolate_pos_encoding" in inspect.signature(getattr(model, name)).parameters
        for name in names
    )


class _ReturnedPrompt:
    """How much of a prompt `generate()` returns before the answer: found out at its first call."""

    def __init__(self) -> None:
        self._left_out: int | None = None  # tokens of the prompt that do not come back

    def length(self, tokens: torch.Tensor, prompt: torch.Tensor) -> int:
        """Tokens to cut off at the front of `tokens`."""
        whole = int(prompt.shape[1])
        if self._left_out is None:
            # BLIP's returns the prompt less its last token; some models', which go on from embeddings,
            # none of it.
            self._left_out = next(
                (n for n in (0, 1) if _begins_with(tokens, prompt[:, : whole - n])), whole
            )
        return whole - self._left_out


def _begins_with(tokens: torch.Tensor, start: torch.Tensor) -> bool:
    length = start.shape[1]
    return tokens.shape[1] > length and bool((tokens[:, :length] == start).all())


def _settings(config: RunConfig, vocabulary: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "max_new_tokens": config.max_new_tokens,
        "num_beams": config.num_beams,
        "do_sample": False,
    }
    if config.min_new_tokens == config.max_new_tokens:
        # An end token outside the vocabulary is looked for at every step, as in a real run, and
        # never found. `min_new_tokens` would add a logits processor's kernels to every step.
        settings["eos_token_id"] = vocabulary
    else:
        settings["min_new_tokens"] = config.min_new_tokens
    return settings


def _end_tokens(model: Any) -> frozenset[int]:
    """The ids that end an answer for `generate()`: its own configuration's, else the text's."""
    for config in (getattr(model, "generation_config", None), model.config.get_text_config()):
        found = getattr(config, "eos_token_id", None)
        if found is not None:
            return frozenset(found if isinstance(found, list) else [found])
    return frozenset()


def _stop_at_once(input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
    """A stopping criterion: every sample ends with the token it has just got."""
    return torch.ones(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class _StepCounter:
    """A logits processor that changes nothing: beam search drops tokens, so lengths tell no steps."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        return scores


def _length(row: torch.Tensor, ends: frozenset[int]) -> int:
    """Tokens up to and with the first end token; all of them where none is.

    Untrained weights may generate an end token where it does not end them: the forced minimum is
    the caller's floor.
    """
    ids = row.tolist()
    return next((at + 1 for at, token in enumerate(ids) if token in ends), len(ids))


def _refused_by_its_code(error: Exception) -> ModelError:
    """One line with the place at which it failed."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    why = first_line(error, silent="no message", longest=None)
    return ModelError(
        f"the model's own generate() fails ({type(error).__name__}: {why}, in {last.name}() at "
        f"{Path(last.filename).name}:{last.lineno}): check its "
        "configuration, or try another version of transformers."
    )
