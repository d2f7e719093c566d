"""Each rule fires where its figures say so, with the figures, and is silent where they do not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from support.shared import shared

from layerscope.account.account import account, work_out
from layerscope.core.remedy import remedies
from layerscope.findings import Evidence, find, not_judged, rank
from layerscope.records import (
    BatchRecord,
    Environment,
    LatencySample,
    LayerRow,
    LayerTable,
    ModelRecord,
    ModuleRecord,
    Report,
    Reported,
    RunConfig,
    RunRecord,
    TracePass,
    Whole,
    WorkloadRecord,
)
from layerscope.records.finding import Finding, NotJudged, RestsOn, Saving
from layerscope.records.tables import Account, KernelRow, OperatorRow, StepRow
from layerscope.records.work import Ceilings
from layerscope.timeline.idle import Idle, IdleRow, PhaseIdle, idle_of
from layerscope.trace.columns import read_trace

MS = 1_000_000
WO = "language_model.decoder.block.{}.layer.2.DenseReluDense.wo"


def row(layer: str, phase: str, gpu_ms: float, **more: object) -> LayerRow:
    values: dict[str, object] = {
        "module": "Linear",
        "group": "other",
        "depth": layer.count(".") + 1,
        "calls": 1,
        "kernels": 1,
        "gpu_self_ns": round(gpu_ms * MS),
        "gpu_total_ns": round(gpu_ms * MS),
        "cpu_self_ns": 0,
        "cpu_total_ns": 0,
        "params": None,
        **more,
    }
    return LayerRow(layer=layer, phase=phase, **values)  # type: ignore[arg-type]


def an_account(
    rows: Iterable[LayerRow] = (),
    kernels: tuple[KernelRow, ...] = (),
    operators: tuple[OperatorRow, ...] = (),
    steps: int = 0,
) -> Account:
    held = tuple(rows)
    whole = Whole(
        device_events=sum(r.kernels for r in held),
        device_sum_ns=sum(r.gpu_self_ns or 0 for r in held),
        device_active_ns=None,
        window_span_ns=None,
        host_window_ns=0,
    )
    return Account(
        table=LayerTable(rows=held, root="generate", whole=whole),
        kernels=kernels,
        operators=operators,
        steps=tuple(StepRow(i, "decode" if i else "prefill", 0, 0, 0) for i in range(steps)),
        source="by hand",
    )


def a_phase(
    name: str, *, active: float, host: float, queue: float = 0, launches: int = 1000
) -> Idle:
    """One phase as a whole window; times in ms."""
    values = {
        "gaps": launches,
        "active_ns": round(active * MS),
        "host_ns": round(host * MS),
        "late_ns": 0,
        "queue_ns": round(queue * MS),
        "unknown_ns": 0,
        "launches": launches,
    }
    phase = PhaseIdle(phase=name, host_self_ns=None, first_to_last_launch_ns=0, **values)
    return Idle(
        window_ns=phase.span_ns,
        devices=1,
        active_ns=phase.active_ns,
        idle_ns=phase.idle_ns,
        rows=(IdleRow(layer="language_model.decoder", phase=name, **values),),
        phases=(phase,),
    )


def a_record(
    config: dict[str, object] | None = None,
    modules: tuple[ModuleRecord, ...] = (),
    batches: tuple[BatchRecord, ...] = (),
    unprofiled_ms: float | None = None,
) -> RunRecord:
    absent = Reported(value=None, unit="", definition="", reason="by hand")
    chosen = {"model": "m", "dataset": "d", "device": "cuda", "dtype": "fp16", **(config or {})}
    return RunRecord(
        name="r",
        created_utc="",
        choices=(),
        config=RunConfig(**chosen),  # type: ignore[arg-type]
        environment=Environment(
            layerscope="0", python="", platform="", cpu_model="", cpu_count=1, memory_bytes=None,
            torch=None, torch_threads=None, packages={},
        ),
        model=ModelRecord(
            name="m", source="folder", cls="M", weights="", trained=True, params=0, param_bytes=0,
            dtypes={}, attention={}, modules=modules,
        ),
        workload=WorkloadRecord(dataset="d", synthetic=True, source="", batches=batches),
        trace=TracePass(
            batch=0, size=16, decoder_steps=20, new_tokens=(), profiled_ns=0,
            unprofiled_ns=None if unprofiled_ms is None else round(unprofiled_ms * MS), root="generate",
        ),
        report=Report(wer_value=absent, latency=absent, energy=absent, flops=absent),
    )  # fmt: skip


def a_module(fqn: str, params: int, dtype: str) -> ModuleRecord:
    return ModuleRecord(fqn=fqn, cls="Linear", group="other", params=params, dtype=dtype)


def a_batch(
    pixels: tuple[int, ...] = (2, 3, 224, 224),
    text: tuple[tuple[int, ...], int] = ((10, 10), 10),
    qformer: tuple[tuple[int, ...], int] = ((10, 10), 10),
) -> BatchRecord:
    return BatchRecord(
        index=0,
        sample_ids=("a", "b"),
        pixel_values_shape=pixels,
        text_lengths=text[0],
        padded_text_length=text[1],
        qformer_lengths=qformer[0],
        padded_qformer_length=qformer[1],
    )


def found(evidence: Evidence, start: str) -> Finding | None:
    hits = [finding for finding in find(evidence) if finding.id.startswith(start)]
    assert len(hits) < 2
    return hits[0] if hits else None


def the(evidence: Evidence, start: str) -> Finding:
    finding = found(evidence, start)
    assert finding is not None, find(evidence)
    return finding


def reasons(evidence: Evidence) -> dict[str, str]:
    return {item.rule: item.reason for item in not_judged(evidence)}


# launch-bound


def test_decode_that_waits_for_launches() -> None:
    """100 ms busy, 300 ms late launches: 75 % idle; 1,000 launches, one every 400 us."""
    evidence = Evidence(account=an_account(steps=20), idle=a_phase("decode", active=100, host=300))
    finding = the(evidence, "launch-bound-decode")
    assert finding.sentence.startswith(
        "decode is launch-bound: profiled, the device is idle 75 % of 400 ms over 19 decoder steps"
    )
    assert finding.sentence.endswith("without it the device waits less.")
    assert (
        "1,000 launches, one every 400.0 µs, for 100.0 µs of device work each" in finding.sentence
    )
    assert finding.saving.saved_ns == 300 * MS
    assert (finding.saving.share, finding.saving.of) == (0.75, "profiled window")
    assert finding.rests_on[0] == RestsOn(phase="decode")
    assert finding.try_next == (
        'torch.compile with mode="reduce-overhead", or torch.cuda.CUDAGraph (one launch for a whole '
        "step) or torch.compile of each part of the model (fewer, larger kernels), or a larger batch "
        "(more work in each launch)"
    )


def test_advice_is_an_option_in_a_run_and_none_that_the_run_follows() -> None:
    idle = a_phase("decode", active=100, host=300)

    def advice(**config: object) -> str:
        evidence = Evidence(account=an_account(), idle=idle, record=a_record(config))
        return the(evidence, "launch-bound").try_next

    assert advice().startswith("--optimization cudagraphs (one launch for a whole step) or --opt")
    assert advice(optimization="compile") == (
        "--optimization cudagraphs (one launch for a whole step), or a larger --batch (more work in "
        "each launch)"
    )
    assert "--optimization" not in advice(optimization="cudagraphs")


def test_a_foreign_trace_under_cuda_graphs_is_not_told_to_use_them() -> None:
    """Nobody says how it was run, but its kernels came from a graph's launch."""
    kernels = (KernelRow("k", "forward", "forward", 9, 1, "graph"),)
    idle = a_phase("decode", active=100, host=300)
    finding = the(Evidence(account=an_account(kernels=kernels), idle=idle), "launch-bound")
    assert finding.try_next.startswith("a larger batch")
    assert "--" not in finding.try_next


def test_a_remedy_of_no_older_option_is_advised_where_it_says_that_it_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: Any = remedies()
    new = replace(
        known["tf32"],
        name="fewer-launches",
        does="one for two",
        helps=("launch-bound",),
        aliases=(),
    )
    monkeypatch.setitem(known, new.name, new)
    idle = a_phase("decode", active=100, host=300)
    finding = the(Evidence(account=an_account(), idle=idle, record=a_record()), "launch-bound")
    assert finding.try_next.endswith("; or --optimize fewer-launches (one for two)")
    with_it = a_record({"optimize": "fewer-launches"})
    finding = the(Evidence(account=an_account(), idle=idle, record=with_it), "launch-bound")
    assert "fewer-launches" not in finding.try_next


def test_the_unprofiled_time_takes_the_profiler_out_of_the_saving() -> None:
    """Of 250 ms unprofiled the device works 100; 150 remain, of which 300/320 waited for launches."""
    idle = a_phase("decode", active=100, host=300, queue=20)
    evidence = Evidence(account=an_account(), idle=idle, record=a_record(unprofiled_ms=250))
    finding = the(evidence, "launch-bound-decode")
    assert finding.saving.saved_ns == round(150 * MS * 300 / 320) == 140_625_000
    assert (finding.saving.whole_ns, finding.saving.of) == (250 * MS, "latency")
    # 400 / 320 of the gaps are gone: 140.6 of 250 ms wait for launches.
    assert finding.sentence.startswith(
        "decode is launch-bound: without the profiler the batch took 250 ms, idle 60 %, and this phase "
        "waits 56 % of its time if gaps shrink alike; profiled, the device is idle 76 % of 420 ms"
    )
    worth = finding.saving.worth
    assert worth is not None
    assert (worth.now_ns, worth.latency_ns, worth.later_ns) == (140_625_000, 250 * MS, None)


def test_a_busy_phase_and_a_profiler_s_own_gaps_are_no_launch_finding() -> None:
    busy = a_phase("decode", active=100, host=99)
    assert found(Evidence(account=an_account(), idle=busy), "launch-bound") is None
    queued = a_phase("decode", active=100, host=0, queue=300)
    assert found(Evidence(account=an_account(), idle=queued), "launch-bound") is None
    # 105 ms unprofiled with 100 ms of work: only the profiler made the device wait.
    profiled = a_phase("decode", active=100, host=300)
    record = a_record(unprofiled_ms=105)
    evidence = Evidence(account=an_account(), idle=profiled, record=record)
    assert found(evidence, "launch-bound") is None
    assert "launch-bound" in reasons(Evidence(account=an_account()))


# fp32 islands


def islands(config: dict[str, object] | None = None, dtype: str = "float32") -> Evidence:
    """Two `wo` of 20 ms and 10 ms, 40 GFLOP and 20 GFLOP, in 100 ms of device time."""
    rows = [
        row(WO.format(0), "decode", 20, flops_self=40 * 10**9, bytes_self=10**9),
        row(WO.format(1), "prefill", 10, flops_self=20 * 10**9, bytes_self=24 * 10**9),
        row("language_model.lm_head", "decode", 70, flops_self=10**9, bytes_self=10**9),
    ]
    modules = [a_module(WO.format(i), 10**6, dtype) for i in (0, 1)]
    modules.append(a_module("language_model.lm_head", 1, "float16"))
    return Evidence(account=an_account(rows), record=a_record(config, tuple(modules)))


def ceilings(**rates: float) -> Ceilings:
    return Ceilings(
        key="k", device="d", measured_utc="", matmul_flops_per_s=rates, matmul_shape={},
        copy_bytes_per_s=4e12, method="by hand",
    )  # fmt: skip


def test_fp32_modules_in_an_fp16_run() -> None:
    finding = the(islands(), "fp32-islands")
    assert finding.sentence == (
        "2 modules with 2.0 M parameters in fp32 take 30.0 ms, 30 % of all device time, in a run of "
        "fp16: decode 20.0 ms and prefill 10.0 ms; by name `wo` 100 % of it."
    )
    family = WO.format("*")
    assert finding.rests_on == (
        RestsOn(layer=family, phase="decode"),
        RestsOn(layer=family, phase="prefill"),
    )
    assert "--fp32-matmul high" in finding.try_next
    assert finding.saving.saved_ns is None
    assert "needs the measured fp32 and TF32" in finding.saving.basis


def test_what_tf32_could_save_is_bounded_by_the_bytes() -> None:
    """TF32 is 8 times fp32: 20 ms become 2.5 (17.5 saved). The other would become 1.25 ms, but its
    24 GB take 6 ms at 4 TB/s (4 saved): 21.5 ms in all, of 100."""
    evidence = replace(islands(), ceilings=ceilings(float32=50e12, tf32=400e12))
    saving = the(evidence, "fp32-islands").saving
    assert (saving.saved_ns, saving.whole_ns) == (21_500_000, 100 * MS)
    assert saving.share == pytest.approx(0.215)


@pytest.mark.parametrize(
    "config", [{"dtype": "fp32"}, {"fp32_matmul": "high"}], ids=["fp32 run", "already TF32"]
)
def test_no_islands_in_a_run_of_fp32_or_of_tf32(config: dict[str, object]) -> None:
    assert found(islands(config), "fp32") is None


def test_no_islands_where_all_is_half() -> None:
    assert found(islands(dtype="float16"), "fp32") is None


def test_the_root_is_no_island_though_it_holds_fp32_parameters() -> None:
    rows = [row("generate", "other", 50), row("a", "other", 50)]
    modules = (a_module("", 100, "float32"),)
    assert (
        found(Evidence(account=an_account(rows), record=a_record(modules=modules)), "fp32") is None
    )


# image size and padding


def test_source_images_that_the_processor_resized() -> None:
    record = a_record({"image_size": 448, "image_size_mode": "source"}, batches=(a_batch(),))
    finding = the(Evidence(account=an_account(), record=record), "image-size")
    assert "did not reach the model in 1 of 1 batches" in finding.sentence
    assert (
        "resized to 448 px before the processor, which made them 224 × 224 px" in finding.sentence
    )
    assert "--image-size-mode model" in finding.try_next
    assert finding.saving.saved_ns is None


def test_an_image_size_that_reached_the_model() -> None:
    record = a_record({"image_size": 224}, batches=(a_batch(),))
    assert found(Evidence(account=an_account(), record=record), "image-size") is None
    smaller = a_record({"image_size": 448}, batches=(a_batch(),))
    finding = the(Evidence(account=an_account(), record=smaller), "image-size")
    assert "448 px were asked for and 224 × 224 px reached the model" in finding.sentence


def test_padding_of_the_encoder_but_not_of_the_qformer() -> None:
    """10 + 50 of 2 x 100 positions hold a token: 70 % padding, of 40 ms of encoder at most 28."""
    record = a_record(batches=(a_batch(text=((10, 50), 100), qformer=((80, 80), 100)),))
    rows = [row("language_model.encoder", "encoder", 40), row("qformer", "qformer", 60)]
    finding = the(Evidence(account=an_account(rows), record=record), "padding")
    assert finding.id == "padding-encoder"
    assert "70 % of the language model's text positions" in finding.sentence
    assert "60 of 200 hold a token" in finding.sentence
    assert (finding.saving.saved_ns, finding.saving.share) == (28 * MS, 0.28)


def test_padding_turns_at_a_quarter() -> None:
    fuller = a_record(batches=(a_batch(text=((76, 75), 100), qformer=((1,), 1)),))
    assert found(Evidence(account=an_account(), record=fuller), "padding") is None
    emptier = a_record(batches=(a_batch(text=((75, 75), 100), qformer=((1,), 1)),))
    assert found(Evidence(account=an_account(), record=emptier), "padding") is not None


def test_padding_of_a_model_without_an_encoder_is_its_prefill_s() -> None:
    """60 of 200 text positions hold a token; of 200 + 200 positions in prefill 140 are padding."""
    batch = replace(a_batch(text=((10, 50), 100)), image_tokens=(100, 100))
    rows = [row("model.language_model", "prefill", 40), row("model.visual", "vision", 60)]
    finding = the(Evidence(account=an_account(rows), record=a_record(batches=(batch,))), "padding")
    assert finding.id == "padding-prefill"
    assert "60 of 200 hold a token" in finding.sentence
    assert finding.saving.saved_ns == 14 * MS
    assert "image tokens" in finding.saving.basis


def test_a_size_is_not_judged_of_patches_and_tiles() -> None:
    batch = replace(a_batch(), pixel_values_shape=(512, 1176))
    evidence = Evidence(account=an_account(), record=a_record(batches=(batch,)))
    assert "patches or tiles" in reasons(evidence)["image-size"]


# preprocessing


def prepared(preprocess_ms: float, *, dataset: str = "textvqa") -> Evidence:
    record = a_record(batches=(a_batch(),))
    sample = LatencySample(
        batch=0, size=2, warmup=False, full=True, generate_ns=100 * MS,
        preprocess_ns=round(preprocess_ms * MS), copy_ns=MS, decoder_steps=4, new_tokens=(4, 4),
    )  # fmt: skip
    record = replace(
        record,
        workload=replace(record.workload, dataset=dataset),
        latency=(replace(sample, warmup=True, preprocess_ns=90 * MS), sample),
    )
    return Evidence(account=an_account(), record=record)


def test_a_processor_that_the_device_waits_for() -> None:
    finding = the(prepared(29.0), "preprocessing")
    assert finding.sentence.startswith(
        "Before each batch the processor takes 29.0 ms of host time and the copy to the device "
        "1.00 ms, 30 % of the 100 ms of generate()"
    )
    assert finding.saving.saved_ns is None
    assert found(prepared(9.0), "preprocessing") is not None
    assert found(prepared(8.9), "preprocessing") is None


def test_no_processor_is_not_judged() -> None:
    assert "were drawn" in reasons(prepared(29.0, dataset="synthetic-random"))["preprocessing"]
    alone = replace(prepared(29.0), record=None)
    assert "no run record" in reasons(alone)["preprocessing"]


# convolutions

PATCH = "vision_model.embeddings.patch_embedding"


def convolution(first_call_us: dict[str, float] | None) -> Evidence:
    rows = [
        row(PATCH, "vision", 0.25, module="Conv2d", group="vision.conv", cpu_self_ns=200_000),
        row("vision_model.encoder", "vision", 99.75),
    ]
    return Evidence(account=an_account(rows), first_call_us=first_call_us)


def test_of_the_convolution_s_three_figures_only_the_first_call_reaches_milliseconds() -> None:
    finding = the(convolution({PATCH: 364_000.0}), "convolutions")
    assert finding.sentence == (
        f"Convolution ({PATCH}, 1 call): 0.250 ms of device time (0.25 % of it all), 0.200 ms of "
        "profiled host time; its first call: 364 ms on the host. Only the first call reaches "
        "milliseconds."
    )
    assert finding.try_next.startswith("warm up before measuring: the first call")
    warm = replace(convolution({PATCH: 364_000.0}), record=a_record({"warmup": 2}))
    assert the(warm, "convolutions").try_next == ""  # the run had warmed up
    cold = replace(convolution({PATCH: 364_000.0}), record=a_record({"warmup": 0}))
    assert "(--warmup)" in the(cold, "convolutions").try_next
    assert finding.saving.saved_ns == 250_000


def test_a_first_call_that_was_not_measured_is_said_to_be() -> None:
    finding = the(convolution(None), "convolutions")
    assert "its first call: not measured here. None of these reaches a millisecond." in (
        finding.sentence
    )
    assert finding.try_next == ""


def test_a_convolution_in_compiled_code_has_no_host_time_to_state() -> None:
    compiled = row(PATCH, "vision", 0.25, group="vision.conv", attribution="graph")
    sentence = the(Evidence(account=an_account([compiled])), "convolutions").sentence
    assert "no host time of its own (compiled)" in sentence
    assert "0.000 ms" not in sentence


def test_no_convolution_no_finding() -> None:
    assert found(Evidence(account=an_account([row("a", "forward", 1)])), "convolutions") is None


# attention


def operators(*names: str, layer: str = "m.block.0.attention", phase: str = "decode") -> Account:
    rows = [row(layer, phase, 10, group="decoder.self_attention"), row("m.rest", phase, 40)]
    held = tuple(OperatorRow(name, layer, phase, 19, 0, 0) for name in names)
    return an_account(rows, operators=held)


def test_sdpa_that_chose_its_math_kernel() -> None:
    account_ = operators(
        "aten::scaled_dot_product_attention",
        "aten::_scaled_dot_product_attention_math",
        "aten::bmm",
    )
    finding = the(Evidence(account=account_), "attention")
    assert "chose its math kernel (separate products and softmax) in 1 layer, 19 calls" in (
        finding.sentence
    )
    assert "device time is 10.0 ms, 20 % of it all" in finding.sentence
    assert finding.rests_on == (RestsOn(layer="m.block.*.attention", phase="decode"),)
    assert (finding.saving.saved_ns, finding.concerns_ns) == (None, 10 * MS)


def test_sdpa_asked_for_and_never_called() -> None:
    account_ = operators("aten::bmm", "aten::_softmax")
    asked = Evidence(account=account_, record=a_record({"attention": "sdpa"}))
    assert "was asked for and not called" in the(asked, "attention").sentence
    eager = Evidence(account=account_, record=a_record({"attention": "eager"}))
    assert found(eager, "attention") is None
    assert found(Evidence(account=account_), "attention") is None


def test_fused_attention_is_no_finding() -> None:
    account_ = operators("aten::_scaled_dot_product_cudnn_attention", "aten::bmm", "aten::_softmax")
    assert found(Evidence(account=account_, record=a_record()), "attention") is None


def test_a_root_that_holds_everything_does_not_lend_attention_its_time() -> None:
    account_ = operators("aten::_scaled_dot_product_attention_math", layer="generate")
    finding = the(Evidence(account=account_), "attention")
    assert finding.concerns_ns is None
    assert "no range of their own tells their time" in finding.sentence


# compilation


def compiled(*phases: str) -> Evidence:
    prefill = a_phase("prefill", active=10, host=40, launches=1600)
    decode = a_phase("decode", active=38, host=0, launches=19)
    idle = replace(
        prefill, window_ns=88 * MS, active_ns=48 * MS, phases=(*prefill.phases, *decode.phases)
    )
    kernels = tuple(KernelRow("triton_poi_0", "generate", phase, 1, 1, "graph") for phase in phases)
    return Evidence(account=an_account(kernels=kernels, steps=20), idle=idle)


def test_a_prefill_left_eager() -> None:
    finding = the(compiled("decode"), "prefill-eager")
    assert "50.0 ms profiled with 1,600 launches, 80 % of it idle" in finding.sentence
    assert "against 2.00 ms for a compiled decode step" in finding.sentence  # 38 ms in 19 steps
    assert finding.saving.saved_ns == 40 * MS


def test_prefill_and_decode_alike() -> None:
    assert found(compiled("decode", "prefill"), "prefill-eager") is None
    assert found(compiled(), "prefill-eager") is None


def test_recompiles_up_to_torch_s_limit() -> None:
    evidence = Evidence(account=an_account(), recompiles={"decode step": 8, "vision": 1, "q": 0})
    sentence = the(evidence, "recompiles").sentence
    assert sentence.startswith("2 compiled functions compiled again during the run: decode step 8 ")
    assert "decode step reached torch's limit of 8" in sentence
    few = the(replace(evidence, recompiles={"vision": 7}), "recompiles").sentence
    assert few.endswith("vision 7 times.")


def test_no_recompiles() -> None:
    assert found(Evidence(account=an_account(), recompiles={"vision": 0}), "recompiles") is None
    assert "recompiles" in reasons(Evidence(account=an_account()))


# roofline


def below(roofline_ms: float, gpu_ms: float = 5.0) -> Evidence:
    """Two blocks of the same layer beside a well-running rest; 100 ms in all."""
    rows = [
        row(WO.format(i), "decode", gpu_ms, roofline_ns=round(roofline_ms * MS), calls=19,
            kernels=38, flops_self=10**9, bytes_self=5 * 10**8)
        for i in (0, 1)
    ]  # fmt: skip
    rows.append(row("rest", "decode", 100 - 2 * gpu_ms, roofline_ns=80 * MS))
    return Evidence(account=an_account(rows))


def test_a_layer_far_below_its_roofline() -> None:
    """10 ms where 2 are allowed: 20 %, 8 ms to gain; 2 FLOP per byte, 2 events a call."""
    finding = the(below(1.0), "below-roofline")
    pattern = WO.format("*").replace("layer.2", "layer.*")
    assert f"{pattern} (decode, 2 layers) takes 10.0 ms, 10 % of all" in finding.sentence
    assert "allow 2.0 ms: 20 % of its roofline (2.0 FLOP per byte, 2.0 device events a call)" in (
        finding.sentence
    )
    # Of its batch a larger one saves nothing; what it leaves to gain is 8 ms.
    assert (finding.saving.saved_ns, finding.try_next) == (None, "a larger batch")
    family = "language-model-decoder-block-layer-densereludense-wo"
    assert finding.id == f"below-roofline-{family}-decode"


def test_near_its_roofline_or_too_small_to_matter() -> None:
    assert found(below(1.25), "below") is None  # 25 % exactly
    assert found(below(0.1, gpu_ms=1.4), "below") is None  # 2.8 % of the time
    unmeasured = Evidence(account=an_account([row("a", "decode", 10)]))
    assert "below-roofline" in reasons(unmeasured)


# matrix-vector products


def matvec(**config: object) -> Evidence:
    """Two products of one row, 10 of 100 ms where 6 would do, and a large one at the same rate."""
    one_row = {"flops_self": 10**9, "bytes_self": 10**9 + 10**6, "roofline_ns": 3 * MS}
    rows = [row(f"decoder.block.{i}.q", "decode", 5, **one_row) for i in (0, 1)]
    rows.append(
        row("decoder.k", "prefill", 90, flops_self=10**12, bytes_self=10**9, roofline_ns=MS)
    )
    chosen = {"optimization": "cudagraphs", "batch_size": 1, **config}
    return Evidence(account=an_account(rows), record=a_record(chosen))


def test_products_of_one_row_slower_than_their_weights_can_be_read() -> None:
    finding = the(matvec(), "matrix-vector")
    assert "Products of one row, in 2 linear layers, take 10.0 ms, 10 % of all" in (
        finding.sentence
    )
    assert "at the measured copy rate 6.0 ms would do" in finding.sentence
    assert (finding.saving.saved_ns, finding.saving.whole_ns) == (4 * MS, 100 * MS)
    assert finding.rests_on == (RestsOn(layer="decoder.block.*.q", phase="decode"),)


@pytest.mark.parametrize(
    "config",
    [
        {"optimization": "eager"}, {"batch_size": 2}, {"num_beams": 3},
        {"coordinate_descent_tuning": True},
    ],
)  # fmt: skip
def test_no_finding_where_tuning_would_do_nothing_or_is_done(config: dict[str, object]) -> None:
    assert found(matvec(**config), "matrix-vector") is None


# ranking and the real trace


def test_the_largest_possible_saving_comes_first() -> None:
    def finding(name: str, saved: int | None, concerns: int | None) -> Finding:
        saving = Saving(saved_ns=saved, basis="")
        return Finding(
            id=name, sentence="", rests_on=(), try_next="", saving=saving, concerns_ns=concerns
        )

    ranked = rank(
        [finding("a", 5, 99), finding("b", None, None), finding("c", None, 7), finding("d", 9, 9)]
    )
    assert [item.id for item in ranked] == ["d", "c", "a", "b"]


def test_the_bare_xl_trace() -> None:
    columns = read_trace(shared("traces/xl_b16_eager_h200.trace.json.gz"))
    held = account(work_out(columns), source="b16")
    evidence = Evidence(account=held, idle=idle_of(work_out(columns), held.table))
    findings = find(evidence)
    assert [item.id for item in findings] == [
        "launch-bound-decode",
        "attention-math-kernel",
        "convolutions",
    ]
    launch, attention, convolution_ = findings
    assert launch.sentence.startswith(
        "decode is launch-bound: profiled, the device is idle 88 % of 814 ms over 19 decoder steps "
        "(98.2 ms busy), and 714 ms of the 715 ms idle is waiting for a launch"
    )
    assert "29,260 launches, one every 27.8 µs, for 3.4 µs of device work each" in launch.sentence
    # T5's self-attention alone: the others chose cuDNN's kernel.
    assert {rest.layer for rest in attention.rests_on} == {
        f"language_model.{part}.block.*.layer.0.SelfAttention" for part in ("encoder", "decoder")
    }
    assert "0.253 ms of device time (0.12 % of it all)" in convolution_.sentence
    assert not_judged(evidence) == (
        NotJudged(rule="fp32-islands", reason="no run record: the modules' dtypes are unknown"),
        NotJudged(rule="recompiles", reason="recompiles were not counted in this run"),
        NotJudged(
            rule="below-roofline", reason="no roofline: FLOPs, bytes and ceilings are needed"
        ),
        NotJudged(rule="padding", reason="no run record: the prompts' lengths are unknown"),
        NotJudged(rule="image-size", reason="no run record: the size asked for is unknown"),
        NotJudged(rule="preprocessing", reason="no run record: the time before a batch is unknown"),
    )
