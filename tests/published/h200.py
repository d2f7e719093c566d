"""What the pages of the H200 say of single runs: docs/results/h200/README.md and floor-account.md."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import datetime
from statistics import mean, median

from layerscope.core.units import percent_two, two_digits
from layerscope.records.work import Raised
from layerscope.runs.run import Run
from layerscope.stats.energy_summary import summarise_energy
from layerscope.stats.latency import latency_summary
from published.data import RESULTS, document, layer_rows, printed, row, run, table, total
from published.pages import Page, page

RUNS = ("xl-b1-eager", "xl-b16-eager", "xl-b16-fp32-matmul-high")
_FLOOR = r"floor +([\d.]+) ms \(additive ([\d.]+)\)[^\n]*\n[^\n]*?([\d.]+) ms \(additive"
WO = "DenseReluDense.wo"


def device_ms(name: str) -> float:
    """Device time of the traced batch."""
    return run(f"h200/{name}").account.device_sum_us / 1e3


def latency_s(name: str) -> float:
    return float(run(f"h200/{name}").report.latency.value)


def floor_ms(name: str) -> tuple[float, float, float]:
    """(floor, additive, were all weights half precision) as the run's screen printed them."""
    floor, additive, uniform = printed(f"h200/{name}/screen.txt", _FLOOR)
    return float(floor), float(additive), float(uniform)


def phase_ms(name: str, phase: str) -> float:
    rows = [r for r in layer_rows(f"h200/{name}") if r["phase"] == phase]
    return total(rows, "gpu_self_us", 1e-3)


def where(name: str, ends: str) -> list[dict[str, str]]:
    """Rows of layers whose FQN ends so."""
    return [r for r in layer_rows(f"h200/{name}") if r["layer"].endswith(ends)]


def wo_ms(name: str) -> float:
    return total(where(name, WO), "gpu_self_us", 1e-3)


def first_token_s(name: str) -> float:
    return median(sample.generate_ns for sample in run(f"h200/{name}").first_token) / 1e9


def idle_share(name: str) -> float:
    account = run(f"h200/{name}").account
    return 1 - account.device_active_us / account.window_span_us


def inside_modules(name: str) -> tuple[float, float]:
    """(share of device time inside modules, ms of `generate` itself)."""
    own = total([r for r in layer_rows(f"h200/{name}") if r["layer"] == "generate"], "gpu_self_us")
    return 1 - own / 1e3 / device_ms(name), own / 1e3


@page("docs/results/h200/README.md")
def the_runs(p: Page) -> None:
    p.given(
        "driver 580.159.04, torch 2.11.0+cu130",
        "Python 3.12.3, 16 virtual CPU cores",
        "224 px, 200 text tokens on both tokenizers, 20 new tokens",
        "the traces (5 MB packed)",
        "three windows of 10 s",
        "00:44 to 00:48",
        "about one per cent",
        "95 %",
        "(batch 1 to 16, image",
        "| | batch 1 | batch 16 | batch 16,",
        "| | batch 1 | batch 16 | |",
    )
    times = [device_ms(name) for name in RUNS]
    p.says("| device time, ms | {:.3f} | {:.3f} | {:.3f} |", *times)
    p.says(
        "| inside modules | {:.2f} % | {:.2f} % | {:.2f} % |",
        *(100 * inside_modules(name)[0] for name in RUNS),
    )
    p.says(
        "| rest, by name | `generate` {:.3f} ms | `generate` {:.3f} ms | `generate` {:.3f} ms |",
        *(inside_modules(name)[1] for name in RUNS),
    )
    accounts = [run(f"h200/{name}").account for name in RUNS]
    p.says("| difference | {} ns | {} ns | {} ns |", *(a.device_difference_ns for a in accounts))
    p.says("| device events | {:,} | {:,} | {:,} |", *(a.events for a in accounts))
    summaries = [latency_summary(run(f"h200/{name}")) for name in RUNS]
    p.says(
        "| latency per batch, s [range] | {:.3f} [{:.3f}, {:.3f}] | {:.3f} [{:.3f}, {:.3f}] |"
        " {:.3f} [{:.3f}, {:.3f}] |",
        *(v / 1e9 for s in summaries for v in (s.median_ns, s.interval.low, s.interval.high)),
    )
    p.says("| time to first token, s | {:.3f} | {:.3f} | {:.3f} |", *map(first_token_s, RUNS))
    joules = [summarise_energy(run(f"h200/{name}").energy, seed=0) for name in RUNS]
    p.says(
        "| energy, J/sample (95 %) | {:.1f} [{:.1f}, {:.1f}] | {:.1f} [{:.1f}, {:.1f}] |"
        " {:.1f} [{:.1f}, {:.1f}] |",
        *(v for j in joules for v in (j.joules_per_sample, j.interval.low, j.interval.high)),
    )
    flops = [int(run(f"h200/{name}").report.flops.value) for name in RUNS]
    assert flops[1] == flops[2]
    p.says("| FLOPs per batch | {:,} | {:,} | the same |", *flops[:2])
    floors = [floor_ms(name) for name in RUNS]
    p.says(
        "| floor, ms (additive) | {} ({}) | {} ({}) | {} ({}) |",
        *(two_digits(value) for floor in floors for value in floor[:2]),
    )
    p.says(
        "| latency over floor | {} | {} | {} |",
        *(two_digits(latency_s(n) * 1e3 / f[0]) for n, f in zip(RUNS, floors, strict=True)),
    )
    p.says(
        "| device idle in the profiled window | {:.1f} % | {:.1f} % | {:.1f} % |",
        *(100 * idle_share(name) for name in RUNS),
    )
    below = [m for m in run("h200/xl-b16-eager").model.modules if m.fqn]
    p.says("holds for all {:,} modules", len(below))
    _ceilings(p)
    p.says("batch 16 has a floor of {} ms", two_digits(floors[1][2]))
    _raised(p)
    _findings(p)
    _counter_and_cost(p)


def _ceilings(p: Page) -> None:
    first, second, third = (run(f"h200/{name}").ceilings for name in RUNS)
    assert first.matmul_flops_per_s == second.matmul_flops_per_s
    values = [
        [c.matmul_flops_per_s[d] / 1e12 for d in ("float16", "tf32", "float32")]
        + [c.copy_bytes_per_s / 1e9]
        for c in (first, third)
    ]
    p.says(
        "fp16 {:.0f}, TF32 {:.0f}, fp32 {:.0f} TFLOP/s, copy {:,.0f} GB/s in the first two columns;"
        " {:.0f}, {:.0f}, {:.0f} and {:,.0f} in the third",
        *values[0],
        *values[1],
    )
    apart = datetime.fromisoformat(third.measured_utc) - datetime.fromisoformat(first.measured_utc)
    p.says("measured {:.0f} minutes later", apart.total_seconds() / 60)


def _raised(p: Page) -> None:
    """Which rows run above these ceilings, what that raises, and how much of a floor that is."""
    eager, high = "xl-b16-eager", "xl-b16-fp32-matmul-high"
    above = {"compute": [], "launch": []}  # by what bounds a row; the latter move bytes
    for line in layer_rows(f"h200/{eager}"):
        if line["roofline_fraction"] and float(line["roofline_fraction"]) > 1:
            above[line["bound"]].append(line)
    half, tf32 = _doubted(eager, "float16"), _doubted(high, "tf32")
    p.says(
        "of the {} rows above 1 at batch 16, {} are compute-bound, `fc2` of the vision tower at {:.0f}"
        " TFLOP/s among them",
        sum(map(len, above.values())),
        len(above["compute"]),
        half.after_per_s / 1e12,
    )
    assert "mlp.fc2 (vision)" in half.by
    p.says(
        '"ceiling float16 raised from {:.0f} TFLOP/s to {:.0f} TFLOP/s", and for the third column TF32'
        " from {:.0f} to {:.0f}.",
        *(rate / 1e12 for r in (half, tf32) for rate in (r.before_per_s, r.after_per_s)),
    )
    p.says(
        "too high by up to {}, with TF32 {}, in",
        *(percent_two(r.after_per_s / r.before_per_s - 1) for r in (half, tf32)),
    )
    p.says(
        "The other {} rows move bytes at up to {} times the copy rate",
        len(above["launch"]),
        two_digits(max(float(line["roofline_fraction"]) for line in above["launch"])),
    )


def _doubted(name: str, rate: str) -> Raised:
    """How a ceiling of a run is raised when its folder is read."""
    ceilings = Run.open(RESULTS / "h200" / name).record.ceilings
    (found,) = (raised for raised in ceilings.raised if raised.rate == rate)
    return found


def _findings(p: Page) -> None:
    eager, high = "xl-b16-eager", "xl-b16-fp32-matmul-high"
    idle, span = printed(
        f"h200/{eager}/screen.txt",
        r"decode is launch-bound: the device is idle ([\d.]+) % of ([\d,]+) ms",
    )
    p.says("decode is launch-bound: idle {} % of its {} ms", idle, span)
    traced = run(f"h200/{eager}").trace
    assert traced is not None
    whole_ms = traced.unprofiled_ns / 1e6
    p.says(
        "without the profiler the batch took {:.0f} ms, idle {:.0f} %",
        whole_ms,
        100 * (1 - device_ms(eager) / whole_ms),
    )
    (by,) = printed("h200/compare-fp32-matmul.txt", r"less device time by (\d+) %")
    p.says('it says "less device time by {} %"', by)
    p.says(
        "`wo` in fp32 takes {:.1f} ms, {:.0f} % of all",
        wo_ms(eager),
        100 * wo_ms(eager) / device_ms(eager),
    )
    p.says("at most {} ms of `wo`", two_digits(predicted_saving_ms("fp32-islands")))
    p.says("`wo` −{:.1f} ms", wo_ms(eager) - wo_ms(high))
    p.says(
        "{:.3f} − {:.3f} = **{:.1f} ms** (−{:.1f} %",
        device_ms(eager),
        device_ms(high),
        device_ms(eager) - device_ms(high),
        100 * (1 - device_ms(high) / device_ms(eager)),
    )
    p.says("time to first token −{:.0f} %", 100 * (1 - first_token_s(high) / first_token_s(eager)))
    joules = {
        name: document(f"h200/repeats/{name}.json")["report"]["energy"]["value"]
        for name in ("xl-b16-highest-1", "xl-b16-highest-2", "xl-b16-high-2")
    }
    first = 1 - float(run(f"h200/{high}").report.energy.value) / joules["xl-b16-highest-1"]
    second = 1 - joules["xl-b16-high-2"] / joules["xl-b16-highest-2"]
    p.says("Energy fell by {:.0f} and {:.0f} %", 100 * first, 100 * second)
    conv = where(eager, "patch_embedding")
    p.says(
        "the patch convolution: {:.3f} ms on the device ({:.2f} %), {:.1f} ms on the profiled host",
        total(conv, "gpu_self_us", 1e-3),
        total(conv, "gpu_self_us", 0.1) / device_ms(eager),
        total(conv, "cpu_self_us", 1e-3),
    )
    p.says("{:.0f} ms at its first call", _first_call_ms(eager))
    p.says(
        "math kernel in {} layers, {:.1f} ms",
        *printed(f"h200/{eager}/screen.txt", r"separate products and softmax\) in (\d+) layers"),
        total(where(eager, ".SelfAttention"), "gpu_self_us", 1e-3),
    )
    growth = math.log(device_ms(eager) / device_ms("xl-b1-eager")) / math.log(16)
    p.says("device time grows with exponent {:.2f}", growth)
    ffn, attention = printed(
        "h200/compare-b1-b16.txt", r"encoder.ffn ([\d.]+) and encoder.attention ([\d.]+)"
    )
    (hardly,) = printed("h200/compare-b1-b16.txt", r"decoder.self_attention ([\d.]+)")
    p.says(
        "nearly in proportion ({:.1f} to {:.1f}), decoder self-attention hardly ({})",
        float(attention),
        float(ffn),
        hardly,
    )


def predicted_saving_ms(finding: str) -> float:
    """What a finding of the batch-16 run says could be saved at most."""
    found = document("h200/xl-b16-eager/findings.json")["findings"]
    (one,) = (f for f in found if f["id"] == finding)
    return float(one["saving"]["saved_ns"]) / 1e6


def _first_call_ms(name: str) -> float:
    calls = run(f"h200/{name}").first_call_us
    (found,) = (us for layer, us in calls.items() if layer.endswith("patch_embedding"))
    return found / 1e3


def _counter_and_cost(p: Page) -> None:
    counter = document("h200/energy_counter.json")
    (ratio,) = {round(window["ratio"], 3) for window in counter["windows"]}
    p.says("Counter over polled power {:.3f} in each", ratio)
    p.says("repeats within {:.2f} %", 100 * counter["spread"])
    p.says("every {} ms", *printed("h200/doctor.txt", r"every ([\d.]+) ms \(median\)"))
    batches = {b["batch"]: b for b in document("h200/capture_overhead.json")["batches"]}
    p.says("{:,} module calls in one `generate()`", batches[16]["module_calls"])
    ours, alone, bare = (
        {b: batches[b]["ways"][way]["generate_ns"] for b in batches}
        for way in ("layerscope", "profiler alone", "bare")
    )
    by_round = {b: [x / y for x, y in zip(ours[b], alone[b], strict=True)] for b in batches}
    p.says("| {:.2f}, {:.2f}, {:.2f} | {:.2f}, {:.2f}, {:.2f} |", *by_round[1], *by_round[16])
    p.says(
        "the same, median of the rounds | +{:.1f} % | +{:.1f} % |",
        *(100 * (median(by_round[b]) - 1) for b in (1, 16)),
    )
    profiled = {b: [x / y for x, y in zip(alone[b], bare[b], strict=True)] for b in batches}
    p.says(
        "over bare, median of the rounds | +{:.0f} % | +{:.0f} % |",
        *(100 * (median(profiled[b]) - 1) for b in (1, 16)),
    )
    p.says(
        "that lie {:.0f} and {:.0f} % apart",
        *(100 * (max(by_round[b]) - min(by_round[b])) for b in (1, 16)),
    )


KERNELS = "h200/xl-b16-eager-kernels.csv"
ATTENTION = ("encoder.attention", "decoder.self_attention")


def kernel_class(kernel: dict[str, str]) -> str:
    """Which line of the floor account a kernel belongs to."""
    name, group = kernel["kernel"], kernel["group"]
    if kernel["product"] == "wo" and "gemm_f32" in name:
        return "wo"
    if name.startswith(("nvjet", "cutlass__5x_cudnn")):
        return "matmul"
    if "sdpa" in name:
        return "cudnn"
    if "CatArray" in name:
        return "cat"
    if group in ("norm", "vision.norm"):
        return "norm"
    if group in ATTENTION:
        products = ("gemm", "gemv", "softmax", "enable_if")  # enable_if: cuBLAS's gemvx
        return "products" if any(word in name for word in products) else "between"
    return "other"


@page("docs/results/h200/floor-account.md")
def the_floor(p: Page) -> None:
    eager = "xl-b16-eager"
    p.given(
        "224 px, 200 text and 20 new tokens, batch 16",
        "torch 2.11, transformers 5.17",
        "before 5.20",
        "from 5.20 on",
        "5.20 or later",
        "dimension has stride 32",
        "are all of 5.17",
        "transformers 5.20",
        "`wo`, fp32",
        'stride 1"',
        "mask has stride 1,",
        "do 1, 3 and 5:",
        "at 4.15 TB/s",
    )
    kernels = table(KERNELS)
    whole = total(kernels, "total_us", 1e-3)
    p.says("device time {:.3f} ms", whole)
    floor, _, uniform = floor_ms(eager)
    latency, device = latency_s(eager) * 1e3, device_ms(eager)
    summary = latency_summary(run(f"h200/{eager}"))
    p.says(
        "One batch took {:.0f} ms [{:.0f}, {:.0f}]",
        latency,
        summary.interval.low / 1e6,
        summary.interval.high / 1e6,
    )
    p.says("is {} ms, {} ms were all weights fp16", two_digits(floor), two_digits(uniform))
    p.says("| floor | {} |", two_digits(floor))
    p.says(
        "| device busy beyond the floor | {:.0f} | device time {:.1f} less", device - floor, device
    )
    p.says("| device idle | {:.0f} |", latency - device)
    p.says("{:,} launches a batch", run(f"h200/{eager}").account.events)
    steps = table(f"h200/{eager}/steps.csv")[1:]
    p.says(
        "A decode step is {:.1f} ms of device work and, profiled, {:.1f} ms of host (unprofiled {:.0f}:"
        " latency less time to first token, over {} steps)",
        mean(float(s["gpu_us"]) for s in steps) / 1e3,
        mean(float(s["cpu_us"]) for s in steps) / 1e3,
        (latency - first_token_s(eager) * 1e3) / 19,
        len(steps),
    )
    _kernel_table(p, kernels, whole)
    saved = wo_ms(eager) - wo_ms("xl-b16-fp32-matmul-high")
    p.says("(TF32): −{:.1f} ms, seen", saved)
    p.says("most of the {:.0f} ms", latency - device)
    p.says("`wo`: {:.0f} ms of device time", saved)
    _modes(p)


def _kernel_table(p: Page, kernels: tuple[dict[str, str], ...], whole: float) -> None:
    classes: dict[str, list[dict[str, str]]] = defaultdict(list)
    for kernel in kernels:
        classes[kernel_class(kernel)].append(kernel)
    p.says("## The device's {:.1f} ms", whole)
    sizes = {}
    for name, members in classes.items():
        sizes[name] = total(members, "total_us", 1e-3)
        launches = int(total(members, "launches"))
        p.says("| {:.1f} | {:.1f} % | {:,} |", sizes[name], 100 * sizes[name] / whole, launches)
    p.says("| **sum** | **{:.1f}** | 100 % | {:,} |", whole, int(total(kernels, "launches")))
    p.says("up to {:.0f} ms less what the fused kernels", sizes["norm"] + sizes["other"])
    p.says("up to {:.0f} ms less what that kernel", sizes["between"] + sizes["products"])
    p.says("a static cache: {:.0f} ms", sizes["cat"])
    p.given("SDPA takes its math kernel in all 48 layers", "weights for 16 rows")


def _modes(p: Page) -> None:
    def mode(batch: int, name: str, precision: str = "highest", tuned: str = "0") -> dict[str, str]:
        return row(
            f"h200/modes/modes-b{batch}.csv", optimization=name, fp32_matmul=precision, tuned=tuned
        )

    eager, graphs, tf32 = mode(16, "eager"), mode(16, "cudagraphs"), mode(16, "cudagraphs", "high")
    p.says(
        "{:.3f} → {:.3f} s, with TF32 {:.3f} s, {} and {} ×",
        *(float(m["latency_s"]) for m in (eager, graphs, tf32)),
        *(two_digits(float(m["times_floor"])) for m in (graphs, tf32)),
    )
    p.says(
        "Device time fell from {:.1f} to {:.1f} ms",
        *(float(m["device_sum_ms"]) for m in (eager, graphs)),
    )
    layers = [
        r for r in table("h200/modes/layers-b16.csv") if r["group"] in ("norm", "vision.norm")
    ]
    p.says(
        "norms alone by {:.0f} ms",
        total(layers, "eager_us", 1e-3) - total(layers, "cudagraphs_us", 1e-3),
    )
    one, fast, tuned = mode(1, "eager"), mode(1, "cudagraphs"), mode(1, "cudagraphs", tuned="1")
    p.says(
        "One batch took {:.0f} ms eagerly; the floor is {} ms",
        1e3 * float(one["latency_s"]),
        two_digits(float(one["floor_ms"])),
    )
    p.says(
        "With `cudagraphs` {:.1f} ms, {:.1f} of them",
        1e3 * float(fast["latency_s"]),
        float(fast["device_sum_ms"]),
    )
    p.says(
        "{} × the floor with it, {} without",
        two_digits(float(tuned["times_floor"])),
        two_digits(float(fast["times_floor"])),
    )
    p.given("19 decode steps read", "the 24 blocks")
    _step(p)


def _step(p: Page) -> None:
    """µs of one of the 19 decode steps, by product, and what reading the weights takes."""
    from published.decode_step import STEP, read_us

    rows = table("h200/modes/layers-b1.csv")
    decode = [r for r in rows if r["phase"] == "decode"]
    sums: dict[str, list[float]] = {}
    for label, belongs in STEP.items():
        mine = [r for r in decode if belongs(r)]
        sums[label] = [total(mine, c, 1 / 19) for c in ("cudagraphs_us", "cudagraphs_tuned_us")]
        read = read_us(label)
        shown = f"{read:.0f} " if read is not None else ""
        p.says("| {} | {:.0f} | {:.0f} | {}|", label, *sums[label], shown)
    p.says(
        "| **a step** | **{:,.0f}** | **{:,.0f}** | |",
        *(sum(value[i] for value in sums.values()) for i in (0, 1)),
    )
