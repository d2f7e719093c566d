"""A saving in, the same in three currencies out: latency now, latency once the host no longer limits,
joules.

Device time saved where the device waits for the host anyway shortens nothing until that wait is gone,
but its joules are saved at once. Joules of device time are those of the mean dynamic power while a
kernel runs, (mean - idle power) x latency over active time; each second less saves the idle power too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from layerscope.findings.evidence import Evidence
from layerscope.records.finding import Finding, Saving, Worth
from layerscope.stats.energy_summary import summarise_energy

LATENCY = "latency"
# From this share on a phase waits for the host so much that less device time makes no difference there.
HOST_LIMITS = 0.5


def in_currencies(finding: Finding, evidence: Evidence) -> Finding:
    """The finding with its saving's worth; unchanged without an estimate or a device."""
    saving = finding.saving
    if saving.saved_ns is None or not evidence.on_device or evidence.idle is None:
        return finding
    if saving.of == LATENCY:
        worth = _of_waiting(saving.saved_ns, evidence)
    elif saving.by_phase:
        worth = _of_device_time(saving, evidence)
    else:
        return finding
    return replace(finding, saving=replace(saving, worth=worth))


def _of_waiting(saved_ns: int, evidence: Evidence) -> Worth:
    """Time in which the device waits: none of it is left once the host no longer limits."""
    power, latency = _power(evidence), _latency_ns(evidence)
    return Worth(
        now_ns=saved_ns if latency is not None else None,
        latency_ns=latency,
        joules=saved_ns / 1e9 * power.idle_w if power and latency is not None else None,
        whole_j=power.whole_j if power else None,
        reason="" if power else "the run's power was not measured",
    )


def _of_device_time(saving: Saving, evidence: Evidence) -> Worth:
    assert evidence.idle is not None
    latency, power = _latency_ns(evidence), _power(evidence)
    now = None
    if latency is not None:
        now = round(sum(ns * _felt(phase, evidence) for phase, ns in saving.by_phase.items()))
    joules = None
    if power is not None and now is not None:
        joules = ((saving.saved_ns or 0) * power.dynamic_w + now * power.idle_w) / 1e9
    reasons = [
        text
        for missing, text in (
            (latency is None, "the batch was not timed without the profiler"),
            (power is None, "the run's power was not measured"),
        )
        if missing
    ]
    return Worth(
        now_ns=now,
        latency_ns=latency,
        later_ns=saving.saved_ns,
        device_ns=evidence.idle.active_ns,
        joules=joules,
        whole_j=power.whole_j if power is not None and joules is not None else None,
        reason="; ".join(reasons),
    )


def _felt(phase: str, evidence: Evidence) -> float:
    """The part of device time saved in a phase that the latency feels: none where the host limits."""
    assert evidence.idle is not None
    found = evidence.idle.phase(phase)
    if found is None:
        return 1.0
    share = evidence.host_share(found)
    return 0.0 if share >= HOST_LIMITS else 1.0 - share


def _latency_ns(evidence: Evidence) -> int | None:
    trace = evidence.record.trace if evidence.record is not None else None
    if trace is None or evidence.idle is None or evidence.idle.devices != 1:
        return None
    return trace.unprofiled_ns


@dataclass(frozen=True, kw_only=True, slots=True)
class _Power:
    """Watts of a run: at rest, and above that while a kernel runs; joules of one batch."""

    idle_w: float
    dynamic_w: float
    whole_j: float


def _power(evidence: Evidence) -> _Power | None:
    """None unless energy, idle power and latency were measured of the run."""
    record, idle = evidence.record, evidence.idle
    if record is None or record.energy is None or idle is None or not idle.active_ns:
        return None
    found = summarise_energy(record.energy)
    if found.mean_w is None or found.idle_w is None or found.joules_per_batch is None:
        return None
    batch_s = found.joules_per_batch / found.mean_w
    above_j = max(0.0, found.mean_w - found.idle_w) * batch_s
    return _Power(
        idle_w=found.idle_w,
        dynamic_w=above_j / (idle.active_ns / 1e9),
        whole_j=found.joules_per_batch,
    )
