"""What docs/results/h200/sweeps/README.md says of the four sweeps."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import mean

from published.data import Row, run, table
from published.pages import Page, page
from published.reference import published

_BATCH = "h200/sweeps/batch_size"
_IMAGE = "h200/sweeps/image_size"
_INPUT = "h200/sweeps/input_length"
# (first cell, sweep, batch, pixels, text tokens)
CELLS = (
    ("batch 1, 224 px, 200 tokens", _BATCH, "1", "224", "200"),
    ("batch 4", _BATCH, "4", "224", "200"),
    ("batch 8", _BATCH, "8", "224", "200"),
    ("batch 16", _BATCH, "16", "224", "200"),
    ("batch 16, 336 px", _IMAGE, "16", "336", "200"),
    ("batch 16, 448 px", _IMAGE, "16", "448", "200"),
    ("batch 16, 100 tokens", _INPUT, "16", "224", "100"),
    ("batch 16, 50 tokens", _INPUT, "16", "224", "50"),
)
PHASES = ("vision", "qformer", "encoder", "prefill", "decode")


def cell(sweep: str, batch: str, pixels: str, text: str) -> Row:
    """The one measured cell of a sweep with these axes."""
    (found,) = (
        r
        for r in table(f"{sweep}/sweep.csv")
        if (r["batch"], r["image_size"], r["max_input_len"], r["device"])
        == (batch, pixels, text, "cuda")
        and r["image_size_mode"] == "model"
    )
    return found


def ms(row: Row) -> float:
    return float(row["device_sum_us"]) / 1e3


def by_phase(sweep: str, name: str) -> dict[str, float]:
    """Device ms of a cell by phase; `rest` is all else."""
    sums: dict[str, float] = defaultdict(float)
    for row in table(f"{sweep}/sweep_layers.csv.gz"):
        if row["cell"] == name:
            phase = row["phase"] if row["phase"] in PHASES else "rest"
            sums[phase] += float(row["gpu_self_us"] or 0) / 1e3
    return sums


@page("docs/results/h200/sweeps/README.md")
def the_sweeps(p: Page) -> None:
    p.given(
        "20 new tokens forced",
        "torch 2.11.0+cu130",
        "driver 580.159.04",
        "95 %",
        "(batch 16, 224 px, 200 tokens;",
        "(16 virtual cores, fp32), batch 1 |",
        "CPU (16 virtual cores",
        "have 20 tokens always",
        "200, 100 and 50 tokens long",
        "saw 224 px in every row",
        "saw 336 and 448 px",
        "100 and 50 tokens:",
        "of 0 ns, and",
        "| batch 1 ",
        "| batch 4",
        "| batch 8",
        "| batch 16",
        "| batch 16, 100",
        "| batch 16, 50",
        ", 224 px, 200 tokens |",
        ", 336 px |",
        ", 448 px |",
        ", 100 tokens |",
        ", 50 tokens |",
        "beside it, batch 1",
        "at 50 tokens. Here",
        "That 50 tokens look slower than 200 is",
    )
    _device_time(p)
    _latency_and_energy(p)
    _beside(p)


def _device_time(p: Page) -> None:
    for label, sweep, batch, pixels, text in CELLS:
        row = cell(sweep, batch, pixels, text)
        flops = f"{int(row['flops_per_batch']) / 1e12:.4g}"
        flops = f"{flops}0" if flops == "20.3" else flops
        if sweep == _INPUT:  # its account by layer is not committed: the sum is
            p.says("| **{:.2f}** | {} T |", ms(row), flops)
            continue
        parts = by_phase(sweep, row["cell"])
        assert abs(sum(parts.values()) - ms(row)) < 1e-6
        p.says(
            "| {} | " + "{:.2f} | " * 6 + "**{:.2f}** | {} T |",
            label,
            *(parts[phase] for phase in (*PHASES, "rest")),
            ms(row),
            flops,
        )
    equal = [ms(cell(sweep, "16", "224", "200")) for sweep in (_BATCH, _IMAGE, _INPUT)]
    equal.append(run("h200/xl-b16-eager").account.device_sum_us / 1e3)
    p.says(
        "{:.1f} to {:.1f} ms, {:.1f} % apart",
        min(equal),
        max(equal),
        100 * (max(equal) / min(equal) - 1),
    )


def _latency_and_energy(p: Page) -> None:
    again = [
        ("batch 16 again (`image_size`)", _IMAGE, "16", "224", "200"),
        ("batch 16 again (`input_length`)", _INPUT, "16", "224", "200"),
    ]
    for label, *where in (*CELLS, *again):
        row = cell(*where)
        name = "batch 1" if label.startswith("batch 1,") else label
        p.says(
            "| {} | {:.3f} [{:.3f}, {:.3f}] | {:.1f} [{:.1f}, {:.1f}] |",
            name,
            *(float(row[k]) for k in ("latency_s", "latency_low_s", "latency_high_s")),
            *(
                float(row[k])
                for k in (
                    "energy_j_per_sample",
                    "energy_low_j_per_sample",
                    "energy_high_j_per_sample",
                )
            ),
        )
    gpu, cpu = table("h200/sweeps/device/sweep.csv")
    assert (gpu["device"], cpu["device"]) == ("cuda", "cpu")
    p.says(
        "| {:.2f} [{:.2f}, {:.2f}] | absent",
        float(cpu["latency_s"]),
        float(cpu["latency_low_s"]),
        float(cpu["latency_high_s"]),
    )
    p.says(
        "| {:.3f} [{:.3f}, {:.3f}] | {:.1f} [{:.1f}, {:.1f}] |",
        *(
            float(gpu[k])
            for k in (
                "latency_s",
                "latency_low_s",
                "latency_high_s",
                "energy_j_per_sample",
                "energy_low_j_per_sample",
                "energy_high_j_per_sample",
            )
        ),
    )
    device = [ms(cell(*where)) / 1e3 for _, *where in CELLS]
    p.says("(the device works {:.2f} to {:.2f} s of these)", min(device), max(device))
    full, short = (ms(cell(_INPUT, "16", "224", text)) for text in ("200", "50"))
    p.says("the device needs {:.0f} % less", 100 * (1 - short / full))


def _beside(p: Page) -> None:
    theirs = [published("batch_size", b) for b in ("1", "4", "8", "16")]
    ours = [cell(_BATCH, b, "224", "200") for b in ("1", "4", "8", "16")]
    grows = [t["latency"] / theirs[0]["latency"] for t in theirs[1:]]
    slower = [float(o["latency_s"]) / float(ours[0]["latency_s"]) for o in ours[1:]]
    p.says(
        "latency grows 1 : {:.1f} : {:.1f} : {:.1f} from batch 1 to 16, ours"
        " 1 : {:.1f} : {:.1f} : {:.1f};",
        *grows,
        *slower,
    )
    joules = [float(o["energy_j_per_sample"]) for o in ours]
    p.says(
        "falls to {:.2f} of batch 1, ours to {:.2f}",
        theirs[3]["energy"] / theirs[0]["energy"],
        joules[3] / joules[0],
    )
    ratios = {
        (r["cell"], r["quantity"]): r["published_ratio"]
        for r in table(f"{_INPUT}/sweep_reference.csv")
    }
    latency = [
        float(v)
        for (name, quantity), v in ratios.items()
        if quantity == "latency" and v and name.endswith(("=100", "=50"))
    ]
    p.says("their ratios {:.3f} and {:.3f} lie", *latency)
    p.says(
        "device time falls from {:.0f} to {:.0f} ms",
        *(ms(cell(_INPUT, "16", "224", text)) for text in ("200", "50")),
    )
    vision = [
        by_phase(_IMAGE, cell(_IMAGE, "16", px, "200")["cell"])["vision"]
        for px in ("224", "336", "448")
    ]
    steps = [
        math.log(b / a) / math.log(y / x)
        for a, b, x, y in ((vision[1], vision[2], 336, 448), (vision[0], vision[1], 224, 336))
    ]
    p.says("vision grows with exponent {:.1f} to {:.1f}", min(steps), max(steps))
    p.says(
        "encoder with exponent {:.1f} to {:.1f}, decoder self-attention {:.2f}, decoder FFN {:.2f}",
        *(
            _exponent(g)
            for g in ("encoder.attention", "encoder.ffn", "decoder.self_attention", "decoder.ffn")
        ),
    )


def _exponent(group: str) -> float:
    """Slope of the logarithms of a group's device time over the batch, by least squares."""
    points = []
    for batch in ("1", "4", "8", "16"):
        name = cell(_BATCH, batch, "224", "200")["cell"]
        time = sum(
            float(r["gpu_self_us"] or 0)
            for r in table(f"{_BATCH}/sweep_layers.csv.gz")
            if r["cell"] == name and r["group"] == group
        )
        points.append((math.log(int(batch)), math.log(time)))
    x, y = (mean(p[i] for p in points) for i in (0, 1))
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
