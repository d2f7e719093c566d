"""Calls of what encodes images and sound in, a finding out where it ran more often than once a batch.

What a batch shows does not change while its answer is written, so a tower and what follows it have their
work once. A loop that hands the pixels on encodes them for each token, and some models resample them
again. Two calls may be by design: models with one tower for both take images and video one after the
other. Several images, tiles or frames of a batch are one call.
"""

from __future__ import annotations

from layerscope.core.units import ms, percent
from layerscope.core.vocabulary import ROOT_GENERATE
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.layer_table import LayerRow
from layerscope.work.roofline import sum_ns

# Phase -> calls a batch that are no finding. What stands behind a tower is often called for two things.
_USUAL = {"vision": 1, "audio": 1, "qformer": 2, "projection": 2}


def encoder_called_again(evidence: Evidence) -> Verdict:
    """A tower, or what stands between it and the decoder, was called again for the same batch."""
    batches = _batches(evidence)
    if not batches:
        return NotJudged(
            rule="encoder-calls", reason="no call of the model itself, so no batches to count"
        )
    return tuple(
        _finding(row, batches, evidence)
        for phase, usual in _USUAL.items()
        for row in _outermost([r for r in evidence.rows if r.phase == phase and r.calls])
        if row.calls > usual * batches
    )


def _batches(evidence: Evidence) -> int:
    """Calls of generate(); in a loop of the caller's own the prefills, else calls of the model."""
    root = evidence.account.table.root
    calls = sum(row.calls for row in evidence.rows if row.layer == root)
    if root == ROOT_GENERATE:
        return calls
    return sum(step.phase == "prefill" for step in evidence.account.steps) or calls


def _outermost(rows: list[LayerRow]) -> list[LayerRow]:
    """Called modules of the phase that lie in no other called one."""
    layers = {row.layer for row in rows}
    return [row for row in rows if not any(above in layers for above in _around(row.layer))]


def _around(layer: str) -> list[str]:
    parts = layer.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _finding(top: LayerRow, batches: int, evidence: Evidence) -> Finding:
    own = [
        row
        for row in evidence.rows
        if row.phase == top.phase and f"{row.layer}.".startswith(f"{top.layer}.")
    ]
    time = sum_ns(own)
    calls = f"{top.calls:,} times in {batches:,} {'batch' if batches == 1 else 'batches'}"
    design = (
        " Two a batch are by design where one tower takes images and video."
        if top.calls == 2 * batches
        else ""
    )
    return Finding(
        id=f"encoder-called-again-{top.phase}",
        sentence=f"{top.layer} ({top.phase}) ran {calls}: {ms(time)} of {evidence.time_of}, "
        f"{percent(time / max(evidence.whole_ns, 1))} of it all.{design}",
        rests_on=(RestsOn(layer=top.layer, phase=top.phase),),
        try_next="encode once and hand the features on, as image embeddings or inputs_embeds, where "
        "the model takes them; all images of a batch in one call",
        saving=Saving(
            saved_ns=round(time * (1 - batches / top.calls)),
            by_phase={top.phase: round(time * (1 - batches / top.calls))},
            whole_ns=evidence.whole_ns,
            of=evidence.time_of,
            basis="all calls but one a batch, as if each took as long as the mean",
        ),
        concerns_ns=time or None,
    )


PLACE = 65
RULES = (encoder_called_again,)
