"""Two runs of the same thing at two batch sizes in, the exponent of each group's time out.

exponent = log(t2 / t1) / log(b2 / b1): 1 doubles with the batch, 0 does not notice it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields

from layerscope.core.errors import UsageError
from layerscope.core.run_config import RunConfig
from layerscope.core.units import ms
from layerscope.core.vocabulary import GROUPS
from layerscope.core.words import listed
from layerscope.findings.evidence import Evidence
from layerscope.records.finding import Finding, RestsOn, Saving
from layerscope.records.tables import Account
from layerscope.work.roofline import device_ns

FLAT, LINEAR = 0.2, 0.8
# Choices that may differ between the two runs without changing what a layer does.
FREE = frozenset(
    {"batch_size", "samples", "warmup", "seed", "out", "quick", "trace", "traced_batches"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupScaling:
    """One group's device time in both runs; `exponent` is None where either took no time."""

    group: str
    base_ns: int
    other_ns: int
    exponent: float | None


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How device time follows the batch size. `differs` names other choices that are not equal."""

    base_batch: int
    other_batch: int
    groups: tuple[GroupScaling, ...]  # largest time in the larger batch first
    total: GroupScaling
    differs: tuple[str, ...] = ()


def scaling(
    base: Account,
    other: Account,
    *,
    base_batch: int,
    other_batch: int,
    differs: tuple[str, ...] = (),
) -> Scaling:
    """Exponents by group and for the whole; on CPU runs of operator time.

    Raises:
        UsageError: the two batch sizes are equal or not positive, so that no exponent exists.
    """
    if base_batch == other_batch or min(base_batch, other_batch) < 1:
        raise UsageError(
            f"batch sizes {base_batch} and {other_batch}: scaling needs two runs at different ones."
        )
    ratio = math.log(other_batch / base_batch)
    times = (_by_group(base), _by_group(other))
    names = [group for group in GROUPS if group in times[0] or group in times[1]]
    names += sorted((times[0].keys() | times[1].keys()) - set(names))
    groups = [_group(name, times[0][name], times[1][name], ratio) for name in names]
    larger = (lambda g: -g.other_ns) if other_batch > base_batch else (lambda g: -g.base_ns)
    return Scaling(
        base_batch=base_batch,
        other_batch=other_batch,
        groups=tuple(sorted(groups, key=larger)),
        total=_group("all", times[0].total(), times[1].total(), ratio),
        differs=differs,
    )


def scaling_of(base: Evidence, other: Evidence) -> Scaling:
    """The scaling between two runs with records, with the choices in which they differ named.

    Raises:
        UsageError: a run has no record of its traced batch, or both are of one batch size.
    """
    sizes = []
    for evidence in (base, other):
        if evidence.record is None or evidence.record.trace is None:
            raise UsageError(
                f"{evidence.account.source}: no record of a traced batch, so its size is unknown; "
                "scaling needs two run folders."
            )
        size = evidence.record.trace.size
        if size is None:
            raise UsageError(
                f"{evidence.account.source}: a capture, whose batch size is unknown; scaling needs "
                "two runs of `layerscope profile`."
            )
        sizes.append(size)
    assert base.record is not None
    assert other.record is not None
    one, two = base.record.config, other.record.config
    differs = tuple(
        field.name
        for field in fields(RunConfig)
        if field.name not in FREE and getattr(one, field.name) != getattr(two, field.name)
    )
    return scaling(
        base.account, other.account, base_batch=sizes[0], other_batch=sizes[1], differs=differs
    )


def scaling_finding(found: Scaling) -> Finding:
    """The exponents in words: which groups follow the batch, which do not notice it."""
    known = [group for group in found.groups if group.exponent is not None]
    linear = [_said(g) for g in known if (g.exponent or 0) >= LINEAR]
    flat = [_said(g) for g in known if (g.exponent or 0) <= FLAT]
    between = [_said(g) for g in known if FLAT < (g.exponent or 0) < LINEAR]
    parts = [
        f"{words} {listed(groups)}"
        for words, groups in (
            ("nearly in proportion:", linear),
            ("in between:", between),
            ("hardly at all:", flat),
        )
        if groups
    ]
    unlike = f" The runs also differ in {listed(found.differs)}." if found.differs else ""
    total = found.total
    whole = "" if total.exponent is None else f" (exponent {total.exponent:.2f})"
    return Finding(
        id="batch-scaling",
        sentence=f"From batch {found.base_batch} to {found.other_batch} the layers' time goes from "
        f"{ms(total.base_ns)} to {ms(total.other_ns)}{whole}. It follows the batch "
        f"{'; '.join(parts)}.{unlike}",
        rests_on=tuple(RestsOn(group=group.group) for group in known),
        try_next="a larger --batch: the groups that hardly follow it cost less per sample"
        if flat or between
        else "",
        saving=Saving(
            saved_ns=None, basis="it compares two runs; per sample it depends on the batch"
        ),
        concerns_ns=total.other_ns,
    )


def _said(group: GroupScaling) -> str:
    return f"{group.group} {group.exponent:.2f}"


def _by_group(account: Account) -> Counter[str]:
    times: Counter[str] = Counter()
    for row in account.table.rows:
        times[row.layer if row.is_bucket else row.group] += device_ns(row) or 0
    return times


def _group(name: str, base_ns: int, other_ns: int, ratio: float) -> GroupScaling:
    exponent = math.log(other_ns / base_ns) / ratio if base_ns and other_ns else None
    return GroupScaling(group=name, base_ns=base_ns, other_ns=other_ns, exponent=exponent)
