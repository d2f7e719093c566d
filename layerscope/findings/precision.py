"""Modules that keep fp32 parameters in a half-precision run in, a finding out: where and how much."""

from __future__ import annotations

from collections import Counter

from layerscope.core.units import ms, percent, two_digits
from layerscope.core.words import counted, listed
from layerscope.findings.evidence import Evidence, Verdict, by_family, sum_ns
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.layer_table import LayerRow
from layerscope.records.run_record import RunRecord
from layerscope.work.roofline import device_ns

HALF = frozenset({"fp16", "bf16"})
# Below this share of the time an fp32 module is not worth a sentence.
LEAST_SHARE = 0.01


def fp32_islands(evidence: Evidence) -> Verdict:
    """Modules whose own parameters are float32 although the run's dtype is fp16 or bf16.

    The root is left out: its time is that of everything outside modules, whatever it holds itself.
    Silent under `--fp32-matmul high`, where they already run as TF32.
    """
    record = evidence.record
    if record is None:
        return NotJudged(
            rule="fp32-islands", reason="no run record: the modules' dtypes are unknown"
        )
    if record.config.dtype not in HALF or record.config.fp32_matmul == "high":
        return ()
    islands = {m.fqn: m for m in record.model.modules if m.fqn and m.dtype == "float32"}
    rows = [row for row in evidence.rows if row.layer in islands and device_ns(row)]
    time = sum_ns(rows)
    if not rows or time < LEAST_SHARE * evidence.whole_ns:
        return ()
    return (
        Finding(
            id="fp32-islands",
            sentence=_sentence(evidence, record, rows, time),
            rests_on=tuple(RestsOn(layer=f, phase=p) for f, p in by_family(rows)),
            try_next=_try(evidence),
            saving=_saving(evidence, rows),
            concerns_ns=time,
        ),
    )


def _sentence(evidence: Evidence, record: RunRecord, rows: list[LayerRow], time: int) -> str:
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
        f"{record.config.dtype}: {places}; by name {most} of it."
    )


def _try(evidence: Evidence) -> str:
    if not evidence.on_device:
        return "--dtype fp32 on a CPU, so that no layer converts its inputs"
    return "--fp32-matmul high: fp32 matmuls run as TF32, weights stay as they are"


def _saving(evidence: Evidence, rows: list[LayerRow]) -> Saving:
    """Time at the TF32 rate, but no less than the row's bytes need, against the time now."""
    measured = evidence.ceilings.matmul_flops_per_s if evidence.ceilings else {}
    now, then = measured.get("float32"), measured.get("tf32")
    if evidence.ceilings is None or not now or not then:
        reason = "needs the measured fp32 and TF32 matmul rates of this device"
        return Saving(saved_ns=None, basis=reason)
    if any(row.flops_self is None or row.bytes_self is None for row in rows) or not any(
        row.flops_self for row in rows
    ):
        return Saving(saved_ns=None, basis="needs the counted FLOPs and bytes of these layers")
    copy = evidence.ceilings.copy_bytes_per_s
    saved = 0
    for row in rows:
        if row.flops_self:
            busy = device_ns(row) or 0
            memory_ns = (row.bytes_self or 0) / copy * 1e9
            saved += max(0, busy - round(max(memory_ns, busy * now / then)))
    return Saving(
        saved_ns=saved,
        whole_ns=evidence.whole_ns,
        of=evidence.time_of,
        by_ceilings=True,
        basis=f"each layer's time times {two_digits(now / then)} (fp32 over TF32 matmul rate, both "
        "measured), but no less than its bytes take at the copy rate",
    )


PLACE = 20
RULES = (fp32_islands,)
