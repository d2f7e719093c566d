"""What docs/results/h100/README.md and its page on reproduction say."""

from __future__ import annotations

from datetime import datetime

from published.data import Row, document, layer_rows, printed, row, run, table, total
from published.h200 import WO
from published.pages import Page, page

RUNS = ("xl-b1-eager", "xl-b16-eager", "xl-b16-fp32-matmul-high")
EAGER, HIGH = RUNS[1:]


def device_ms(name: str) -> float:
    return run(f"h100/{name}").account.device_sum_us / 1e3


def inside(name: str) -> float:
    """Share of device time inside modules."""
    own = total([r for r in layer_rows(f"h100/{name}") if r["layer"] == "generate"], "gpu_self_us")
    return 1 - own / 1e3 / device_ms(name)


def sum_ms(name: str, **wanted: str) -> float:
    """Device time of the rows with these cells."""
    rows = layer_rows(f"h100/{name}")
    return total(
        [r for r in rows if all(r[k] == v for k, v in wanted.items())], "gpu_self_us", 1e-3
    )


def wo_ms(name: str) -> float:
    rows = layer_rows(f"h100/{name}")
    return total([r for r in rows if r["layer"].endswith(WO)], "gpu_self_us", 1e-3)


@page("docs/results/h100/README.md")
def the_card(p: Page) -> None:
    p.given(
        "(700 W, driver 580.159.04, torch 2.11.0+cu130",
        "Python 3.12.3, 16 virtual",
        "224 px, 200 text tokens on both tokenizers, 20 new tokens",
        "| | batch 1 | batch 16 | batch 16,",
        "by less than one",
        "## Ways to run it, batch 16",
        "Fewer than 24 batches",
        "448 px, batch 16, 128 samples",
        "Three runs of batch 16",
        "**Floor** at batch 16",
        "with a difference of 0 ns",
        "of transformers 5.17",
        "with 5.17 T5's",
        "with 5.24 it is cuDNN's",
        "On the H200 with 5.17",
        "here with 5.24",
    )
    _account(p)
    _sentences(p)
    _ceilings(p)
    _modes(p)
    _trained(p)


def _account(p: Page) -> None:
    assert {run(f"h100/{name}").environment.packages["transformers"] for name in RUNS} == {"5.24.0"}

    def line(label: str, form: str, values: list[float], unit: str = "") -> None:
        p.says("| " + label + (" | {" + form + "}" + unit) * 3 + " |", *values)

    line("device time, ms", ":.3f", [device_ms(name) for name in RUNS])
    line("inside modules", ":.2f", [100 * inside(name) for name in RUNS], " %")
    line("difference", ":d", [run(f"h100/{n}").account.device_difference_ns for n in RUNS], " ns")
    line("device events", ":,d", [round(total(layer_rows(f"h100/{n}"), "kernels")) for n in RUNS])
    for phase, label in (
        ("vision", "vision"),
        ("qformer", "Q-Former"),
        ("encoder", "encoder"),
        ("prefill", "prefill"),
        ("decode", "decode"),
    ):
        line(f"{label}, ms", ":.2f", [sum_ms(name, phase=phase) for name in RUNS])
    line("T5's `wo`, kept in fp32, ms", ":.2f", [wo_ms(name) for name in RUNS])
    line("latency per batch, s", ":.3f", [run(f"h100/{n}").report.latency.value for n in RUNS])
    line("energy, J/sample", ":.1f", [run(f"h100/{n}").report.energy.value for n in RUNS])
    flops = [int(run(f"h100/{name}").report.flops.value) for name in RUNS]
    assert flops[1] == flops[2]
    p.says("| FLOPs per batch | {:,} | {:,} | the same |", *flops[:2])


def _sentences(p: Page) -> None:
    p.says(
        "Batch 4 takes {:.3f} ms", float(row("h100/batches.csv", batch="4")["device_sum_us"]) / 1e3
    )
    again = [
        r
        for path in ("h100/batches.csv", "h100/modes/sweep.csv")
        for r in table(path)
        if (r["batch"], r["optimization"], r["status"]) == ("16", "eager", "done")
        and float(r["device_sum_us"]) > 150_000
    ]
    times = sorted([device_ms(EAGER), *(float(r["device_sum_us"]) / 1e3 for r in again)])
    p.says("took {:.3f}, {:.3f} and {:.3f} ms", *times)
    calls = [
        r
        for r in layer_rows(f"h100/{EAGER}")
        if r["phase"] == "prefill" and r["layer"].endswith(".0.SelfAttention")
    ]
    p.says("the first decoder step's {:d} calls", len(calls))
    then = [r for r in layer_rows(f"h200/{EAGER}") if r["group"] == "encoder.attention"]
    p.says("attention took {:.1f} ms", total(then, "gpu_self_us", 1e-3))
    p.says("with 5.24 it takes {:.1f} ms", sum_ms(EAGER, group="encoder.attention"))
    (most,) = printed(
        f"h100/{EAGER}/screen.txt", r"could save at most (\d+) ms \(27 % of device time\)"
    )
    p.says(
        "at most {} ms and saved {:.1f} of `wo`, {:.1f} of the whole",
        most,
        wo_ms(EAGER) - wo_ms(HIGH),
        device_ms(EAGER) - device_ms(HIGH),
    )
    floor, times_it = printed(
        f"h100/{EAGER}/screen.txt", r"floor +(\d+) ms \(additive [^\n]* is (\d+) times it"
    )
    (uniform,) = printed(f"h100/{EAGER}/screen.txt", r"were all weights fp16: (\d+) ms")
    p.says(
        "{} ms for the dtypes that ran, {} ms were all weights fp16; latency is {} times it",
        floor,
        uniform,
        times_it,
    )


def _ceilings(p: Page) -> None:
    first, second = (document(f"h100/ceilings-{n}.json") for n in (1, 2))
    apart = datetime.fromisoformat(second["measured_utc"]) - datetime.fromisoformat(
        first["measured_utc"]
    )
    p.says("Measured {:.0f} minutes apart", apart.total_seconds() / 60)
    rates = [
        c["matmul_flops_per_s"][dtype] / 1e12
        for dtype in ("float16", "bfloat16", "tf32", "float32")
        for c in (first, second)
    ]
    p.says(
        "float16 {:.0f} and {:.0f} TFLOP/s, bfloat16 {:.0f} and {:.0f}, TF32 {:.0f} and {:.0f}, float32"
        " {:.1f} and {:.1f}, copy {:,.0f} and {:,.0f} GB/s",
        *rates,
        *(c["copy_bytes_per_s"] / 1e9 for c in (first, second)),
    )
    assert first["quiet"]
    assert second["quiet"]
    for name in RUNS:
        assert not document(f"h100/{name}/run.json")["ceilings"]["raised"]


def _modes(p: Page) -> None:
    for name in ("eager", "compile", "cudagraphs"):
        found = row("h100/modes/sweep.csv", optimization=name)
        equal = found["tokens_equal"]
        p.says(
            "| " + name + " | {:.3f} [{:.3f}, {:.3f}] | {:.1f} | {:.1f} | {} |",
            *(float(found[key]) for key in ("latency_s", "latency_low_s", "latency_high_s")),
            float(found["energy_j_per_sample"]),
            float(found["device_sum_us"]) / 1e3,
            f"{100 * float(equal):.0f} % of samples" if equal else "",
        )
    flash = row("h100/modes/sweep.csv", optimization="flash")
    assert "flash-attn is not installed" in flash["reason"]
    lines = document("h100/compiled/compiled_layers.json")
    (heavy,) = {line["heavy_operators"] for line in lines}
    assert all(line["verdict"] == "right" and not line["differences"] for line in lines)
    assert all(line["heavy_unknown"] == line["difference_ns"] == 0 for line in lines)
    p.says("{:,} operators, none unknown", heavy)
    shares = {line["mode"]: line["share_on_layers"] for line in lines}
    p.says("{:.2f} % and {:.2f} %", 100 * shares["compile"], 100 * shares["cudagraphs"])


def _trained(p: Page) -> None:
    cells = (("fp16", "eager"), ("fp16", "compile"), ("fp16", "cudagraphs"), ("bf16", "eager"))
    for dtype, name in cells:
        found = row("h100/tiny/sweep.csv", dtype=dtype, optimization=name)
        equal = found["tokens_equal"]
        p.says(
            f"| {dtype}, {name} |" + " {:.3f} [{:.3f}, {:.3f}] | {:.4f} | {:.2f} | {:.3f} | {} |",
            *(float(found[key]) for key in ("wer_value", "wer_value_low", "wer_value_high")),
            float(found["latency_s"]),
            float(found["energy_j_per_sample"]),
            float(found["device_sum_us"]) / 1e3,
            f"{100 * float(equal):.0f} %" if equal else "",
        )
    done = {(r["dtype"], r["optimization"]) for r in table("h100/tiny/sweep.csv") if r["wer_value"]}
    assert done == set(cells)


_WAY = "h100/reproduction"


@page("docs/results/h100/reproduction/README.md")
def the_way(p: Page) -> None:
    p.given(
        "5 shards, fp16, 32 samples",
        "torch 2.11.0+cu130",
        "with all 300 samples",
        "WER with 300 samples",
        "Every sample's 20 steps and 20 tokens",
    )
    checks = table(f"{_WAY}/xl/checks.csv")
    assert all(r["holds"] == "True" for r in checks)
    (difference,) = {r["difference_ns"] for r in (*checks, *table(f"{_WAY}/cpu/checks.csv"))}
    p.says("a difference of {} ns", difference)
    p.says("{} cells ran", len(checks))
    lengths = table(f"{_WAY}/xl/input_length.csv")
    p.says("input length {} of {}", sum(r["status"] == "done" for r in lengths), len(lengths))
    loads = [float(r["load_s"]) for r in checks]
    p.says("{:.1f} to {:.1f} s", min(loads), max(loads))
    p.says("{:.2f} GB of host", max(float(r["host_peak_bytes"]) for r in checks) / 1e9)
    for batch in ("1", "4", "8", "16"):
        _cell(p, f"`textvqa`, batch {batch}", row(f"{_WAY}/xl/batch_size.csv", batch=batch))
    for name, tokens in (
        ("coco", "200"),
        ("scienceqa", "200"),
        ("scienceqa", "100"),
        ("scienceqa", "50"),
    ):
        found = row(f"{_WAY}/xl/input_length.csv", dataset=name, max_input_len=tokens)
        _cell(p, f"`{name}`, {tokens} tokens", found)
    small = table(f"{_WAY}/cpu/checks.csv")
    assert all(r["holds"] == "True" and r["answers"] == "300" for r in small)
    p.says("{} cells of all five tables", len(small))
    batches = {r["wer_value"] for r in table(f"{_WAY}/cpu/batch_size.csv")}
    (textvqa,) = batches
    sizes = [r for r in table(f"{_WAY}/cpu/input_length.csv") if r["max_input_len"] == "200"]
    by_name = {r["dataset"]: float(r["wer_value"]) for r in sizes}
    p.says(
        "{:.3f} on `textvqa` at every batch size, {:.3f} on `scienceqa` with 200 tokens, {:.3f} on",
        float(textvqa),
        by_name["scienceqa"],
        by_name["coco"],
    )
    p.says("at most {:.1f} s", max(float(r["load_s"]) for r in small))
    modes = {r["optimization"]: r["wer_value"] for r in table(f"{_WAY}/cpu/optimization.csv")}
    assert modes["compile"] == modes["eager"] != ""


def _cell(p: Page, label: str, found: Row) -> None:
    p.says(
        "| " + label + " | {} | {:.0f} | {:.3f} [{:.3f}, {:.3f}] | {:.3f} |",
        found["padded_text_tokens"],
        float(found["decoder_steps"]),
        *(float(found[key]) for key in ("wer_value", "wer_value_low", "wer_value_high")),
        float(found["device_sum_us"]) / 1e3,
    )
