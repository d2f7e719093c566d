"""Which layer is running, and afterwards in which phase and decoder step: fed by guarded module hooks.

Goes in: a model and the name of the root row. Comes out: at any moment of a run, the `Frame` that
executed work belongs to, and when the run is over the `Place` of each frame's segment. The hooks are
gone when `attached()` ends, whatever happened inside.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any

from layerscope.core.roles import REST, STEP_PHASES, decoders
from layerscope.core.steps import NONE, Calls, Steps
from layerscope.core.vocabulary import PHASE_FORWARD, ROOT_FORWARD
from layerscope.instrument.decoder_steps import DecoderLoop
from layerscope.measure.flops.held_memory import Held
from layerscope.models.plain_names import plain_fqn
from layerscope.models.roles import model_and_wrappers, roles_of
from layerscope.private.generation import inside_prefill

if TYPE_CHECKING:
    import torch

    from layerscope.measure.flops.memory import MemoryMeter


@dataclass(slots=True, eq=False)
class Frame:
    """One running call of a module, or the root around them all.

    Attributes:
        call: its number among all calls.
        segment: of the run: its calls are of one phase and one step, which are known at the end.
        is_head: whether it is part of the head.
        module: the module object called: the token that its frame is popped by; None: the root.
        held: memory that it makes and frees itself.
        unfused: why SDPA, called by it, took no fused kernel, each reason once.
    """

    layer: str
    call: int
    segment: int
    is_head: bool
    module: Any
    memory_peak: int = 0
    held: Held = field(default_factory=Held)
    unfused: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """The phase of a segment, and its decoder step, from 1; 0 outside any.

    Of a model without roles, whose forward moves all its weights, the step is the call of the model.
    """

    phase: str
    step: int


class LayerStack:
    """The running calls, outermost first. Modules keep the FQN of `named_modules()`."""

    def __init__(self, model: torch.nn.Module, root: str, meter: MemoryMeter) -> None:
        self._fqns = {module: fqn for fqn, module in model.named_modules()}
        self._roles = roles_of(model)
        self._decoders = frozenset(decoders(self._roles))
        self._wrappers = frozenset(model_and_wrappers(model))
        self._meter = meter
        self._root = root
        self._calls = Calls(self._roles)
        self._in_prefill: set[int] = set()
        self._going_on: set[int] = set()
        # What makes a segment one -> its number; of each its first call, and which call of the model it
        # came in. The segment of a decoder's call holds what that calls.
        self._segments: dict[Hashable, int] = {}
        self._begun: list[tuple[int, int]] = []
        self._of_decoders: set[int] = set()
        self._model_calls = 0
        self.frames: list[Frame] = []
        self.done: list[Frame] = []

    @property
    def top(self) -> Frame:
        """The call running now; the root when no module runs."""
        return self.frames[-1]

    def held(self) -> Held | None:
        """Memory of the call running now; None when nothing runs any more."""
        return self.frames[-1].held if self.frames else None

    @contextmanager
    def attached(self, fault: Callable[[Exception], None] | None = None) -> Iterator[LayerStack]:
        """Open the root's frame and hook every module; undo both at the end.

        Args:
            fault: given where the calls are somebody else's: takes what a hook would raise, and calls
                on other threads than this one are left out.
        """
        import torch

        loop, thread = DecoderLoop(), get_ident()

        def guarded(do: Callable[..., None], *given: Any) -> None:
            # A hook that does work while dynamo traces would break the graph in pieces.
            if torch.compiler.is_compiling() or (fault is not None and get_ident() != thread):
                return
            try:
                do(*given)
            except Exception as error:
                if fault is None:
                    raise
                fault(error)

        def enter(module: torch.nn.Module, _args: Any) -> None:
            guarded(self._push, module)

        def begin_step(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            self._push(module)
            self._note_step(goes_on=loop.goes_on(args, kwargs))

        def enter_step(module: torch.nn.Module, args: Any, kwargs: Any) -> None:
            guarded(begin_step, module, args, kwargs)

        def leave(module: torch.nn.Module, _args: Any, _result: Any) -> None:
            guarded(self._pop, module)

        handles = []
        self._push(None)
        try:
            for module, fqn in self._fqns.items():
                if isinstance(module, torch.jit.ScriptModule):
                    continue  # takes no hooks: its work is its caller's
                if plain_fqn(fqn) in self._decoders:
                    handles.append(module.register_forward_pre_hook(enter_step, with_kwargs=True))
                else:
                    handles.append(module.register_forward_pre_hook(enter))
                handles.append(module.register_forward_hook(leave, always_call=True))
            yield self
        finally:
            for handle in handles:
                handle.remove()
            self._pop(None)

    def steps(self) -> Steps:
        """The decoder steps of the run so far."""
        going_on = self._going_on.__contains__
        return Steps(self._calls, self._in_prefill.__contains__, going_on, by_hand=True)

    def places(self, steps: Steps) -> list[Place]:
        """Of each segment its place."""
        if not self._roles:
            return [Place(PHASE_FORWARD, max(forward, 1)) for _, forward in self._begun]
        return [self._place_of(call, steps) for call, _ in self._begun]

    def _place_of(self, call: int, steps: Steps) -> Place:
        phase = steps.phase_of(call)
        step = steps.nearest_step(call) if phase in STEP_PHASES else NONE
        return Place(phase, 0 if phase not in STEP_PHASES else max(step, 0) + 1)

    def _push(self, module: torch.nn.Module | None) -> None:
        fqn = "" if module is None else plain_fqn(self._fqns[module])
        is_model = module is None or fqn in self._wrappers
        if module is not None and not fqn:
            self._model_calls += 1
        above = self.frames[-1] if self.frames else None
        root = (self._root if module is None else ROOT_FORWARD) if is_model else ""
        call = self._calls.add(fqn, above.call if above is not None else NONE, root)
        layer = "" if module is None else self._fqns[module]
        frame = Frame(
            layer or self._root,
            call,
            self._segment_of(call, above),
            self._calls.items[call].role == "head",
            module,
        )
        self._mark_memory()
        self.frames.append(frame)
        self.done.append(frame)

    def _note_step(self, *, goes_on: bool) -> None:
        call = self.top.call
        if goes_on:
            self._going_on.add(call)
        if inside_prefill():
            self._in_prefill.add(call)

    def _segment_of(self, index: int, above: Frame | None) -> int:
        """What is fixed is one segment a phase, a decoder's call one, each call beside those its own."""
        call = self._calls.items[index]
        key: Hashable
        if not self._roles:
            key = max(self._model_calls, 1)
        elif call.root:
            key = REST
        elif call.fixed is not None:
            key = call.fixed
        elif above is not None and above.segment in self._of_decoders:
            return above.segment
        else:
            key = index
        found = self._segments.get(key)
        if found is None:
            found = self._segments[key] = len(self._begun)
            self._begun.append((index, self._model_calls))
        if call.fqn in self._decoders and call.fixed is None:
            self._of_decoders.add(found)
        return found

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
            frame.held.retained = frame.held.alive
            if frame.module is module:
                break

    def _mark_memory(self) -> None:
        """Credit the peak since the last mark to every open frame, and start the next stretch."""
        peak = self._meter.peak()
        for frame in self.frames:
            frame.memory_peak = max(frame.memory_peak, peak)
        self._meter.reset()
