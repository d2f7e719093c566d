"""A compiled run of one sequence in, a finding out: products of one row far from the memory's rate."""

from __future__ import annotations

from layerscope.core.units import ms, ms_two, percent
from layerscope.core.words import counted
from layerscope.findings.evidence import Evidence, Verdict, by_family, sum_ns
from layerscope.findings.roofline_gap import (
    down_to_roofline,
    roofline_of,
    rows_with_roofline,
)
from layerscope.records.finding import Finding, NotJudged, RestsOn
from layerscope.records.layer_table import LayerRow

RULE = "matrix-vector-products"
# Below this share of the time they are not worth minutes of tuning ...
LEAST_SHARE = 0.05
# ... nor this near to what their bytes need.
NEAR_ROOFLINE = 0.75
# One row with an fp16 matrix is 2 FLOP for each 2 bytes; larger elements give less.
MOST_FLOP_PER_BYTE = 1.0


def matrix_vector_products(evidence: Evidence) -> Verdict:
    """Linear layers of a compiled run whose input is one row, slower than their weights can be read.

    Silent in eager runs, which wait for launches before anything else, and in tuned ones.
    """
    config = evidence.record.config if evidence.record is not None else None
    if config is None or config.optimization not in ("compile", "cudagraphs"):
        return ()
    if config.coordinate_descent_tuning or config.batch_size * config.num_beams > 1:
        return ()
    measured = rows_with_roofline(evidence, RULE)
    if isinstance(measured, NotJudged):
        return measured
    rows = [row for row in measured if _one_row(row)]
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
            try_next="--coordinate-descent-tuning: inductor generates these products and tunes them on "
            "the device, for minutes; look at the joules too, on an H200 they rose",
            saving=down_to_roofline(
                evidence,
                rows,
                "down to what reading their bytes takes, of which tuning reaches a part",
            ),
            concerns_ns=time,
        ),
    )


def _one_row(row: LayerRow) -> bool:
    return (
        row.module == "Linear"
        and bool(row.flops_self)
        and (row.flops_self or 0) <= MOST_FLOP_PER_BYTE * (row.bytes_self or 0)
    )


PLACE = 60
RULES = (matrix_vector_products,)
