"""A model in, the same model with a profiler range around every module call, until removed.

Each module's `forward` is wrapped on the instance. Against forward hooks a wrapper costs about a
microsecond less per call, sees direct `.forward()` calls, and closes the range however the call ends,
Ctrl-C included. Ranges cost no synchronisation.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from types import TracebackType
from typing import Any

import torch
from torch.compiler import is_compiling

from layerscope.core.roles import Roles, decoders
from layerscope.core.vocabulary import (
    CONTINUED_RANGE,
    PREFILL_RANGE,
    ROOT_FORWARD,
    ROOT_GENERATE,
    layer_range,
    root_range,
)
from layerscope.instrument.decoder_steps import DecoderLoop
from layerscope.instrument.module_copies import FaithfulCopies
from layerscope.instrument.outermost import Outermost
from layerscope.instrument.range_switch import RangeSwitch
from layerscope.models.plain_names import is_compiled_wrapper, plain_fqn
from layerscope.models.roles import model_and_wrappers, roles_of
from layerscope.private.generation import prefill_function
from layerscope.private.modules import COMPILED_CALL, compiled_call, original_of
from layerscope.private.profiler import fast_range

_Call = Callable[..., Any]
_MISSING = object()
# Ranges of calls that outlast the session in which they began. Closing one later would write into
# memory that the profiler has freed, so they are kept instead, and never closed.
_outlasting: list[Any] = []


@dataclass(frozen=True)
class _Wrapped:
    """A wrapper on a module, and the attribute that it stands in for."""

    module: torch.nn.Module
    name: str
    before: object
    wrapper: _Call
    label: str


class LayerRanges:
    """Context manager: inside it every module call of `model` opens a range `layer:<fqn>`.

    The root's call opens `layer:forward`, its `generate()` opens `layer:generate`; so does that of the
    model in it, where the root is a wrapper around one, for whoever calls that. A module reachable under
    two names opens one range, under its first name. Copies made inside are the user's modules
    without ranges. On exit the model has the attributes it had before, also after an exception; an
    attribute that was changed inside stays changed.

    Args:
        model: any module.
        on: open ranges from the start; else from `start` on.
        twins: what `torch.compile` made of modules of the model, outside of it: their calls open
            ranges, too.
        roles: the model's, where they are at hand.

    Attributes:
        uninstrumented: FQNs that take no wrapper (parts of scripted modules); their time goes to
            the caller.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        twins: Sequence[torch.nn.Module] = (),
        *,
        on: bool = True,
        roles: Roles | None = None,
    ) -> None:
        self._model = model
        self._roles = roles_of(model) if roles is None else roles
        self._on = on
        self._twins = twins
        self._wrapped: list[_Wrapped] = []
        self._fqn: dict[int, str] = {}
        self._ticks: dict[str, itertools.count[int]] = {}
        self._switch = RangeSwitch()
        self._outermost = Outermost()
        self._copies = ExitStack()
        self.uninstrumented: list[str] = []

    def __enter__(self) -> LayerRanges:
        try:
            self._wrap_all()
            self._copies.enter_context(FaithfulCopies(self._without, self._rewrap))
        except BaseException:
            self.remove()
            raise
        self._switch.on = self._on
        return self

    def start(self) -> None:
        """Open a range for every call that begins from now on."""
        self._switch.on = True

    def quiet(self) -> bool:
        """Bring the model's calls on other threads to a halt until `stop`; whether all came to one."""
        return self._switch.quiet()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def stop(self) -> None:
        """Open and close no more ranges; the wrappers stay until `remove`."""
        self._switch.off()

    def is_on(self) -> bool:
        """Whether calls open ranges."""
        return self._switch.on

    def calls(self) -> dict[str, int]:
        """Range name -> calls that opened one so far. To be asked once, at the end."""
        counts = {label: next(ticks) for label, ticks in self._ticks.items()}
        return {label: count for label, count in counts.items() if count}

    def remove(self) -> None:
        """Put every replaced attribute back. Safe to call twice."""
        self._switch.off()
        self._copies.close()
        while self._wrapped:
            at = self._wrapped.pop()
            there = at.module.__dict__
            if there.get(at.name, _MISSING) is not at.wrapper:
                pass  # the user's own by now
            elif at.before is _MISSING:
                del there[at.name]
            else:
                there[at.name] = at.before
            # Hooks that were put around the wrapper keep it as the forward from before.
            for name, value in list(there.items()):
                if value is at.wrapper:
                    there[name] = _unwrapped(at)

    def changed(self) -> list[str]:
        """Attributes that somebody else has replaced meanwhile, as `<fqn>.<name>`: they will stay."""
        return [
            f"{self._fqn[id(at.module)]}.{at.name}".lstrip(".")
            for at in self._wrapped
            if at.module.__dict__.get(at.name, _MISSING) is not at.wrapper
        ]

    def _wrap_all(self) -> None:
        modules = list(self._model.named_modules())
        stepped = frozenset(decoders(self._roles))
        wrappers = frozenset(model_and_wrappers(self._model))
        loop, prefill = DecoderLoop(), prefill_function()
        compiled: list[str] = []
        scripted: list[str] = []
        for fqn, module in modules:
            self._fqn[id(module)] = fqn
            if any(fqn.startswith(part) for part in scripted):
                self.uninstrumented.append(fqn)  # run by the interpreter, without a call in Python
                continue
            if isinstance(module, torch.jit.ScriptModule):
                scripted.append(f"{fqn}." if fqn else "")
            plain = plain_fqn(fqn)
            is_model = plain in wrappers
            once = is_model and len(wrappers) > 1
            label = _label("" if is_model else plain)
            if is_compiled_wrapper(module):
                compiled.append(f"{fqn}." if fqn else "")
                self._wrap(module, "forward", label, once=once)
            elif compiled_call(module) is not None:
                # Set by module.compile() and called instead of forward. A changed `forward`
                # below it would make torch compile again, in the middle of the traced run.
                compiled.append(f"{fqn}." if fqn else "")
                self._wrap(module, COMPILED_CALL.attribute, label, once=once)
            elif not any(fqn.startswith(part) for part in compiled):
                steps = loop if plain in stepped else None
                self._wrap(module, "forward", label, steps, once=once)
            if prefill and callable(getattr(module, prefill, None)):
                self._wrap(module, prefill, PREFILL_RANGE)
            if is_model and (plain or not fqn) and callable(getattr(module, ROOT_GENERATE, None)):
                self._wrap(module, ROOT_GENERATE, root_range(ROOT_GENERATE), once=once)
        for twin in self._twins:
            self._wrap_twin(twin)

    def _wrap_twin(self, twin: torch.nn.Module) -> None:
        """While compiled code runs, the wrappers below step aside: torch would compile it again."""
        original = original_of(twin)
        assert original is not None
        below = {id(module) for module in original.modules()}
        aside = [at for at in self._wrapped if id(at.module) in below and at.name == "forward"]
        self._fqn[id(twin)] = self._fqn[id(original)]
        self._wrap(twin, "forward", _label(self._fqn[id(original)]), aside=aside)

    def _wrap(
        self,
        module: torch.nn.Module,
        name: str,
        label: str,
        loop: DecoderLoop | None = None,
        aside: Sequence[_Wrapped] = (),
        *,
        once: bool = False,
    ) -> None:
        before = module.__dict__.get(name, _MISSING)
        call = getattr(module, name)
        if before is _MISSING and _is_plain_method(module, name, call):
            call = _looked_up(module, name, call)
        if aside:
            call = _stepping_aside(call, aside)
        ticks = self._ticks.setdefault(label, itertools.count())
        wrapper = _ranged(call, label, self._switch, ticks.__next__)
        if loop is not None:
            wrapper = _continuing(wrapper, self._switch, loop)
        if once:
            wrapper = self._outermost.only(call, wrapper, label)
        self._wrapped.append(_Wrapped(module, name, before, wrapper, label))
        module.__dict__[name] = wrapper

    def _without(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """A module's attributes as they are without wrappers."""
        ours = {id(at.wrapper): at for at in self._wrapped}
        if not any(id(value) in ours for value in attributes.values()):
            return attributes
        found = {}
        for name, value in attributes.items():
            at = ours.get(id(value))
            if at is None:
                found[name] = value
            elif name != at.name:
                found[name] = _unwrapped(at)
            elif at.before is not _MISSING:
                found[name] = at.before
        return found

    def _rewrap(self, replica: torch.nn.Module) -> None:
        """Ranges for a replica: its calls are the layer's, with its own weights."""
        ours = {id(at.wrapper): at for at in self._wrapped}
        for name, value in list(replica.__dict__.items()):
            at = ours.get(id(value))
            if at is None:
                continue
            del replica.__dict__[name]
            if at.before is not _MISSING:
                replica.__dict__[name] = at.before
            ticks = self._ticks[at.label].__next__
            call = getattr(replica, name)
            replica.__dict__[name] = _ranged(call, at.label, self._switch, ticks)


def _label(fqn: str) -> str:
    return layer_range(fqn) if fqn else root_range(ROOT_FORWARD)


def _unwrapped(at: _Wrapped) -> object:
    if at.before is not _MISSING:
        return at.before
    return getattr(type(at.module), at.name).__get__(at.module)


def _is_plain_method(module: torch.nn.Module, name: str, call: _Call) -> bool:
    function = getattr(type(module), name, None)
    return inspect.isfunction(function) and getattr(call, "__func__", None) is function


def _looked_up(module: torch.nn.Module, name: str, method: _Call) -> _Call:
    """The module's method by way of its class, which may be patched or replaced meanwhile."""
    if name == ROOT_FORWARD:  # by name: this is where all calls go through

        @functools.wraps(method)
        def looked_up(*args: Any, **kwargs: Any) -> Any:
            return type(module).forward(module, *args, **kwargs)

    else:

        @functools.wraps(method)
        def looked_up(*args: Any, **kwargs: Any) -> Any:
            return getattr(type(module), name)(module, *args, **kwargs)

    return looked_up


def _ranged(call: _Call, label: str, switch: RangeSwitch, tick: Callable[[], int]) -> _Call:
    inside = switch.inside
    new_range = fast_range()

    # A new range object per call: one object cannot be entered again by a recursive call.
    @functools.wraps(call)
    def ranged(*args: Any, **kwargs: Any) -> Any:
        # Under torch.compile a range would break the graph into pieces, and the switch be a guard.
        if is_compiling() or not switch.on:
            return call(*args, **kwargs)
        thread = get_ident()
        outermost = thread not in inside
        opened = None
        try:
            inside.add(thread)
            if switch.ending:
                switch.hold(thread)
            else:
                opened = new_range(label)
                opened.__enter__()
                tick()
            return call(*args, **kwargs)
        finally:
            if opened is not None:
                if switch.on:
                    opened.__exit__(None, None, None)
                else:
                    _outlasting.append(opened)
            if outermost:
                inside.discard(thread)

    return ranged


def _continuing(call: _Call, switch: RangeSwitch, loop: DecoderLoop) -> _Call:
    """Mark a call that goes on from the one before."""
    new_range = fast_range()

    @functools.wraps(call)
    def continuing(*args: Any, **kwargs: Any) -> Any:
        if is_compiling() or not switch.on or not loop.goes_on(args, kwargs):
            return call(*args, **kwargs)
        with _held_open(new_range(CONTINUED_RANGE), lambda: switch.on):
            return call(*args, **kwargs)

    return continuing


def _stepping_aside(call: _Call, aside: Sequence[_Wrapped]) -> _Call:
    @functools.wraps(call)
    def alone(*args: Any, **kwargs: Any) -> Any:
        away = [at for at in aside if at.module.__dict__.get(at.name) is at.wrapper]
        for at in away:
            del at.module.__dict__[at.name]
            if at.before is not _MISSING:
                at.module.__dict__[at.name] = at.before
        try:
            return call(*args, **kwargs)
        finally:
            for at in away:
                if at.module.__dict__.get(at.name, _MISSING) is at.before:
                    at.module.__dict__[at.name] = at.wrapper

    return alone


def open_range(label: str, still_on: Callable[[], bool]) -> AbstractContextManager[None]:
    """A range that is closed only while its session lasts; see `_outlasting`."""
    return _held_open(fast_range()(label), still_on)


@contextmanager
def _held_open(opened: Any, still_on: Callable[[], bool]) -> Iterator[None]:
    opened.__enter__()
    try:
        yield
    finally:
        if still_on():
            opened.__exit__(None, None, None)
        else:
            _outlasting.append(opened)
