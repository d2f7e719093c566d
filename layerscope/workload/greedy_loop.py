"""Greedy search whose host runs ahead of the device: `generate()`'s own loop reads a flag each step.

transformers ends its loop on `bool(unfinished.max() == 0)`, which waits until the device has finished
the step; only then does the host prepare and launch the next one, and the device is idle meanwhile.
Eagerly that is hidden, because launching a step takes longer than running it. With CUDA graphs a step
is launched in less time than it runs, so that the wait is what the device's idle time is made of.
Here the flag is copied to the host behind the step and read after the next one was launched: when
end tokens end a batch, one step more than needed has run and its token is dropped; when the length
limit ends it, which the host knows by itself, none.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch

from layerscope.private.generation import OWN_LOOP, next_inputs, padding_of
from layerscope.private.names import require


class GreedyLoop:
    """For `generate(custom_generate=...)`: the tokens of its own greedy search, from an empty cache.

    Attributes:
        steps: calls of the decoder in the last `generate()`, a dropped one included.
    """

    def __init__(self) -> None:
        require(OWN_LOOP)
        self.steps = 0
        self._flags: dict[torch.device, _LateFlag] = {}

    def __call__(
        self,
        model: Any,
        input_ids: torch.Tensor,
        *,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> torch.Tensor:
        """Token ids, shape (batch, length), as `generate()` returns them.

        The parameters are those that transformers calls a decoding method with (5.17 and 5.24 alike);
        the cache goes from call to call in `model_kwargs` under whatever name the version gives it.
        """
        assert not generation_config.do_sample
        assert not generation_config.return_dict_in_generate
        encoder_decoder = bool(model.config.is_encoder_decoder)
        limit: int | None = stopping_criteria.max_length
        pads = any(hasattr(criterion, "eos_token_id") for criterion in stopping_criteria)
        pad: torch.Tensor | None = padding_of(generation_config)
        ended = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        all_ended = self._flag(input_ids.device)
        self.steps = 0
        ids = input_ids
        # Without `next_sequence_length` nothing is cut off: the cache is empty. transformers asks the
        # cache for its length instead, which for a static one is a number on the device.
        inputs = model.prepare_inputs_for_generation(ids, is_first_iteration=True, **model_kwargs)
        while True:
            outputs = model(**inputs, return_dict=True)
            self.steps += 1
            model_kwargs = next_inputs(
                model, outputs, model_kwargs, encoder_decoder=encoder_decoder
            )
            # A copy, for the next replay of the graph overwrites its outputs. No reference to them
            # is kept: a graph is captured for one set of outputs alive before it.
            logits = outputs.logits[:, -1].to(torch.float32, copy=True)
            del outputs
            tokens = logits_processor(ids, logits).argmax(dim=-1)
            if pads:
                assert pad is not None  # generate() takes the end token where none is set
                tokens = torch.where(ended, pad, tokens)
            ids = torch.cat([ids, tokens[:, None]], dim=-1)
            ended = ended | stopping_criteria(ids, None)
            all_ended.put(ended.all())
            # Asked first: the samples may have ended just before the step that reaches the limit.
            if all_ended.one_step_ago():
                return ids[:, :-1]
            if limit is not None and ids.shape[1] >= limit:
                return ids
            # Without a cache each step reads all that there is.
            new = 1 if model_kwargs.get("use_cache", True) else None
            inputs = model.prepare_inputs_for_generation(
                ids, next_sequence_length=new, **model_kwargs
            )

    def _flag(self, device: torch.device) -> _LateFlag:
        """The device's flag, no step noted: pinned memory is made once, not in timed windows."""
        if device not in self._flags:
            self._flags[device] = _LateFlag(device)
        self._flags[device].start()
        return self._flags[device]


class _LateFlag:
    """A yes or no of each step on the device in, that of the step before on the host out.

    Two slots suffice: a slot is read before the step after next writes it.
    """

    def __init__(self, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self._slots = [
            (torch.zeros((), dtype=torch.bool, pin_memory=pinned), new_event(device))
            for _ in range(2)
        ]
        self._steps = 0

    def start(self) -> None:
        """A new batch: its first step has none before it."""
        self._steps = 0

    def put(self, flag: torch.Tensor) -> None:
        """Queue the copy of this step's flag to the host; nothing is waited for."""
        slot, copied = self._slots[self._steps % 2]
        slot.copy_(flag, non_blocking=True)
        copied.record()
        self._steps += 1

    def one_step_ago(self) -> bool:
        """The flag put before the last one; waits for that step, while the device runs the last."""
        if self._steps < 2:
            return False
        slot, copied = self._slots[self._steps % 2]
        copied.synchronize()
        return bool(slot)


class _Event(Protocol):
    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class _Done:
    """A copy on the CPU is done when `copy_` returns."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


def new_event(device: torch.device) -> _Event:
    """An event of the device's current stream."""
    if device.type != "cuda":
        return _Done()
    return torch.cuda.Event()  # type: ignore[no-untyped-call]
