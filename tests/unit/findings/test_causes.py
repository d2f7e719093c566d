"""Findings that fit their cause: what another explains, twins in one, currencies, padding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kineto import TraceWriter
from support.shared import shared
from unit.findings.test_findings import (
    MS,
    WO,
    a_batch,
    a_module,
    a_phase,
    a_record,
    an_account,
    ceilings,
    found,
    operators,
    row,
    the,
)

from layerscope.account.account import account, work_out
from layerscope.findings import Evidence, find
from layerscope.findings.places import rows_of
from layerscope.findings.worth import in_currencies
from layerscope.records.finding import Finding, RestsOn, Saving
from layerscope.records.layer_table import LayerRow
from layerscope.records.tables import AttentionRow, OperatorRow
from layerscope.report.findings import saving_text
from layerscope.runs.examine import examine, workings_of
from layerscope.timeline.idle import DISPATCH_NS, Idle, idle_of
from layerscope.trace.columns import read_trace

LAUNCH_NS = 1  # what the trace writer's launch calls take
NORM = "language_model.decoder.block.{}.layer.{}.layer_norm"


def norms(gpu_ms: float = 2.0, **more: object) -> list[LayerRow]:
    """Three norms in each of two blocks, and a rest that fills 100 ms."""
    values = {"module": "T5LayerNorm", "calls": 19, "kernels": 19 * 7, "group": "norm", **more}
    rows = [
        row(NORM.format(block, at), "decode", gpu_ms, roofline_ns=MS // 100, flops_self=0,
            bytes_self=10**6, **values)
        for block in (0, 1) for at in (0, 1, 2)
    ]  # fmt: skip
    return [*rows, row("rest", "decode", 100 - 6 * gpu_ms, roofline_ns=80 * MS, flops_self=10**9,
                       bytes_self=10**6)]  # fmt: skip


# one finding for all twins, with the advice that its cause asks for


def test_all_twins_of_a_pattern_are_one_finding() -> None:
    """3 x 2 norms of 2 ms: 12 ms, none of which alone reaches 3 % of the time."""
    finding = the(Evidence(account=an_account(norms())), "below-roofline")
    assert finding.rests_on == (
        RestsOn(layer="language_model.decoder.block.*.layer.*.layer_norm", phase="decode"),
    )
    assert "(decode, 6 layers) takes 12.0 ms, 12 % of all device time" in finding.sentence
    assert "Many small kernels a call, which could be one." in finding.sentence
    assert finding.try_next == "torch.compile of each part of the model (fewer, larger kernels)"
    assert finding.saving.saved_ns == 12 * MS - 6 * MS // 100
    assert not finding.saving.at_most  # a neighbour's kernel may take a norm in and its bytes away


def test_other_classes_of_the_same_name_are_no_twins() -> None:
    rows = norms()
    rows[0] = replace(rows[0], module="Identity")
    finding = the(Evidence(account=an_account(rows)), "below-roofline")
    assert "5 layers) takes 10.0 ms" in finding.sentence


def test_what_is_compiled_is_not_told_to_compile() -> None:
    record = a_record({"optimization": "compile"})
    finding = the(Evidence(account=an_account(norms()), record=record), "below-roofline")
    assert (finding.try_next, finding.saving.saved_ns) == ("", None)
    assert "nothing that layerscope knows of is left" in finding.saving.basis


def slow_products(of: str, **config: object) -> Evidence:
    rows = [
        row(WO.format(i), "decode", 10, roofline_ns=MS, calls=19, kernels=38, dtype=of,
            flops_self=10**10, bytes_self=10**9) for i in (0, 1)
    ]  # fmt: skip
    rows.append(row("rest", "decode", 80, roofline_ns=70 * MS, flops_self=1, bytes_self=1))
    modules = [a_module(WO.format(i), 10**6, of) for i in (0, 1)]
    return Evidence(
        account=an_account(rows),
        record=a_record(config, tuple(modules)),
        ceilings=ceilings(float32=50e12, tf32=400e12),
    )


def test_fp32_products_are_the_islands_finding_s_alone() -> None:
    assert found(slow_products("float32"), "below-roofline") is None
    assert the(slow_products("float32"), "fp32-islands").saving.saved_ns


def test_fp32_products_that_no_island_explains_are_told_of_tf32() -> None:
    """A bare trace with a roofline: nobody says what dtype was asked for, the rows say float32."""
    bare = replace(slow_products("float32"), record=None)
    finding = the(bare, "below-roofline")
    assert finding.try_next.startswith('torch.set_float32_matmul_precision("high")')
    full = slow_products("float32", dtype="fp32")
    assert the(full, "below-roofline").try_next.startswith("--fp32-matmul high")
    allowed = slow_products("float32", dtype="fp32", fp32_matmul="high")
    advice = the(allowed, "below-roofline").try_next
    assert "--fp32-matmul" not in advice
    assert "half-precision weights" in advice


def test_half_products_of_few_rows_are_told_of_the_batch_before_tuning() -> None:
    eager = the(slow_products("float16"), "below-roofline")
    assert eager.try_next == "a larger --batch"
    compiled = the(slow_products("float16", optimization="compile"), "below-roofline")
    assert "--coordinate-descent-tuning" in compiled.try_next
    assert "--optimization compile" not in compiled.try_next


def test_attention_on_its_math_kernel_is_no_second_finding() -> None:
    layer = "m.block.0.attention"
    rows = [
        row(layer, "decode", 20, roofline_ns=MS, calls=19, kernels=300, flops_self=10**6,
            bytes_self=10**6, group="decoder.self_attention"),
        row("m.rest", "decode", 80, roofline_ns=70 * MS, flops_self=1, bytes_self=1),
    ]  # fmt: skip
    math = (OperatorRow("aten::_scaled_dot_product_attention_math", layer, "decode", 19, 0, 0),)
    explained = Evidence(account=an_account(rows, operators=math))
    assert found(explained, "below-roofline") is None
    saving = the(explained, "attention-math-kernel").saving
    assert (saving.saved_ns, saving.by_phase) == (19 * MS, {"decode": 19 * MS})
    eager = Evidence(account=an_account(rows), record=a_record({"attention": "eager"}))
    assert the(eager, "below-roofline").try_next.startswith("--attention sdpa")
    # One fused kernel and some copies beside it: no other attention would help.
    fused = Evidence(account=an_account(rows), record=a_record())
    assert the(fused, "below-roofline").try_next == "--optimization compile (fewer, larger kernels)"


def test_a_table_without_operators_says_which_attention_ran() -> None:
    account_ = replace(operators(), operators=(), attention=(
        AttentionRow("m.block.0.attention", "decode", "math", 19),))  # fmt: skip
    assert "19 calls" in the(Evidence(account=account_), "attention").sentence


def test_an_upgrade_is_the_remedy_where_it_is_known_to_be() -> None:
    account_ = operators("aten::_scaled_dot_product_attention_math")
    rows = tuple(replace(r, module="T5Attention") for r in account_.table.rows)
    account_ = replace(account_, table=replace(account_.table, rows=rows))

    def advice(version: str) -> str:
        record = a_record()
        packages = {"transformers": version}
        record = replace(record, environment=replace(record.environment, packages=packages))
        return the(Evidence(account=account_, record=record), "attention").try_next

    assert advice("5.17.0").startswith("transformers 5.20 or newer (this is 5.17.0)")
    assert advice("5.9").startswith("transformers 5.20")  # 9 comes before 20
    assert "or newer" not in advice("5.24.0")
    assert "--attention flash" not in advice("5.24.0")  # T5 refuses it


def test_torch_s_own_reason_is_said_where_it_was_asked() -> None:
    account_ = operators("aten::_scaled_dot_product_attention_math")
    key = ("m.block.0.attention", "decode")
    asked = Evidence(account=account_, attention_reasons={key: "efficient: stride 1"})
    assert the(asked, "attention").sentence.endswith("torch's own reason: efficient: stride 1.")
    on_cpu = Evidence(account=account_, record=a_record({"device": "cpu", "dtype": "fp32"}))
    assert the(on_cpu, "attention").sentence.endswith("Why is not judged on a CPU.")
    assert "reason" not in the(Evidence(account=account_), "attention").sentence


# waiting: for the host, or for the device


def idle_of_trace(trace: TraceWriter, path: Path) -> tuple[Evidence, Idle]:
    columns = read_trace(trace.write(path))
    held = account(work_out(columns), source="t")
    idle = idle_of(work_out(columns), held.table)
    assert idle is not None
    return Evidence(account=held, idle=idle), idle


def test_a_stream_that_waits_is_no_late_launch() -> None:
    """The first kernel waits 71 us for its launch, the second 38 us; what is left of 463 ms is not
    the host's. Each launch call takes 5 us, and may take 20 more to start on an idle device."""
    path = shared("cases/traces/stream_wait_called_launch_bound.json")
    examined = examine(workings_of(path), path)
    held, idle = examined.account, examined.idle
    assert idle is not None
    (phase,) = idle.phases
    assert phase.late_ns == 71_000 + 38_000
    assert phase.host_ns == 81_000 + (123 + 5 - 85) * 1000 + DISPATCH_NS
    assert phase.host_ns + phase.queue_ns == 81_000 + (463_380 - 85) * 1000
    (finding,) = find(Evidence(account=held, idle=idle))
    assert finding.id == "device-waits-forward"
    assert "463 ms of that for work that had been launched" in finding.sentence
    assert "0.109 ms for launches that the host began late" in finding.sentence
    assert finding.saving.saved_ns is None


@pytest.mark.parametrize("waits_us", [0, 15, 500, 90_000])
def test_what_follows_a_late_launch_is_the_host_s_up_to_the_dispatch(
    waits_us: int, tmp_path: Path
) -> None:
    """A launch that begins 100 us late; then the kernel waits on."""
    trace = TraceWriter()
    trace.layer("forward", 0, 200_000_000)
    trace.launch(0, 0)
    trace.kernel(0, 0, 1_000)
    trace.launch(1, 101_000)
    start = 101_000 + waits_us * 1000
    trace.kernel(1, start, 1_000)
    _, idle = idle_of_trace(trace, tmp_path / "t.json")
    gap = start - 1_000
    took = idle.phases[0].host_ns
    assert took == min(gap, 100_000 + LAUNCH_NS + DISPATCH_NS)
    assert took + idle.phases[0].queue_ns == gap


def test_launches_that_overtake_the_kernels_are_no_wait_on_the_device(tmp_path: Path) -> None:
    """A kernel of 1 us every 5 us, launched 8 us before it starts: idle 80 %, and nothing to wait for
    but the launches themselves, of which fewer would help."""
    trace = TraceWriter()
    trace.layer("forward", 0, 600_000)
    for index in range(100):
        trace.launch(index, 5_000 * index)
        trace.kernel(index, 5_000 * index + 8_000, 1_000)
    evidence, idle = idle_of_trace(trace, tmp_path / "t.json")
    (phase,) = idle.phases
    assert phase.stalled_ns == 0
    assert phase.queue_ns > 0.5 * phase.span_ns
    assert found(evidence, "device-waits") is None


# three currencies


def priced(saving: Saving, *phases: Idle, unprofiled_ms: float | None = 400) -> Saving:
    idle = replace(
        phases[0],
        window_ns=sum(p.window_ns for p in phases),
        active_ns=sum(p.active_ns for p in phases),
        idle_ns=sum(p.idle_ns for p in phases),
        phases=tuple(p for one in phases for p in one.phases),
    )
    evidence = Evidence(
        account=an_account([row("a", "decode", 1)]), idle=idle,
        record=a_record(unprofiled_ms=unprofiled_ms),
    )  # fmt: skip
    finding = Finding(id="x", sentence="", rests_on=(), try_next="", saving=saving)
    return in_currencies(finding, evidence).saving


def test_device_time_saved_while_the_host_limits_is_saved_later() -> None:
    """The encoder keeps the device busy, decode waits: of 30 + 20 ms the latency feels 30 now."""
    saving = Saving(saved_ns=50 * MS, by_phase={"encoder": 30 * MS, "decode": 20 * MS}, basis="b")
    worth = priced(
        saving, a_phase("encoder", active=100, host=0), a_phase("decode", active=50, host=250)
    ).worth
    assert worth is not None
    assert (worth.now_ns, worth.latency_ns) == (30 * MS, 400 * MS)
    assert (worth.later_ns, worth.device_ns) == (50 * MS, 150 * MS)
    assert (worth.joules, worth.reason) == (None, "the run's power was not measured")


def test_gaps_of_the_profiler_s_own_are_not_held_against_a_saving() -> None:
    """Unprofiled the batch takes 102 ms with 100 ms of work: it feels all but 2 % of a saving."""
    saving = Saving(saved_ns=10 * MS, by_phase={"decode": 10 * MS}, basis="b")
    worth = priced(saving, a_phase("decode", active=100, host=300), unprofiled_ms=102).worth
    assert worth is not None
    assert worth.now_ns == round(10 * MS * (1 - 2 / 102))


def test_without_an_unprofiled_time_the_latency_s_part_is_unknown() -> None:
    saving = Saving(saved_ns=10 * MS, by_phase={"decode": 10 * MS}, basis="b")
    priced_ = priced(saving, a_phase("decode", active=100, host=0), unprofiled_ms=None)
    assert priced_.worth is not None
    assert (priced_.worth.now_ns, priced_.worth.later_ns) == (None, 10 * MS)
    assert "the batch was not timed without the profiler" in saving_text(priced_)


@given(st.floats(0, 500), st.floats(0.1, 500), st.floats(0, 500), st.floats(1, 2000))
def test_no_currency_exceeds_what_was_saved(
    host: float, active: float, queue: float, unprofiled: float
) -> None:
    saving = Saving(saved_ns=MS, by_phase={"decode": MS}, basis="b")
    phase = a_phase("decode", active=active, host=host, queue=queue)
    worth = priced(saving, phase, unprofiled_ms=unprofiled).worth
    assert worth is not None
    assert 0 <= (worth.now_ns or 0) <= (worth.later_ns or 0) == MS


# places


def test_places_stand_largest_first() -> None:
    rows = [row("a.0.x", "p", 1), row("b.0.x", "p", 5), row("b.1.x", "p", 5), row("a.0.x", "q", 7)]
    places = (RestsOn(layer="a.*.x", phase="p"), RestsOn(source="run.json"),
              RestsOn(layer="b.*.x", phase="p"))  # fmt: skip
    assert [len(rows_of(place, rows)) for place in places] == [1, 0, 2]
    evidence = Evidence(account=an_account(norms()))
    assert find(evidence)[0].rests_on[0].layer.endswith("layer_norm")


# padding by position


def qformer(queries: int) -> Evidence:
    """10 of 40 text positions hold a token; 8 queries a sample; each layer takes 8 ms."""
    names = (
        "attention.attention.query", "crossattention.attention.query", "intermediate_query.dense",
        "intermediate.dense", "output_query.dense", "output.dense",
    )  # fmt: skip
    rows = [row(f"qformer.encoder.layer.0.{name}", "qformer", 8) for name in names]
    batch = a_batch(text=((10,), 10), qformer=((5, 5), 20))
    batch = replace(batch, image_tokens=(queries, queries) if queries else ())
    return Evidence(account=an_account(rows), record=a_record(batches=(batch,)))


def test_queries_and_cross_attention_are_no_padding() -> None:
    """30 of 40 text positions are padding. Self-attention reads 40 + 16: 30/56 of 8 ms; the text's own
    feed-forward twice 30/40 of 8 ms; cross-attention and the queries' feed-forward nothing."""
    finding = the(qformer(8), "padding-qformer")
    assert finding.saving.saved_ns == round(8 * MS * 30 / 56 + 2 * 8 * MS * 30 / 40)
    naive = 6 * 8 * MS * 30 / 40
    assert naive / (finding.saving.saved_ns or 1) > 2


def test_queries_that_nobody_counted_leave_no_estimate() -> None:
    finding = the(qformer(0), "padding-qformer")
    assert finding.saving.saved_ns is None
    assert "query tokens" in finding.saving.basis
