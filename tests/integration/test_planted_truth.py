"""Delays of known length in random layers: the account gives each to its own layer, in its length.

`benchmarks/planted_truth.py` does the same with 1,000 delays, and on a GPU.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import pytest
import torch
from support.planted.models import WIDTH, Gated
from support.planted.planting import choose, planted
from support.planted.series import Subject, Window
from support.planted.subjects import own, replicated, zoo
from support.planted.truth import Delay, TruthLost, by_executing_thread, kernel_events
from support.planted.verdict import judge
from support.planted.windows import compiled, eager
from support.shared import shared

from layerscope.records import Account, LayerRow, LayerTable, OperatorRow, Whole

OWN = own()


def all_right(window: Window, least: int) -> None:
    """Every delay lies in its own layer and within 2 % of its true length."""
    assert len(window.findings) >= least
    assert {f.verdict for f in window.findings} == {"right"}, [
        finding for finding in window.findings if finding.verdict != "right"
    ]


@pytest.mark.parametrize("name", OWN)
def test_eager(name: str) -> None:
    all_right(eager(OWN[name](), random.Random(name), 14), 14)


def test_three_threads_that_call_one_model() -> None:
    all_right(eager(OWN["captioner"](), random.Random(5), 15, threads=3), 15)


def test_threads_that_call_copies_below_one_root() -> None:
    subject = replicated(OWN["tower"](), 2)
    window = eager(subject, random.Random(6), 10, threads=2)
    all_right(window, 10)
    assert len({finding.layer.split(".")[1] for finding in window.findings}) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llava", "instructblip_t5", "whisper"])
def test_generate_of_the_zoo(name: str) -> None:
    """Layers that are called once, and once a token."""
    models = zoo(shared("cases/zoo.py"))
    all_right(eager(models[name](), random.Random(name), 20), 20)


# ---- compiled -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_model() -> None:
    for window in compiled(OWN["experts"](), random.Random(7), 20, windows=2):
        all_right(window, 20)


@pytest.mark.slow
def test_compiled_blocks_that_share_a_graph() -> None:
    for window in compiled(OWN["tower"](), random.Random(8), 24, windows=2, blocks="blocks"):
        all_right(window, 24)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [False, True], ids=["graph break", "forwards replaced"])
def test_delays_around_graph_breaks_and_in_replaced_forwards(wrap: bool) -> None:
    """After a graph break some code runs uncompiled between the pieces, and stays with the compiled
    model as a whole; where `forward` was replaced on the instance, as adapters and offloading do,
    dynamo names modules by way of the replacement."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), Gated()).eval()
    if not wrap:
        net[1].down.register_forward_pre_hook(lambda *_: torch._dynamo.graph_break())
    x = torch.randn(2, WIDTH)
    (window,) = compiled(Subject("net", net, lambda m: m(x)), random.Random(9), 8, wrap=wrap)
    verdicts = Counter(finding.verdict for finding in window.findings)
    assert verdicts["right"] + verdicts["unknown"] == 8, window.findings
    assert verdicts["right"] >= (8 if wrap else 4), window.findings


# ---- the instrument itself ----------------------------------------------------------------------

A, B, C = (Delay(layer, n, us, us * 1000) for n, (layer, us) in enumerate(
    [("a", 9001), ("b", 8009), ("a", 7001)]
))  # fmt: skip


def account_of(**held: tuple[Delay, ...]) -> Account:
    """An account whose layers have one operator row each, of these delays."""
    rows = [
        OperatorRow("planted::delay", layer, "forward", len(d), ns, ns)
        for layer, d in held.items()
        if (ns := sum(delay.event_ns or 0 for delay in d))
    ]
    return Account(table=_table(rows), kernels=(), operators=tuple(rows), steps=(), source="")


def _table(rows: list[OperatorRow]) -> LayerTable:
    row = LayerRow(
        phase="forward", layer="", module="", group="other", depth=1, calls=1, kernels=0, params=None,
        gpu_self_ns=None, gpu_total_ns=None, cpu_self_ns=None, cpu_total_ns=None,
    )  # fmt: skip
    return LayerTable(
        rows=tuple(
            dataclasses.replace(row, layer=r.layer, cpu_self_ns=r.self_ns, op_self_ns=r.self_ns)
            for r in rows
        ),
        root="forward",
        whole=Whole(
            device_events=0,
            device_sum_ns=None,
            device_active_ns=None,
            window_span_ns=None,
            host_window_ns=None,
        ),
    )


def verdicts(account: Account, *regions: str) -> list[tuple[str, str | None]]:
    found = judge([A, B, C], account, regions=regions)
    return [(finding.verdict, finding.found_layer) for finding in found]


def test_what_the_instrument_says_of_an_account() -> None:
    own = [("right", "a"), ("right", "b"), ("right", "a")]
    assert verdicts(account_of(a=(A, C), b=(B,))) == own
    swapped = [("wrong", "b"), ("wrong", "a"), ("right", "a")]
    assert verdicts(account_of(a=(B, C), b=(A,))) == swapped
    region = [("right", "a"), ("unknown", "forward"), ("right", "a")]
    assert verdicts(account_of(a=(A, C), forward=(B,)), "forward") == region
    assert verdicts(account_of(a=(A, C), forward=(B,)))[1] == ("wrong", "forward")
    assert verdicts(account_of(a=(A, C)))[1] == ("lost", None)


def test_a_layer_table_without_the_time_of_its_operators_has_lost_it() -> None:
    account = account_of(a=(A, C), b=(B,))
    rows = tuple(
        dataclasses.replace(row, op_self_ns=1) if row.layer == "b" else row
        for row in account.table.rows
    )
    table = dataclasses.replace(account.table, rows=rows)
    assert verdicts(dataclasses.replace(account, table=table))[1] == ("lost", None)


def test_a_length_beyond_two_percent_is_off() -> None:
    late = dataclasses.replace(A, planted_us=A.planted_us * 0.97)
    (finding,) = judge([late], account_of(a=(A,)))
    assert (finding.verdict, finding.found_layer) == ("off", "a")


def test_replayed_kernels_follow_their_launch_then_their_start() -> None:
    """Two replays: all kernels of one bear the correlation of its launch. Hand-made, in µs."""

    def launch(name: str, tid: int, ts: float, correlation: int) -> dict[str, Any]:
        args = {"correlation": correlation}
        return {"ph": "X", "cat": "cuda_runtime", "name": name, "tid": tid, "ts": ts, "args": args}

    def kernel(ts: float, dur: float, correlation: int) -> dict[str, Any]:
        args = {"correlation": correlation}
        name = "at::cuda::(anonymous namespace)::spin_kernel(long)"
        return {
            "ph": "X",
            "cat": "kernel",
            "name": name,
            "tid": 7,
            "ts": ts,
            "dur": dur,
            "args": args,
        }

    trace = [
        kernel(30.0, 5.5, 2), kernel(10.0, 3.25, 1), kernel(14.0, 4.125, 1), kernel(50.0, 9.0, 3),
        launch("cudaGraphLaunch", 100, 1.0, 1), launch("cudaGraphLaunch", 100, 2.0, 2),
        launch("cudaLaunchKernel", 200, 1.5, 3),
    ]  # fmt: skip
    assert kernel_events(trace) == {100: [3250, 4125, 5500], 200: [9000]}


def test_threads_of_a_device_trace_are_known_by_their_lengths() -> None:
    """Made by hand: numbers of its own, and two threads with as many delays as one another."""
    planted_us = {1: [10.0, 20.0], 2: [20.0, 10.0], 3: [10.0]}
    events = {7: [20_100, 10_050], 8: [10_020], 9: [10_100, 19_900]}
    assert by_executing_thread(planted_us, events) == {1: events[9], 2: events[7], 3: events[8]}
    assert by_executing_thread({7: [1.0]}, {7: [9000]}) == {7: [9000]}  # the trace's own are right
    for lost in (
        {7: [20_100, 10_050], 8: [10_020]},
        {**events, 6: [10_000]},
        {**events, 7: [1, 2]},
    ):
        with pytest.raises(TruthLost):
            by_executing_thread(planted_us, lost)
    with pytest.raises(TruthLost):
        by_executing_thread({1: [10.0], 2: [10.1]}, {7: [10_000], 8: [10_100]})


def test_planting_leaves_nothing_behind() -> None:
    model = OWN["tower"]().model
    before = {name: (type(m), dict(m.__dict__)) for name, m in model.named_modules()}
    plants = choose(random.Random(0), [name for name in before if name != "blocks"], 12)
    for wrap in (False, True):
        with planted(model, plants, wrap=wrap):
            changed = [n for n, m in model.named_modules() if dict(m.__dict__) != before[n][1]]
            assert len(changed) == len({plant.layers for plant in plants})
        assert {n: (type(m), dict(m.__dict__)) for n, m in model.named_modules()} == before
