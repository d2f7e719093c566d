"""A captured trace worked out in, what its ranges are known to lack out, in words."""

from __future__ import annotations

from collections import Counter

from layerscope.account.marked_phases import window_span
from layerscope.account.workings import Workings
from layerscope.core.vocabulary import LAYER_PREFIX, name_in_range
from layerscope.records.captured import Captured
from layerscope.trace.tree import NONE

_MOST_NAMED = 3


def faults_of(workings: Workings, captured: Captured | None) -> tuple[str, ...]:
    """Empty where the ranges hold every call that was counted, and something of the model ran."""
    columns = workings.columns
    if window_span(columns) == NONE:
        return ()
    if not workings.ranges.items and not _has_compiled_calls(workings):
        return (
            "no call of the model in the block, so no layer has time: call the model that capture() was "
            "given, in the block; of code compiled as a function (torch.compile(lambda x: model(x))) "
            "capture a compiled module, fast = torch.compile(model), instead",
        )
    counted = captured.calls if captured is not None else {}
    seen = Counter(columns.spans.name.tolist())
    numbers = {name: number for number, name in enumerate(columns.names)}
    lacking = [
        f"{name_in_range(label.removeprefix(LAYER_PREFIX))} {calls} calls, {found} ranges"
        for label, calls in counted.items()
        if (found := seen[numbers.get(label, NONE)]) != calls
    ]
    if not lacking:
        return ()
    more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
    return (
        f"calls without a range: {'; '.join(lacking[:_MOST_NAMED])}{more}; their time is elsewhere: "
        "call the model on the thread that opened the block, and end no profiler inside it",
    )


def _has_compiled_calls(workings: Workings) -> bool:
    """Whether compiled code ran, of modules of this model: a compiled function opens no range."""
    code = workings.compiled
    return code is not None and any(call.frame is not None for call in code.calls)
