"""The rows of an account in, what is in `other` out, in words, where that is much of the time.

`other` is the group of modules whose kind of work no pattern tells, and the phase of what belongs to no
part of the model: generate()'s own choosing of tokens, masks and merging of inputs. Both are small in a
model at work; where one is not, its name alone would hide where the time goes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from layerscope.core.units import percent
from layerscope.records import LayerRow

# From this share of the time on, `other` is told apart.
MUCH = 0.10
_MOST_NAMED = 4
# What is less than this share is counted, not named.
_WORTH_A_NAME = 0.005
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.|$)")


def rest_notes(
    rows: Sequence[LayerRow], root: str, *, has_device: bool, roles_known: bool
) -> Iterator[str]:
    """A sentence for the group and one for the phase `other`, each only from a tenth of the time on.

    Time is that of the device, buckets included; without one, that inside operators.
    """

    def time(row: LayerRow) -> int:
        return (row.gpu_self_ns if has_device else row.op_self_ns) or 0

    whole = sum(time(row) for row in rows)
    what = "device time" if has_device else "operator time"
    layers = [row for row in rows if not row.is_bucket]
    group: Counter[str] = Counter()
    phase: Counter[str] = Counter()
    for row in layers:
        if row.group == "other":
            group[_kind(row, root)] += time(row)
        if row.phase == "other":
            phase[_kind(row, root)] += time(row)
    why = "" if roles_known else " (the model does not say what its modules are for)"
    for name, parts, reason in (("group", group, why), ("phase", phase, "")):
        if whole and parts.total() > MUCH * whole:
            share = percent(parts.total() / whole)
            yield f"{name} other is {share} of {what}{reason}: {_told(parts, whole)}"


def _kind(row: LayerRow, root: str) -> str:
    """A module's class and where it stands, blocks of a stack as one."""
    if row.layer == root:
        return f"{root} itself, outside its modules"
    where = _NUMBER.sub("*", row.layer)
    return f"{row.module} ({where})" if row.module else where


def _told(parts: Counter[str], whole: int) -> str:
    large = [(kind, ns) for kind, ns in parts.most_common() if ns >= _WORTH_A_NAME * whole]
    named = [f"{kind} {percent(ns / whole)}" for kind, ns in large[:_MOST_NAMED]]
    left = parts.total() - sum(ns for _, ns in large[:_MOST_NAMED])
    more = sum(ns > 0 for ns in parts.values()) - len(named)
    return ", ".join(named + ([f"{more} more {percent(left / whole)}"] if more and left else []))
