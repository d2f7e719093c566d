"""Findings from replayed layers: joules against time, and the joules drawn while nothing runs."""

from __future__ import annotations

from unit.joules.test_layer_energy import BLOCK_0, BLOCK_1, TABLE, found, unit, window

from layerscope.findings import Evidence, find, not_judged
from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records.finding import Finding
from layerscope.records.tables import Account

ACCOUNT = Account(table=TABLE, kernels=(), operators=(), steps=(), source="trace")


def seen(energy: LayerEnergy | None) -> dict[str, Finding]:
    evidence = Evidence(account=ACCOUNT, layer_energy=energy)
    return {finding.id: finding for finding in find(evidence) if "energy" in finding.id}


def test_a_kind_that_costs_more_joules_than_time_says_so_with_its_numbers() -> None:
    """Blocks of their own kinds: 18 of 47.5 J in 30 of 100 ms, and 17 of 47.5 J in 50 of 100 ms."""
    hot = unit("tower.layers.0", (window(0.6 * 500, 0.6, 20),) * 2, kind="hot")
    cool = unit("tower.layers.1", (window(0.5 * 300, 0.5, 10),) * 2, kind="cool")
    findings = seen(found(hot, cool))
    more = findings["energy-against-time-hot-vision"]
    assert "38 % of the joules" in more.sentence
    assert "30 % of the device time, at 500 W" in more.sentence
    assert "costs more joules" in more.sentence
    less = findings["energy-against-time-cool-vision"]
    assert "36 % of the joules" in less.sentence
    assert "costs fewer joules" in less.sentence
    assert less.saving.saved_ns is None


def test_a_difference_within_the_error_is_no_finding() -> None:
    """The same means, from windows that differ by half: the interval reaches the time's share."""
    hot = unit(
        "tower.layers.0", (window(0.6 * 300, 0.6, 20), window(0.6 * 700, 0.6, 20)), kind="hot"
    )
    assert "energy-against-time-hot-vision" not in seen(found(hot, BLOCK_1))


def test_idle_joules_by_hand() -> None:
    """Batch of 200 ms, 100 ms of it without a kernel, at 100 W: 10 of 40 J."""
    idle = seen(found(BLOCK_0, BLOCK_1))["idle-energy"]
    assert "25 % of the joules, 10.00 of 40.00 J a batch" in idle.sentence
    assert idle.saving.saved_ns == 100_000_000


def test_silent_where_nobody_asked_and_not_judged_where_there_is_no_counter() -> None:
    assert seen(None) == {}
    rules = {n.rule: n.reason for n in not_judged(Evidence(account=ACCOUNT))}
    assert "energy-against-time" not in rules
    absent = Evidence(account=ACCOUNT, layer_energy=LayerEnergy(reason="no counter"))
    assert {n.rule: n.reason for n in not_judged(absent)}["energy-against-time"] == "no counter"
