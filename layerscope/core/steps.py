"""Calls of modules and their roles in, the decoder step and the phase of each out.

The one place that tells a prefill from a decode step: for a trace, for counted work, and for a call that
failed.

A step is a call of the decoder with what is around it and its alone: the language model's own call,
the head, up to the root. The first step since a root began is the prefill, and so is every one inside
generate()'s own prefill, which may run in chunks. In a loop of the caller's own a step that does not go
on from the one before begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerscope.core.roles import APART, REST, Role, Roles, around, decoders, fixed_phase, role_of
from layerscope.core.vocabulary import ROOT_GENERATE

NONE = -1


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module.

    Attributes:
        above: the call directly around it, as an index into the list of calls; `NONE` at the top.
        role: of its module, or of the nearest module around that; None without any.
        root: `generate` or `forward` for a call of the model itself; "" for any other.
        fixed: the phase that its role, or its caller's, fixes; None where the step decides.
    """

    fqn: str
    above: int
    root: str
    role: Role | None
    fixed: str | None


class Calls:
    """Calls of a model's modules, parents before children, each with the phase that its role fixes.

    Attributes:
        items: the calls so far; others know them by their place.
    """

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        self.items: list[Call] = []
        self._known: dict[str, Role | None] = {}

    def add(self, fqn: str, above: int, root: str = "") -> int:
        """Note a call that began inside call number `above`; its own number."""
        if fqn not in self._known:
            self._known[fqn] = role_of(fqn, self.roles)
        role = None if root else self._known[fqn]
        fixed = fixed_phase(role)
        if role is None and not root and above != NONE:
            fixed = self.items[above].fixed  # a module without a role does its caller's work
        self.items.append(Call(fqn, above, root, role, fixed))
        return len(self.items) - 1


class Steps:
    """The decoder steps among calls.

    Args:
        in_prefill: whether the decoder call of this number lies in generate()'s own prefill.
        goes_on: whether a call is marked as going on from the one before.
        by_hand: whether decoder calls outside `generate()` may be a loop of the caller's own.

    Attributes:
        step_of: of each call its step, counted through all of them; `NONE` outside any.
        phases: of each step, in order.
    """

    def __init__(
        self,
        calls: Calls,
        in_prefill: Callable[[int], bool],
        goes_on: Callable[[int], bool],
        *,
        by_hand: bool,
    ) -> None:
        self._calls = calls.items
        self._in_prefill, self._goes_on = in_prefill, goes_on
        self._decoding = _decoder_calls(calls.items, calls.roles)
        self._tops = self._step_tops()
        self.step_of = [NONE] * len(calls.items)
        self.phases: list[str] = []
        # The phase that a call outside any step would have had where it began.
        self._meanwhile: list[str] = []
        self._count(by_hand=by_hand)
        self._first_inside, self._before = self._steps_inside()

    def phase_of(self, index: int) -> str:
        """The phase of a call."""
        call = self._calls[index]
        if call.root:
            return REST
        if call.fixed is not None:
            return call.fixed
        step = self.nearest_step(index)
        return self._meanwhile[index] if step == NONE else self.phases[step]

    def nearest_step(self, index: int) -> int:
        """The step that a call is in or does the work of; `NONE` for one far from any.

        What embeds a step's tokens or takes its logits is of that step: the nearest one in the same call
        of the model, the one before if there is any.
        """
        if self.step_of[index] != NONE:
            return self.step_of[index]
        above = index
        while above != NONE and self._calls[above].root != ROOT_GENERATE:
            first = self._first_inside.get(above, NONE)
            if first != NONE:
                return max(first, self._before[index])
            above = self._calls[above].above
        return NONE

    # ---- which calls are steps --------------------------------------------------------------------

    def _step_tops(self) -> dict[int, int]:
        """Of each decoder call, the outermost call around it that holds no other and nothing apart.

        Returns:
            That call -> the decoder call that it is around, or itself.
        """
        held = [0] * len(self._calls)
        apart = [False] * len(self._calls)
        for index in range(len(self._calls) - 1, -1, -1):  # children before parents
            call = self._calls[index]
            held[index] += index in self._decoding
            apart[index] = apart[index] or call.role in APART
            if call.above != NONE:
                held[call.above] += held[index]
                apart[call.above] = apart[call.above] or apart[index]
        tops: dict[int, int] = {}
        for index in self._decoding:
            top = index
            while (above := self._calls[top].above) != NONE:
                if self._calls[above].root or held[above] > 1 or apart[above]:
                    break
                top = above
            tops[top] = index
        return tops

    def _count(self, *, by_hand: bool) -> None:
        """Number the steps; which are prefills follows from what came since the prompt."""
        generating: list[bool] = []
        since_prompt = 0
        for index, call in enumerate(self._calls):
            above = call.above
            inside = above != NONE and generating[above]
            generating.append(inside or call.root == ROOT_GENERATE)
            if (generating[index] and not inside) or (above == NONE and not by_hand):
                since_prompt = 0
            step = self.step_of[above] if above != NONE else NONE
            if step == NONE and index in self._tops:
                if by_hand and not generating[index] and not self._step_goes_on(index):
                    since_prompt = 0
                since_prompt += not self._in_prefill(self._tops[index])
                step = len(self.phases)
                self.phases.append("decode" if since_prompt > 1 else "prefill")
                since_prompt = max(since_prompt, 1)
            self.step_of[index] = step
            self._meanwhile.append("decode" if since_prompt > 1 else "prefill")

    def _step_goes_on(self, top: int) -> bool:
        """Whether the step at this call is marked as going on from the one before."""
        return self._goes_on(top) or self._goes_on(self._tops[top])

    # ---- what lies beside a step ------------------------------------------------------------------

    def _steps_inside(self) -> tuple[dict[int, int], list[int]]:
        """Call -> the first step inside it; and of each call the last step that began before it."""
        first: dict[int, int] = {}
        before, last = [], NONE
        for index in range(len(self._calls)):
            before.append(last)
            if index in self._tops:
                last = self.step_of[index]
                around_it = self._calls[index].above
                while around_it != NONE:
                    first.setdefault(around_it, last)
                    around_it = self._calls[around_it].above
        return first, before


def phase_of_open_call(call: Call, *, in_prefill: bool, after_prefill: bool) -> str:
    """The phase of a call that has not returned, where only the calls around it are known.

    Args:
        in_prefill: whether it lies in generate()'s own prefill.
        after_prefill: whether it is known to lie in what generate() runs behind that.
    """
    if call.fixed is not None:
        return call.fixed
    if in_prefill:
        return "prefill"
    return "decode" if after_prefill else "prefill or decode"


def _decoder_calls(calls: Sequence[Call], roles: Roles) -> set[int]:
    """Calls of the decoder; where it ran inside compiled code, those of the module around it."""
    names = decoders(roles)
    own, outer = frozenset(names), around(names)
    found: set[int] = set()
    holds = [False] * len(calls)
    for index in range(len(calls) - 1, -1, -1):  # children before parents
        call = calls[index]
        if not call.root and not holds[index] and (call.fqn in own or call.fqn in outer):
            found.add(index)
            holds[index] = True
        if call.above != NONE and holds[index]:
            holds[call.above] = True
    return found
