"""What docs/results/h200/energy_by_layer/README.md says of joules by layer."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from typing import Any

from layerscope.joules.end_to_end_energy import end_to_end_of
from layerscope.joules.repeats import Repeated, agreement
from layerscope.report.energy_repeats import read_repeats
from layerscope.stats.energy_summary import summarise_energy
from published.data import RESULTS, Row, document, row, run, table, total
from published.pages import Page, page

HERE = "h200/energy_by_layer"
RUNS = {
    "batch 16, blocks": "b16-blocks/layer_energy.csv",
    "batch 1, blocks": "b1-blocks/layer_energy.csv",
    "batch 16, groups": "b16-groups/layer_energy-1.csv",
    "batch 1, groups": "b1-groups/layer_energy-1.csv",
}


def rows_of(file: str) -> tuple[Row, ...]:
    return table(f"{HERE}/{file}")


@cache
def replay(folder: str) -> Any:
    return json.loads(gzip.decompress((RESULTS / HERE / folder / "replay.json.gz").read_bytes()))


@page("docs/results/h200/energy_by_layer/README.md")
def the_energy(p: Page) -> None:
    p.given(
        "224 px, 200 text and 20 new tokens",
        "700 W cap",
        "torch 2.11.0+cu130",
        "16 cores each",
        "two windows or more",
        "within 8 %",
        "with at least 1 % of the joules",
        "blocks' 14 MB",
        "met the 700 W cap",
        "at the power cap",
        "0 nJ | 0 nJ | 0 nJ | 0 nJ",
        "[batch 16, ",
        "[batch 1, ",
        "**batch 16**",
        "**batch 1**",
        "| | batch 16 | batch 1 |",
        "| batch 16 | phase",
        "takes the 7 minutes that it is given",
    )
    files = list(RUNS.values())
    ends = [total(rows_of(f), "energy_j") for f in files]
    p.says("| end to end, J a batch | {:.9f} | {:.9f} | {:.9f} | {:.9f} |", *ends)
    raw = [total(rows_of(f), "raw_j") for f in files]
    p.says("| raw sum, J | {:.3f} | {:.3f} | {:.3f} | {:.3f} |", *raw)
    p.says(
        "| factor | {:.4f} | {:.4f} | {:.4f} | {:.4f} |",
        *(end / one for end, one in zip(ends, raw, strict=True)),
    )
    replayed = [[r for r in rows_of(f) if r["energy_source"] == "replay"] for f in files]
    p.says(
        "| joules replayed, not apportioned | {:.1f} % | {:.1f} % | {:.1f} % | {:.1f} % |",
        *(100 * total(r, "energy_j") / end for r, end in zip(replayed, ends, strict=True)),
    )
    counts = []
    for folder in ("b16-blocks", "b1-blocks"):
        units = replay(folder)["units"]
        windows = sum(len(unit["windows"]) for unit in units)
        counts += [
            sum(unit["role"] == "layer" for unit in units),
            windows,
            replay(folder)["spent_s"],
        ]
    p.says("| {}; {}; {:.0f} | {}; {}; {:.0f} | {} | {} |", *counts, *map(len, replayed[2:]))
    _checks(p)
    _repeats(p)
    _all_repeats(p)
    _by_group(p, ends[2])


def _checks(p: Page) -> None:
    checks = table(f"{HERE}/checks.csv")
    parts = {
        "vision tower": ("vision_model", "vision"),
        "Q-Former": ("qformer", "qformer"),
        "T5 encoder": ("language_model.encoder", "encoder"),
        "T5 decoder, prefill": ("language_model.decoder", "prefill"),
        "T5 decoder, decode": ("language_model.decoder", "decode"),
    }
    for label, (part, phase) in parts.items():
        values = []
        for name in ("b16-blocks", "b1-blocks"):
            line = row(f"{HERE}/checks.csv", run=name, part=part, phase=phase)
            values += [line["ratio"], line["raw_ratio"]]
        if part == "qformer":
            later = row(f"{HERE}/checks.csv", run="b1-qformer-in-turns", part=part)
            values[2] += f", *then {later['ratio']}*"
            values[3] += f", *then {later['raw_ratio']}*"
        p.says("| {} | {} | {} | {} | {} |", label, *values)
    raw = sorted(float(r["raw_ratio"]) for r in checks)
    p.says("all {} checks", len(checks))
    p.says(
        "within {:.0f} % of the part in all {} checks of all ten runs ({:.3f} to {:.3f})",
        100 * max(1 - raw[0], raw[-1] - 1),
        len(checks),
        raw[0],
        raw[-1],
    )
    assert len({r["run"] for r in checks}) == 10
    far = [r for r in checks if abs(float(r["ratio"]) - 1) > 0.08]
    p.says("Above idle {} of them lie within", len(checks) - len(far) + 1)
    # The Q-Former once before and once after the method was mended: one part.
    decoder = {r["phase"]: [x["ratio"] for x in far if x["phase"] == r["phase"]] for r in far}
    assert set(decoder) == {"qformer", "prefill", "decode"}
    p.says(
        "decode in one ({}) and its prefill in two ({} and {})",
        *decoder["decode"],
        *decoder["prefill"],
    )
    later = row(f"{HERE}/checks.csv", run="b1-qformer-in-turns", part="qformer")
    p.says("most of its {:.0f} ms", float(later["in_one_go_ms"]))
    in_one_go = [
        row(f"{HERE}/checks.csv", run=name, part="qformer")["in_one_go_above_idle_j"]
        for name in (
            "b1-groups-1",
            "b1-groups-2",
            "b1-groups-3",
            "b1-qformer-in-turns",
            "b1-blocks",
        )
    ]
    joules = sorted(float(j) for j in in_one_go)
    p.says(
        "differ by {:.0f} % ({:.3f} to {:.3f} J)",
        100 * (joules[-1] / joules[0] - 1),
        joules[0],
        joules[-1],
    )


def _repeats(p: Page) -> None:
    wall, joules = {}, {}
    for batch in ("b16", "b1"):
        runs = [rows_of(f"{batch}-groups/layer_energy-{i}.csv") for i in (1, 2, 3)]
        wall[batch] = [total(r, "wall_us", 1e-6) for r in runs]
        joules[batch] = [total(r, "energy_j") for r in runs]
    p.says(
        "a batch of 16 took {:.2f}, {:.2f} and {:.2f} s and {:.0f}, {:.0f} and {:.0f} J",
        *wall["b16"],
        *joules["b16"],
    )
    p.says(
        "a batch of one {:.2f}, {:.2f} and {:.2f} s and {:.0f}, {:.0f} and {:.0f} J",
        *wall["b1"],
        *joules["b1"],
    )
    apart = {}
    for batch in ("b16", "b1"):
        (spread,) = document(f"{HERE}/{batch}-groups/repeats.json").values()
        apart[batch] = {
            k: 100 * v["dynamic_apart"] for k, v in spread.items() if "dynamic_apart" in v
        }
    worst = max(apart["b1"], key=lambda name: apart["b1"][name])
    rest = [v for name, v in apart["b1"].items() if name != worst]
    p.says(
        "| {:.1f} to {:.1f} % | {:.1f} to {:.1f} %; `{}` {:.1f} % |",
        min(apart["b16"].values()),
        max(apart["b16"].values()),
        min(rest),
        max(rest),
        worst.partition(" (")[0],
        apart["b1"][worst],
    )
    second = {r["unit"]: float(r["energy_j"]) for r in rows_of("b16-groups/layer_energy-2.csv")}
    (hers,) = (j for unit, j in second.items() if "qformer.self_attention" in unit)
    first = {r["unit"]: float(r["energy_j"]) for r in rows_of("b16-groups/layer_energy-1.csv")}
    (usual,) = (j for unit, j in first.items() if "qformer.self_attention" in unit)
    p.says("gave {:.0f} J to the Q-Former's self-attention, which has {:.1f} J", hers, usual)


def _by_group(p: Page, whole: float) -> None:
    file = "b16-groups/layer_energy-1.csv"
    device = total(rows_of(file), "device_us")
    files = [RESULTS / HERE / "b16-groups" / f"layer_energy-{n}.csv" for n in (1, 2, 3)]
    unsure = {one.name for one in read_repeats(files) if one.joules_against_time is None}
    groups: dict[tuple[str, str], list[Row]] = {}
    for line in rows_of(file):  # a group of modules called differently often has several units
        groups.setdefault((line["unit"].partition(" (")[0], line["phase"]), []).append(line)
    for (group, phase), units in groups.items():
        start = f"| {group} | {phase} | "
        if start not in p.text:
            continue
        joules, busy = total(units, "energy_j"), total(units, "device_us")
        share, time = joules / whole, busy / device
        half = math.hypot(*(float(unit["energy_half_j"]) for unit in units))
        power = sum(float(u["replay_w"]) * float(u["device_us"]) for u in units) / busy
        ratio = f"{share / time:.2f}"
        bold = f"**{ratio}**" if abs(share / time - 1) >= 0.135 else ratio
        if any(unit["unit"] in unsure for unit in units):
            bold = "repeats disagree"
        p.says(
            start + "{:.2f} ± {:.2f} | {:.1f} % | {:.1f} % | {} | {:.0f} % | {:.0f} |",
            joules,
            half,
            100 * share,
            100 * time,
            bold,
            100 * total(units, "waiting_j") / joules,
            power,
        )
    (attention,) = groups["decoder.self_attention", "decode"]
    p.says("only {:.0f} W while it runs", float(attention["replay_w"]))
    (ffn,) = groups["decoder.ffn", "decode"]
    p.says("{:.0f} % waiting, and below", 100 * float(ffn["waiting_j"]) / float(ffn["energy_j"]))
    power = {
        name: float(unit["replay_w"])
        for (name, _), (unit, *_) in groups.items()
        if unit["replay_w"]
    }
    p.says(
        "draw {:.0f} to {:.0f} W",
        10 * round(power["vision.attention"] / 10),
        10 * round(power["vision.mlp"] / 10),
    )
    p.says(
        "attention {:.0f} to {:.0f} W",
        10 * round(power["encoder.ffn"] / 10),
        10 * round(power["encoder.attention"] / 10),
    )
    (unit,) = groups["encoder.ffn", "encoder"]
    times = float(unit["energy_j"]) / whole / (float(unit["device_us"]) / device)
    p.says("A second of `encoder.ffn` costs {:.2f} times", times)
    p.says(
        "of its joules, at {:.0f} W",
        summarise_energy(run("h200/xl-b16-eager").energy, seed=0).idle_w,
    )
    (norm, _) = groups["vision.norm", "vision"]
    p.says("norms {:.0f} W", 10 * int(float(norm["replay_w"]) / 10))
    _at_batch_one(p)


def _at_batch_one(p: Page) -> None:
    rows = [r for r in rows_of("b1-groups/layer_energy-1.csv") if r["energy_source"] == "replay"]
    waits = [float(r["waiting_j"] or 0) / float(r["energy_j"]) for r in rows]
    p.says(
        "every group waits ({:.0f} to {:.0f} % of its joules)", 100 * min(waits), 100 * max(waits)
    )
    modes = {
        r["optimization"]: r
        for r in table("h200/modes/modes-b1.csv")
        if (r["fp32_matmul"], r["tuned"]) == ("highest", "0")
    }
    p.says(
        "take {:.0f} J a batch where eager takes {:.0f}",
        *(float(modes[name]["j_per_sample"]) for name in ("cudagraphs", "eager")),
    )


def _all_repeats(p: Page) -> None:
    """Every group of the three repeats, with bars that an earlier run fixed."""
    p.given("at least 1 % of the joules in a run", "on one side of 1")
    said, bars = [], []
    for batch in (16, 1):
        record = run(f"h200/xl-b{batch}-eager")
        whole = end_to_end_of(record.energy, record.trace, record.latency)
        assert whole is not None
        idle_half_w = whole.reach * whole.idle_error_w
        bars.append(f"{idle_half_w:.2f} W at batch {batch}")
        folder = RESULTS / HERE / f"b{batch}-groups"
        files = [folder / f"layer_energy-{number}.csv" for number in (1, 2, 3)]
        units = read_repeats(files, idle_half_w)
        p.given(f"| batch {batch} | above idle")
        for unit in units:
            if max(one.energy_share for one in unit.runs) >= 0.01:
                p.says("| {} | {} | {} of {} | {} | {} |", *_repeated(unit))
        found, scatter = agreement(units), agreement(read_repeats(files))
        said.append(
            f"at batch {batch} {found.alike} of {found.pairs} pairs agree above idle, with a median "
            f"half width of {100 * found.median_half:.1f} %; without idle power's error {scatter.alike}"
        )
    p.says("an earlier run of the batch size had it ({})", ", ".join(bars))
    p.says("Of all 26 units {}; {}.", *said)


def _repeated(unit: Repeated) -> tuple[object, ...]:
    above = ", ".join(f"{one.above_j:.2f} ± {one.above_half_j:.2f}" for one in unit.runs)
    equal = ", ".join(f"{joules:.2f}" for joules in unit.at_equal_wall_j)
    ratios = unit.joules_against_time
    told = ", ".join(f"{ratio:.2f}" for ratio in ratios) if ratios else "repeats disagree"
    return unit.name, above, unit.pairs_alike, unit.pairs, equal, told
