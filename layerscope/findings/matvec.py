"""A compiled run of one sequence in, a finding out: products of one row far from the memory's rate."""

from __future__ import annotations

from layerscope.core.units import ms, ms_two, percent
from layerscope.core.words import counted
from layerscope.findings.evidence import A_CAPTURE, Evidence, Verdict, by_family
from layerscope.records.finding import Finding, NotJudged, RestsOn
from layerscope.remedies.compile import REMEDY as COMPILE
from layerscope.remedies.tuned import REMEDY as TUNED
from layerscope.remedies.tuned import of_one_row
from layerscope.work.roofline import sum_ns
from layerscope.work.roofline_gap import (
    roofline_of,
    rows_with_roofline,
)

RULE = "matrix-vector-products"
# Below this share of the time they are not worth minutes of tuning ...
LEAST_SHARE = 0.05
# ... nor this near to what their bytes need.
NEAR_ROOFLINE = 0.75


def matrix_vector_products(evidence: Evidence) -> Verdict:
    """Linear layers of a compiled run whose input is one row, slower than their weights can be read.

    Silent in eager runs, which wait for launches before anything else, and in tuned ones.
    """
    record = evidence.record
    config = record.config if record is not None else None
    if record is not None and config is None:
        return NotJudged(rule=RULE, reason=f"{A_CAPTURE} how many samples a batch held")
    if config is None or COMPILE.name not in config.optimizations:
        return ()
    if TUNED.name in config.optimizations or config.batch_size * config.num_beams > 1:
        return ()
    measured = rows_with_roofline(evidence, RULE)
    if isinstance(measured, NotJudged):
        return measured
    rows = of_one_row(measured)
    time, roofline = sum_ns(rows), roofline_of(rows)
    if time < LEAST_SHARE * evidence.whole_ns or roofline > NEAR_ROOFLINE * time:
        return ()
    return (
        Finding(
            id=RULE,
            sentence=f"Products of one row, in {counted(len({r.layer for r in rows}), 'linear layer')}, "
            f"take {ms(time)}, {percent(time / evidence.whole_ns)} of all "
            f"{evidence.time_of}; at the measured copy rate {ms_two(roofline)} would do.",
            rests_on=tuple(RestsOn(layer=f, phase=p) for f, p in by_family(rows)),
            try_next=f"{evidence.advice(TUNED)}; look at the joules too, on an H200 they rose",
            saving=TUNED.predict(evidence),
            concerns_ns=time,
        ),
    )


PLACE = 60
RULES = (matrix_vector_products,)
