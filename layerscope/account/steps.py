"""Calls of modules and their roles in, the decoder step and the phase of each out.

A step is a call of the decoder with what is around it and its alone: the language model's own call,
the head, up to the root. The first step since a root began is the prefill, and so is every one inside
generate()'s own prefill, which may run in chunks. In a loop of the caller's own a step that does not go
on from the one before begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from layerscope.core.roles import APART, Role, Roles, around, decoders
from layerscope.core.vocabulary import (
    CONTINUED_RANGE,
    PREFILL_RANGE,
    ROOT_GENERATE,
    WINDOW_RANGE,
)
from layerscope.trace.columns import TraceColumns
from layerscope.trace.tree import NONE, SpanTree

REST = "other"


@dataclass(frozen=True)
class Call:
    """One range of a layer.

    Attributes:
        above: the range directly around it, as an index into the list of calls; `NONE` at the top.
        role: of its module, or of the nearest module around that; None without any.
        root: `generate` or `forward` for a call of the model itself; "" for any other.
        fixed: the phase that its role, or its caller's, fixes; None where the step decides.
    """

    span: int
    fqn: str
    above: int
    root: str
    role: Role | None
    fixed: str | None


class Steps:
    """The steps of a trace.

    Attributes:
        step_of: of each call its step, counted through the whole trace; `NONE` outside any.
    """

    def __init__(
        self, columns: TraceColumns, tree: SpanTree, calls: list[Call], roles: Roles
    ) -> None:
        self._columns, self._tree, self._calls = columns, tree, calls
        self._decoding = _decoder_calls(calls, roles)
        self._tops = self._step_tops()
        self.step_of = [NONE] * len(calls)
        # Phase by step, and the phase that a call outside any step would have had where it began.
        self._phases: list[str] = []
        self._meanwhile: list[str] = []
        self._count()
        self._first_inside, self._before = self._steps_inside()

    def phase_of(self, index: int) -> str:
        """The phase of a call."""
        call = self._calls[index]
        if call.root:
            return REST
        if call.fixed is not None:
            return call.fixed
        if self.step_of[index] != NONE:
            return self._phases[self.step_of[index]]
        return self._beside_a_step(index)

    # ---- which calls are steps --------------------------------------------------------------------

    def _step_tops(self) -> set[int]:
        """Of each decoder call, the outermost call around it that holds no other and nothing apart."""
        held = [0] * len(self._calls)
        apart = [False] * len(self._calls)
        for index in range(len(self._calls) - 1, -1, -1):  # children before parents
            call = self._calls[index]
            held[index] += index in self._decoding
            apart[index] = apart[index] or call.role in APART
            if call.above != NONE:
                held[call.above] += held[index]
                apart[call.above] = apart[call.above] or apart[index]
        tops = set()
        for index in self._decoding:
            top = index
            while (above := self._calls[top].above) != NONE:
                if self._calls[above].root or held[above] > 1 or apart[above]:
                    break
                top = above
            tops.add(top)
        return tops

    def _count(self) -> None:
        """Number the steps; which are prefills follows from what came since the prompt."""
        by_hand_allowed = WINDOW_RANGE in self._columns.names
        generating, since_prompt = False, 0
        for index, call in enumerate(self._calls):
            above = call.above
            if above == NONE:
                generating = call.root == ROOT_GENERATE
                if generating or not by_hand_allowed:
                    since_prompt = 0
            step = self.step_of[above] if above != NONE else NONE
            if step == NONE and index in self._tops:
                by_hand = by_hand_allowed and not generating
                if by_hand and not self._goes_on(index):
                    since_prompt = 0
                in_prefill = self._in_range(index, PREFILL_RANGE)
                since_prompt += not in_prefill
                step = len(self._phases)
                self._phases.append("decode" if since_prompt > 1 else "prefill")
                since_prompt = max(since_prompt, 1)
            self.step_of[index] = step
            self._meanwhile.append("decode" if since_prompt > 1 else "prefill")

    def _goes_on(self, top: int) -> bool:
        """Whether the step at this call is marked as going on from the one before."""
        inside = [top, *(i for i in self._decoding if self._is_in(i, top))]
        return any(self._directly_in(index, CONTINUED_RANGE) for index in inside)

    def _is_in(self, index: int, top: int) -> bool:
        while index > top:
            index = self._calls[index].above
        return index == top

    def _directly_in(self, index: int, name: str) -> bool:
        outer = int(self._tree.parent[self._calls[index].span])
        return outer != NONE and self._name(outer) == name

    def _in_range(self, index: int, name: str) -> bool:
        outer = int(self._tree.parent[self._calls[index].span])
        while outer != NONE:
            if self._name(outer) == name:
                return True
            outer = int(self._tree.parent[outer])
        return False

    def _name(self, span: int) -> str:
        return self._columns.names[int(self._columns.spans.name[span])]

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

    def _beside_a_step(self, index: int) -> str:
        """What embeds a step's tokens or takes its logits is of that step: the nearest one in the same
        call of the model, the one before if there is any."""
        above = index
        while above != NONE and self._calls[above].root != ROOT_GENERATE:
            first = self._first_inside.get(above, NONE)
            if first != NONE:
                return self._phases[max(first, self._before[index])]
            above = self._calls[above].above
        return self._meanwhile[index]


def _decoder_calls(calls: list[Call], roles: Roles) -> set[int]:
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
