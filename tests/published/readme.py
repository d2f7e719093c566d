"""What README.md and docs/results/README.md say."""

from __future__ import annotations

from layerscope.analysis.digits import two_digits
from layerscope.analysis.latency import latency_summary
from layerscope.measure.energy.summary import summarise_energy
from published.data import document, layer_rows, row, run, total
from published.h200 import (
    device_ms,
    first_token_s,
    floor_ms,
    latency_s,
    predicted_saving_ms,
    where,
    wo_ms,
)
from published.modes import mode
from published.pages import Page, page
from published.reference import published
from published.sweeps import _BATCH, _IMAGE, _INPUT, cell, ms

EAGER, HIGH = "xl-b16-eager", "xl-b16-fp32-matmul-high"


@page("docs/results/README.md")
def the_list(p: Page) -> None:
    """It holds no figures."""


@page("README.md")
def the_front(p: Page) -> None:
    p.given(
        "You need Python 3.11 or newer",
        "fp16, batch 16, 20 new tokens |",
        "with 12 GB free",
        "(16 GB)",
        "some MB each",
        "published, batch 1 → 16",
        "input length 200 → 50",
        "image size 224 → 448",
        "saw 224 px",
        "at batch 16 |",
        "three decimals",
        "exit 5 where",
    )
    _the_run(p)
    _the_sweeps(p)


def _the_run(p: Page) -> None:
    rows = [r for r in layer_rows(f"h200/{EAGER}") if r["layer"] == "generate"]
    account, own = run(f"h200/{EAGER}").account, total(rows, "gpu_self_us")
    p.says(
        "device {:,.3f} us = modules {:,.3f} + generate outside modules {:,.3f} + no launch record"
        " 0.000; difference {} ns",
        account.device_sum_us,
        account.device_sum_us - own,
        own,
        account.device_difference_ns,
    )
    summary = latency_summary(run(f"h200/{EAGER}"))
    p.says(
        "{:.3f} s per batch [{:.3f}, {:.3f}]",
        latency_s(EAGER),
        summary.interval.low / 1e9,
        summary.interval.high / 1e9,
    )
    p.says("the device is busy {:.3f} s of it", device_ms(EAGER) / 1e3)
    joules = summarise_energy(run(f"h200/{EAGER}").energy, seed=0)
    p.says(
        "{:.1f} J per sample [{:.1f}, {:.1f}]",
        joules.joules_per_sample,
        joules.interval.low,
        joules.interval.high,
    )
    p.says("{:,} per batch", int(run(f"h200/{EAGER}").report.flops.value))
    floor, *_ = floor_ms(EAGER)
    p.says(
        "{} ms; latency is {} times it",
        two_digits(floor),
        two_digits(1e3 * latency_s(EAGER) / floor),
    )
    _decode_waits(p)
    p.says(
        "{:.1f} ms, {:.0f} % of device time; `--fp32-matmul high` was predicted to save at most {}"
        " ms of it and saved {:.1f}",
        wo_ms(EAGER),
        100 * wo_ms(EAGER) / device_ms(EAGER),
        two_digits(predicted_saving_ms("fp32-islands")),
        wo_ms(EAGER) - wo_ms(HIGH),
    )
    conv = where(EAGER, "patch_embedding")[0]
    first = document(f"h200/{EAGER}/run.json")["first_call_us"]
    (first_us,) = (us for layer, us in first.items() if layer.endswith("patch_embedding"))
    p.says(
        "{:.3f} ms on the device, {:.0f} ms on the host",
        float(conv["gpu_self_us"]) / 1e3,
        first_us / 1e3,
    )


def _decode_waits(p: Page) -> None:
    from published.h200 import phase_ms, printed

    (profiled, _) = printed(
        f"h200/{EAGER}/screen.txt",
        r"decode is launch-bound: the device is idle (\d+) % of ([\d,]+) ms",
    )
    decode_ms = 1e3 * (latency_s(EAGER) - first_token_s(EAGER))
    p.says(
        "{} % of the profiled time, {:.0f} % of the unprofiled",
        profiled,
        100 * (1 - phase_ms(EAGER, "decode") / decode_ms),
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
