"""TF32 for matrix products of fp32 layers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from layerscope.core.remedy import Remedy
from layerscope.core.units import two_digits
from layerscope.records.finding import Saving
from layerscope.records.layer_table import LayerRow
from layerscope.work.roofline import device_ns

if TYPE_CHECKING:
    from layerscope.findings.evidence import Evidence

HALF = frozenset({"fp16", "bf16"})


def predict(evidence: Evidence) -> Saving:
    """Time at the TF32 rate, but no less than the row's bytes need, against the time now."""
    record = evidence.record
    if record is None:
        return Saving(saved_ns=None, basis="no run record: the modules' dtypes are unknown")
    if record.config is None or record.config.dtype not in HALF:
        # Products without parameters, as in attention, would gain, too: the sum would be no bound.
        reason = "predicted for the fp32 modules of an fp16 or bf16 run alone"
        return Saving(saved_ns=None, basis=reason)
    measured = evidence.ceilings.matmul_flops_per_s if evidence.ceilings else {}
    now, then = measured.get("float32"), measured.get("tf32")
    if evidence.ceilings is None or not now or not then:
        reason = "needs the measured fp32 and TF32 matmul rates of this device"
        return Saving(saved_ns=None, basis=reason)
    rows = fp32_rows(evidence)
    if any(row.flops_self is None or row.bytes_self is None for row in rows) or not any(
        row.flops_self for row in rows
    ):
        return Saving(saved_ns=None, basis="needs the counted FLOPs and bytes of these layers")
    copy = evidence.ceilings.copy_bytes_per_s
    saved: Counter[str] = Counter()
    for row in rows:
        if row.flops_self:
            busy = device_ns(row) or 0
            memory_ns = (row.bytes_self or 0) / copy * 1e9
            saved[row.phase] += max(0, busy - round(max(memory_ns, busy * now / then)))
    return Saving(
        saved_ns=saved.total(),
        by_phase=dict(saved),
        whole_ns=evidence.whole_ns,
        of=evidence.time_of,
        by_ceilings=True,
        basis=f"each layer's time times {two_digits(now / then)} (fp32 over TF32 matmul rate, both "
        "measured), but no less than its bytes take at the copy rate",
    )


def fp32_rows(evidence: Evidence) -> list[LayerRow]:
    """Rows that took time, of modules whose own parameters are float32; not the root's.

    The root's time is that of everything outside modules, whatever it holds itself.
    """
    if evidence.record is None:
        return []
    islands = {m.fqn for m in evidence.record.model.modules if m.fqn and m.dtype == "float32"}
    return [row for row in evidence.rows if row.layer in islands and device_ns(row)]


REMEDY = Remedy(
    name="tf32",
    does="fp32 matmuls run as TF32, weights stay as they are",
    helps=("fp32-islands",),
    snippet="""\
torch.set_float32_matmul_precision("high")
tokens = model.generate(**inputs)
""",
    torch='torch.set_float32_matmul_precision("high")',
    predict=predict,
    aliases=(("fp32_matmul", "high"),),
    goes_with=("compile", "cudagraphs", "flash", "tuned"),
)
