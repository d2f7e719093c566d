"""Replayed layers' joules in, findings out: what draws more than its time says, and idle joules."""

from __future__ import annotations

from layerscope.core.files import LAYER_ENERGY_FILE
from layerscope.core.units import ms, percent
from layerscope.core.words import slug
from layerscope.findings.evidence import Evidence, Verdict
from layerscope.joules.energy_by_kind import KindEnergy, by_kind
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.remedies.cudagraphs import REMEDY as CUDAGRAPHS
from layerscope.work.roofline import sum_ns

# A kind of layer with at least this share of the joules ...
LEAST_SHARE = 0.03
# ... whose share of the joules is off its share of the device time by at least this factor.
DISAGREES = 1.15
MOST_FINDINGS = 3
# From this share on a kind's joules are those of its gaps.
MOSTLY_WAITING = 0.3
# Idle joules below this share of the run are the normal spacing of kernels.
LEAST_IDLE = 0.1


def energy_against_time(evidence: Evidence) -> Verdict:
    """Kinds of layers whose share of the joules is far above or below their share of the time.

    Silent where nobody asked for energy by layer.
    """
    found = evidence.layer_energy
    if found is None:
        return ()
    if found.reason is not None:
        return NotJudged(rule="energy-against-time", reason=found.reason)
    kinds = [
        (abs(kind.energy_share - kind.device_share), kind, ratio)
        for kind in by_kind(found)
        for ratio in [kind.energy_over_time]
        if ratio is not None
        and kind.source == "replay"
        and kind.energy_share >= LEAST_SHARE
        and not 1 / DISAGREES < ratio < DISAGREES
        and not _within_error(kind)
    ]
    kinds.sort(key=lambda item: -item[0])
    return tuple(_finding(evidence, kind, ratio) for _, kind, ratio in kinds[:MOST_FINDINGS])


def idle_energy(evidence: Evidence) -> Verdict:
    """Joules that the device draws while it waits: idle power over the time without kernels."""
    found = evidence.layer_energy
    if found is None or found.end_to_end is None or not evidence.on_device:
        return ()
    whole = found.end_to_end
    busy_s = (evidence.account.table.whole.device_active_ns or 0) / 1e9
    idle_j = whole.idle_w * max(whole.wall_s - busy_s, 0.0)
    share = idle_j / (whole.whole_nj / 1e9)
    if share < LEAST_IDLE:
        return ()
    idle_ns = round((whole.wall_s - busy_s) * 1e9)
    return (
        Finding(
            id="idle-energy",
            sentence=(
                f"{percent(share)} of the joules, {idle_j:.2f} of {whole.whole_nj / 1e9:.2f} J a "
                f"batch, are drawn while no kernel runs: {whole.idle_w:.0f} W over "
                f"{ms(idle_ns)} of {ms(whole.wall_s * 1e9)}."
            ),
            rests_on=(RestsOn(source=f"{LAYER_ENERGY_FILE}: wall_us less device_us"),),
            try_next=_graphs(evidence, "the same kernels without the wait between them"),
            saving=Saving(
                saved_ns=idle_ns,
                whole_ns=round(whole.wall_s * 1e9),
                of="latency",
                basis="all time of the unprofiled batch in which no kernel runs",
            ),
            concerns_ns=idle_ns,
        ),
    )


def _graphs(evidence: Evidence, why: str) -> str:
    """CUDA graphs, unless the run has them."""
    advice = evidence.advice(CUDAGRAPHS)
    return f"{advice}: {why}" if advice else ""


def _within_error(kind: KindEnergy) -> bool:
    """Whether the kind's own interval reaches the joules that its time alone would give it."""
    if kind.half_j is None:
        return False
    of_its_time_j = kind.energy_j * kind.device_share / kind.energy_share
    return abs(kind.energy_j - of_its_time_j) < kind.half_j


def _finding(evidence: Evidence, kind: KindEnergy, ratio: float) -> Finding:
    energy = evidence.layer_energy
    assert energy is not None
    rows = _rows(energy, kind)
    word = "more" if ratio > 1 else "fewer"
    power = "" if kind.replay_w is None else f", at {kind.replay_w:.0f} W while it runs"
    error = "" if kind.half_j is None else f" ± {kind.half_j:.2f}"
    waiting = ""
    if kind.waiting_share >= LEAST_IDLE:
        waiting = f"; {percent(kind.waiting_share)} of them are drawn waiting for its kernels"
    tries = {
        "more": "its joules, not its time, are what to save: fewer or cheaper operations",
        "fewer": "its time, not its joules, is what to save",
    }
    if ratio > 1 and kind.waiting_share >= MOSTLY_WAITING:
        graphs = _graphs(evidence, "its joules go while the device waits for launches")
        tries["more"] = graphs or tries["more"]
    return Finding(
        id=f"energy-against-time-{slug(kind.kind)}-{kind.phase}",
        sentence=(
            f"`{kind.kind}` ({kind.phase}) costs {word} joules than its time says: "
            f"{percent(kind.energy_share)} of the joules ({kind.energy_j:.2f}{error} J) in "
            f"{percent(kind.device_share)} of the {energy.time_of}{power}{waiting}."
        ),
        rests_on=rows,
        try_next=tries[word],
        saving=Saving(
            saved_ns=None, basis="joules by layer say where they go, not what would save"
        ),
        concerns_ns=_time_ns(evidence, kind),
    )


def _rows(energy: LayerEnergy, kind: KindEnergy) -> tuple[RestsOn, ...]:
    units = [u for u in energy.units if (u.kind, u.phase) == (kind.kind, kind.phase)]
    source = f"{LAYER_ENERGY_FILE}: kind {kind.kind}, {len(units)} lines"
    layer = kind.kind if "." in kind.kind and kind.kind.endswith(".*") else ""
    return (RestsOn(layer=layer, phase=kind.phase, source=source),)


def _time_ns(evidence: Evidence, kind: KindEnergy) -> int:
    return min(round(kind.device_s * 1e9), sum_ns(evidence.account.table.rows))


PLACE = 90
RULES = (energy_against_time, idle_energy)
