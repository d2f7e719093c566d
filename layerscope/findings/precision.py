"""Modules that keep fp32 parameters in a half-precision run in, a finding out: where and how much."""

from __future__ import annotations

from collections import Counter

from layerscope.core.units import ms, percent
from layerscope.core.words import counted, listed
from layerscope.findings.evidence import A_CAPTURE, Evidence, Verdict, by_family
from layerscope.records.finding import Finding, NotJudged, RestsOn
from layerscope.records.layer_table import LayerRow
from layerscope.records.run_record import RunRecord
from layerscope.remedies.tf32 import HALF, fp32_rows
from layerscope.remedies.tf32 import REMEDY as TF32
from layerscope.work.roofline import device_ns, sum_ns

# Below this share of the time an fp32 module is not worth a sentence.
LEAST_SHARE = 0.01


def fp32_islands(evidence: Evidence) -> Verdict:
    """Modules whose own parameters are float32 although the run's dtype is fp16 or bf16.

    Silent under `--fp32-matmul high`, where they already run as TF32.
    """
    record = evidence.record
    if record is None:
        return NotJudged(
            rule="fp32-islands", reason="no run record: the modules' dtypes are unknown"
        )
    if record.config is None:
        return NotJudged(rule="fp32-islands", reason=f"{A_CAPTURE} what dtype it was to run in")
    if record.config.dtype not in HALF or TF32.name in evidence.optimizations:
        return ()
    rows = fp32_rows(evidence)
    time = sum_ns(rows)
    if not rows or time < LEAST_SHARE * evidence.whole_ns:
        return ()
    return (
        Finding(
            id="fp32-islands",
            sentence=_sentence(evidence, record, rows, record.config.dtype),
            rests_on=tuple(RestsOn(layer=f, phase=p) for f, p in by_family(rows)),
            try_next=_try(evidence),
            saving=TF32.predict(evidence),
            concerns_ns=time,
        ),
    )


def islands_explain(evidence: Evidence) -> set[tuple[str, str]]:
    """(layer, phase) of the rows that an `fp32-islands` finding of this run is about."""
    verdict = fp32_islands(evidence)
    if isinstance(verdict, NotJudged) or not verdict:
        return set()
    return {(row.layer, row.phase) for row in fp32_rows(evidence)}


def _sentence(evidence: Evidence, record: RunRecord, rows: list[LayerRow], dtype: str) -> str:
    time = sum_ns(rows)
    layers = {row.layer for row in rows}
    params = sum(m.params for m in record.model.modules if m.fqn in layers)
    phases: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for row in rows:
        phases[row.phase] += device_ns(row) or 0
        names[row.layer.rpartition(".")[2]] += device_ns(row) or 0
    places = listed([f"{phase} {ms(ns)}" for phase, ns in phases.most_common()])
    most = listed([f"`{name}` {percent(ns / time)}" for name, ns in names.most_common(2)])
    return (
        f"{counted(len(layers), 'module')} with {params / 1e6:,.1f} M parameters in fp32 take "
        f"{ms(time)}, {percent(time / evidence.whole_ns)} of all {evidence.time_of}, in a run of "
        f"{dtype}: {places}; by name {most} of it."
    )


def _try(evidence: Evidence) -> str:
    if not evidence.on_device:
        return "--dtype fp32 on a CPU, so that no layer converts its inputs"
    return evidence.advice(TF32)


PLACE = 20
RULES = (fp32_islands,)
