"""A small model and a way to run it in, what a capture of that must show checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import layerscope
from layerscope.account.rest_notes import MUCH
from layerscope.core.roles import decoders
from layerscope.models.roles import roles_of
from layerscope.records.tables import Account
from layerscope.runs.run import Run

NEW_TOKENS = 5
# Not for generate(): one call of the model.
NOT_GENERATING = ("vit_cls", "clip")


def run(model: Any, inputs: dict[str, Any], **how: Any) -> Any:
    """Five new tokens, greedily unless asked otherwise; of a model without words its first output."""
    with torch.no_grad():
        if not model.can_generate():
            return model(**inputs)[0]
        settings = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
        return model.generate(**inputs, **settings | how)


@dataclass(frozen=True)
class Shown:
    """What a capture showed of one window."""

    account: Account
    phases: frozenset[str]

    @property
    def steps(self) -> str:
        """The steps in their order, a letter each: `pdddd`."""
        return "".join(step.phase[0] for step in self.account.steps)


def captured(model: Any, block: Callable[[], Any], trace: Path | None = None) -> Shown:
    """Run a block of code in a capture; its account must add up."""
    with layerscope.capture(model, trace) as window, torch.no_grad():
        block()
    window.table.check()
    rows = [row for row in window.table.rows if not row.is_bucket and row.calls]
    return Shown(window.account, frozenset(row.phase for row in rows))


def hooked_calls(model: torch.nn.Module, block: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    """The block's result, and calls by module as forward hooks count them."""
    calls: Counter[str] = Counter()
    handles = [
        module.register_forward_hook(lambda *_, fqn=fqn: calls.update([fqn]))
        for fqn, module in model.named_modules()
    ]
    try:
        return block(), calls
    finally:
        for handle in handles:
            handle.remove()


def check_capture(model: Any, inputs: dict[str, Any], trace: Path) -> Shown:
    """Everything that holds whatever the family: calls, outputs, the model left as it was, the file."""
    wanted, hooked = hooked_calls(model, lambda: run(model, inputs))
    before = _attributes(model)
    got: list[Any] = []
    shown = captured(model, lambda: got.append(run(model, inputs)), trace)
    assert torch.equal(got[0], wanted)
    assert _attributes(model) == before
    account = shown.account
    assert account.table.host_difference_ns == 0

    seen: Counter[str] = Counter()
    for row in account.table.rows:
        seen[row.layer] += row.calls
    assert {fqn: seen[fqn] for fqn in hooked if fqn} == {fqn: hooked[fqn] for fqn in hooked if fqn}
    assert len(shown.steps) == sum(hooked[fqn] for fqn in decoders(roles_of(model)))

    saved = Run.open(trace).account
    for part in ("table", "steps", "kernels", "operators"):
        assert getattr(saved, part) == getattr(account, part), part
    check_rest(account)
    return shown


def check_rest(account: Account) -> None:
    """What is much of the time and has no other name is told apart, and nothing else is."""
    rows = account.table.rows
    whole = sum(row.op_self_ns or 0 for row in rows)
    for what in ("group", "phase"):
        rest = [row for row in rows if getattr(row, what) == "other" and not row.is_bucket]
        time = sum(row.op_self_ns or 0 for row in rest)
        notes = [note for note in account.table.notes if note.startswith(f"{what} other is ")]
        assert len(notes) == (time > MUCH * whole)
        if notes:
            largest = max(rest, key=lambda row: row.op_self_ns or 0)
            assert largest.module in notes[0] or account.table.root in notes[0]


def _attributes(model: torch.nn.Module) -> dict[str, dict[str, int | None]]:
    """By module its attributes, and which object each is, hooks and methods included; not of what a
    call of the model leaves there itself, tensors and the like."""
    found = {}
    for fqn, module in model.named_modules():
        held: dict[str, int | None] = {}
        for name, value in module.__dict__.items():
            held[name] = id(value) if callable(value) and name[0] != "_" else None
            if name.endswith("_hooks") or name == "_modules":
                held |= {f"{name}.{key}": id(inner) for key, inner in value.items()}
        found[fqn] = held
    return found
