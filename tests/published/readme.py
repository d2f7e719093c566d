"""What README.md and docs/results/README.md say."""

from __future__ import annotations

from layerscope.stats.energy_summary import summarise_energy
from published.data import document, layer_rows, printed, row, run, total
from published.h100 import EAGER, HIGH, device_ms, wo_ms
from published.modes import mode
from published.pages import Page, page
from published.reference import published
from published.sweeps import _BATCH, _IMAGE, _INPUT, cell, ms


@page("docs/results/README.md")
def the_list(p: Page) -> None:
    """It holds no figures but versions."""
    p.given("transformers 5.24", "transformers 5.17")


@page("README.md")
def the_front(p: Page) -> None:
    p.given(
        "You need Python 3.11 or newer",
        "torch 2.11, transformers 5.24, fp16, batch 16, 20 new tokens |",
        "H200, transformers 5.17",
        "with 12 GB free",
        "(16 GB)",
        "some MB each",
        "published, batch 1 → 16",
        "input length 200 → 50",
        "image size 224 → 448",
        "saw 224 px",
        "at batch 16 |",
        "exit 5 where",
    )
    _the_run(p)
    _the_sweeps(p)


def _the_run(p: Page) -> None:
    name = f"h100/{EAGER}"
    rows = [r for r in layer_rows(name) if r["layer"] == "generate"]
    record, own = run(name), total(rows, "gpu_self_us")
    account = record.account
    p.says(
        "device {:,.3f} us = modules {:,.3f} + generate outside modules {:,.3f} + no launch record"
        " 0.000; difference {} ns",
        account.device_sum_us,
        account.device_sum_us - own,
        own,
        account.device_difference_ns,
    )
    p.says(
        "{:.3f} s per batch, on a host that drifts; the device is busy {:.3f} s of it",
        record.report.latency.value,
        account.device_sum_us / 1e6,
    )
    joules = summarise_energy(record.energy, seed=0)
    p.says(
        "{:.1f} J per sample [{:.1f}, {:.1f}]",
        joules.joules_per_sample,
        joules.interval.low,
        joules.interval.high,
    )
    p.says("{:,} per batch", int(record.report.flops.value))
    floor, times = printed(
        f"{name}/screen.txt", r"floor +(\d+) ms \(additive [^\n]* is (\d+) times it"
    )
    p.says("{} ms; latency is {} times it", floor, times)
    eager, graphs = (row("h100/modes/sweep.csv", optimization=o) for o in ("eager", "cudagraphs"))
    p.says(
        "{:.3f} s and {:.1f} J per sample, {:.1f} times as fast as eager",
        float(graphs["latency_s"]),
        float(graphs["energy_j_per_sample"]),
        float(eager["latency_s"]) / float(graphs["latency_s"]),
    )
    (most,) = printed(f"{name}/screen.txt", r"save at most (\d+) ms \(27 % of device time\)")
    p.says(
        "{:.1f} ms, {:.0f} % of device time; `--fp32-matmul high` was predicted to save at most {}"
        " ms of it and saved {:.1f}",
        wo_ms(EAGER),
        100 * wo_ms(EAGER) / device_ms(EAGER),
        most,
        wo_ms(EAGER) - wo_ms(HIGH),
    )
    (conv,) = (r for r in layer_rows(name) if r["layer"].endswith("patch_embedding"))
    first = document(f"{name}/run.json")["first_call_us"]
    (first_us,) = (us for layer, us in first.items() if layer.endswith("patch_embedding"))
    p.says(
        "{:.3f} ms on the device, {:.0f} ms on the host",
        float(conv["gpu_self_us"]) / 1e3,
        first_us / 1e3,
    )


def _the_sweeps(p: Page) -> None:
    batches = ("1", "4", "8", "16")
    theirs = [published("batch_size", b) for b in batches]
    ours = [cell(_BATCH, b, "224", "200") for b in batches]
    p.says(
        "| latency per batch | 1 : {:.1f} : {:.1f} : {:.1f} | 1 : {:.1f} : {:.1f} : {:.1f} |",
        *(t["latency"] / theirs[0]["latency"] for t in theirs[1:]),
        *(float(o["latency_s"]) / float(ours[0]["latency_s"]) for o in ours[1:]),
    )
    p.says(
        "| energy per sample | 1 : {:.2f} : {:.2f} : {:.2f} | 1 : {:.2f} : {:.2f} : {:.2f} |",
        *(t["energy"] / theirs[0]["energy"] for t in theirs[1:]),
        *(
            float(o["energy_j_per_sample"]) / float(ours[0]["energy_j_per_sample"])
            for o in ours[1:]
        ),
    )
    short = row(f"{_INPUT}/sweep_reference.csv", cell="max_input_len=50", quantity="latency")
    p.says(
        "| 1 : {:.2f} | 1 : {:.1f} [{:.2f}, {:.2f}] |",
        float(short["published_ratio"]),
        *(float(short[f"our_ratio_{end}"]) for end in ("value", "low", "high")),
    )
    large = published("image_size", "448")["TextVQA"]["latency"]
    small = published("image_size", "224")["TextVQA"]["latency"]
    p.says("1 : {:.2f}, the model", large / small)
    p.says(
        "device time {:.0f} → {:.0f} ms",
        *(ms(cell(_IMAGE, "16", px, "200")) for px in ("224", "448")),
    )
    eager, compiled = (published("optimization", name)["latency"] for name in ("eager", "compile"))
    p.says(
        "| 1 : {:.3f} | 1 : {:.2f}, with CUDA graphs and TF32 1 : {:.2f} |",
        compiled / eager,
        *(
            float(mode(16, name)["latency_s"]) / float(mode(16, "eager")["latency_s"])
            for name in ("compile", "cudagraphs, TF32")
        ),
    )
