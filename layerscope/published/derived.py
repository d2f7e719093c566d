"""A sweep's rows in, what follows from them out: exponents, the Pareto front, the judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from layerscope.published.reference import Judgement, judge
from layerscope.published.reference_tables import reference_tables
from layerscope.records.sweep import SweepConfig, SweepRow
from layerscope.stats.front import Front, pareto
from layerscope.stats.sweep_tables import Exponent, exponents


@dataclass(frozen=True, kw_only=True)
class Derived:
    """What follows from a sweep's rows."""

    exponents: tuple[Exponent, ...]
    front: Front
    beside: tuple[Judgement, ...]


def derive(config: SweepConfig, rows: Sequence[SweepRow], *, beside_reference: bool) -> Derived:
    """Scaling exponents, the Pareto front and, on request, the judgement beside the reference.

    A sweep whose file names no published table has no judgement.
    """
    axes, link = config.axes, config.reference
    beside: tuple[Judgement, ...] = ()
    if beside_reference and link is not None:
        beside = judge(rows, axes, link, reference_tables())
    return Derived(exponents=exponents(rows, axes), front=pareto(rows), beside=beside)
