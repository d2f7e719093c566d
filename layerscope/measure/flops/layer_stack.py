"""Which layer, in which phase and decoder step, is running: a stack fed by guarded module hooks.

Goes in: a model and the name of the root row. Comes out: at any moment of a run, the `Frame` that
executed work belongs to. The hooks are gone when `attached()` ends, whatever happened inside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from layerscope.core.instructblip import is_instructblip, static_phase_of, step_of
from layerscope.core.vocabulary import PHASE_FORWARD

if TYPE_CHECKING:
    import torch

    from layerscope.measure.flops.memory import MemoryMeter


@dataclass(slots=True, eq=False)
class Frame:
    """One running call of a module, or the root around them all."""

    layer: str
    phase: str
    part: str
    step: int
    module: Any  # the module object called: the token that its frame is popped by; None: the root
    memory_peak: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """(layer, phase)."""
        return self.layer, self.phase


class LayerStack:
    """The running calls, outermost first. Modules keep the FQN of `named_modules()`."""

    def __init__(self, model: torch.nn.Module, root: str, meter: MemoryMeter) -> None:
        self._fqns = {module: fqn for fqn, module in model.named_modules()}
        self._known_model = is_instructblip(self._fqns.values())
        self._meter = meter
        self._root = root
        self.frames: list[Frame] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.memory_peaks: dict[tuple[str, str], int] = {}
        self.decoder_steps = 0
        self._model_calls = 0

    @property
    def top(self) -> Frame:
        """The call running now; the root when no module runs."""
        return self.frames[-1]

    @contextmanager
    def attached(self) -> Iterator[LayerStack]:
        """Open the root's frame and hook every module; undo both at the end."""
        import torch

        def enter(module: torch.nn.Module, _args: Any) -> None:
            # A hook that does work while dynamo traces would break the graph in pieces.
            if not torch.compiler.is_compiling():
                self._push(module)

        def leave(module: torch.nn.Module, _args: Any, _result: Any) -> None:
            if not torch.compiler.is_compiling():
                self._pop(module)

        handles = []
        self._push(None)
        try:
            for module in self._fqns:
                if isinstance(module, torch.jit.ScriptModule):
                    continue  # takes no hooks: its work is its caller's
                handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave, always_call=True))
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self._pop(None)

    def _push(self, module: torch.nn.Module | None) -> None:
        fqn = "" if module is None else self._fqns[module]
        if self._known_model and module is not None and step_of(fqn):
            self.decoder_steps += 1
        if module is not None and not fqn:
            self._model_calls += 1
        phase = self._phase_of(fqn)
        part, step = self._part_of(fqn, phase)
        frame = Frame(fqn or self._root, phase, part, step, module)
        # The whole model's own forward runs inside the root and shares its row: one call, not two.
        self.calls[frame.key] += 1 if fqn or module is None else 0
        self._mark_memory()
        self.frames.append(frame)

    def _pop(self, module: torch.nn.Module | None) -> None:
        """Close the innermost frame of this module and whatever an exception left open above it.

        `always_call` hooks run for `Exception` only, so frames of a call that ended otherwise
        (KeyboardInterrupt) stay open until a caller closes.
        """
        if not any(frame.module is module for frame in self.frames):
            return
        self._mark_memory()
        while True:
            frame = self.frames.pop()
            seen = self.memory_peaks.get(frame.key, 0)
            self.memory_peaks[frame.key] = max(seen, frame.memory_peak)
            if frame.module is module:
                return

    def _mark_memory(self) -> None:
        """Credit the peak since the last mark to every open frame, and start the next stretch."""
        peak = self._meter.peak()
        for frame in self.frames:
            frame.memory_peak = max(frame.memory_peak, peak)
        self._meter.reset()

    def _phase_of(self, fqn: str) -> str:
        if not self._known_model:
            return PHASE_FORWARD
        fixed = static_phase_of(fqn)
        if fixed is not None:
            return fixed
        return "decode" if self.decoder_steps > 1 else "prefill"

    def _part_of(self, fqn: str, phase: str) -> tuple[str, int]:
        if not self._known_model:
            return phase, max(self._model_calls, 1)  # each forward of the model moves its weights
        if phase not in ("prefill", "decode"):
            return phase, 0
        part = "lm_head" if fqn.rpartition(".")[2] == "lm_head" else "decoder"
        return part, max(self.decoder_steps, 1)
