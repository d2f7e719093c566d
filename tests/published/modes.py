"""What docs/results/h200/modes/README.md says of the optimization modes."""

from __future__ import annotations

from collections import defaultdict

from layerscope.core.units import two_digits
from published.data import Row, row, table, total
from published.pages import Page, page

MODES = {
    "eager": ("eager", "highest", "0"),
    "eager, TF32": ("eager", "high", "0"),
    "compile": ("compile", "highest", "0"),
    "compile, TF32": ("compile", "high", "0"),
    "cudagraphs": ("cudagraphs", "highest", "0"),
    "cudagraphs, TF32": ("cudagraphs", "high", "0"),
    "cudagraphs, tuned": ("cudagraphs", "highest", "1"),
    "cudagraphs, TF32, tuned": ("cudagraphs", "high", "1"),
}


def mode(batch: int, name: str) -> Row:
    """One mode's line."""
    optimization, precision, tuned = MODES[name]
    return row(
        f"h200/modes/modes-b{batch}.csv",
        optimization=optimization,
        fp32_matmul=precision,
        tuned=tuned,
    )


def modes_of(batch: int) -> dict[str, Row]:
    lines = table(f"h200/modes/modes-b{batch}.csv")
    return {
        n: mode(batch, n)
        for n, (o, p, t) in MODES.items()
        if any((r["optimization"], r["fp32_matmul"], r["tuned"]) == (o, p, t) for r in lines)
    }


@page("docs/results/h200/modes/README.md")
def the_modes(p: Page) -> None:
    p.given(
        "driver 580.159.04",
        "224 px, 200 text and 20 new tokens",
        "with 16 cores each",
        "95 %",
        "idle at most 10 %, latency at most 2.5 ×",
        "at 20 tokens",
        "batch 16 (its latency",
        "| batch 1 | latency",
        "| batch 16 | latency",
        "of one batch of 16, ms",
    )
    lines = [line for batch in (1, 16) for line in modes_of(batch).values()]
    (difference,) = {line["difference_ns"] for line in lines}
    assert len(lines) == 12
    p.says("The account's difference is {} ns in all twelve", difference)
    for batch in (1, 16):
        for name, line in modes_of(batch).items():
            _line(p, batch, name, line)
    graphs, fast = mode(16, "cudagraphs"), mode(16, "cudagraphs, TF32")
    graphs_1 = mode(1, "cudagraphs, TF32")
    p.says(
        "{} and {} ms, with TF32 {} and {}",
        *(
            two_digits(float(m["floor_ms"]))
            for m in (mode(1, "cudagraphs"), graphs, graphs_1, fast)
        ),
    )
    p.says(
        "({:.1f} and {:.0f} MB)",
        float(mode(1, "cudagraphs")["cache_mb"]),
        float(mode(16, "cudagraphs")["cache_mb"]),
    )
    gaps = defaultdict(list)
    for batch in (1, 16):
        for line in modes_of(batch).values():
            if line["largest_logit_gap"]:
                gaps[line["fp32_matmul"]].append(float(line["largest_logit_gap"]))
    p.says(
        "at most {:.3f} apart in eager fp16, {:.2f} with TF32",
        max(gaps["highest"]),
        max(gaps["high"]),
    )
    ready = {
        name: float(line["ready_s"])
        for b in (1, 16)
        for name, line in ((f"{b} {n}", m) for n, m in modes_of(b).items())
        if line["ready_s"]
    }
    tuned = [s for name, s in ready.items() if "tuned" in name]
    plain = [s for name, s in ready.items() if "tuned" not in name and "eager" not in name]
    p.says(
        "after {:.0f} s, the other compiled ones after {:.0f} to {:.0f} s",
        round(max(tuned), -0),
        5 * round(min(plain) / 5),
        5 * round(max(plain) / 5),
    )
    _published(p)
    _tuning(p)
    _layers(p, 16, ("eager", "compile", "cudagraphs"))
    _layers(p, 1, ("eager", "compile", "cudagraphs", "cudagraphs_tuned"))
    _coverage(p)
    _gains(p)


def _line(p: Page, batch: int, name: str, line: Row) -> None:
    latency = float(line["latency_s"])
    digits = 4 if name.startswith("cudagraphs") else 3
    joules = 2 if batch == 16 else 1
    eager = name == "eager"
    start = f"| {name} | {{:.{digits}f}} [{{:.{digits}f}}, {{:.{digits}f}}] | "
    p.says(
        start + "{} | " + f"{{:.{joules}f}} [{{:.{joules}f}}, {{:.{joules}f}}] | {{:.1f}} |",
        latency,
        float(line["latency_low_s"]),
        float(line["latency_high_s"]),
        "1" if eager else _times(batch, name, float(line["times_faster"])),
        *(float(line[k]) for k in ("j_per_sample", "j_low", "j_high", "device_sum_ms")),
    )
    idle, floor = 100 * float(line["idle_share"]), float(line["times_floor"])
    equal = f"{line['tokens_equal']} of {line['tokens_compared']}"
    compiled = f" {equal} | {float(line['compile_s'] or 0):.0f} |"
    bold_idle = "**" if name.startswith("cudagraphs") and idle <= 10 else ""
    bold_floor = "**" if name.startswith("cudagraphs") and _within(batch, name, floor) else ""
    ends = " | |" if name.startswith("eager") else compiled
    p.says(
        f"{bold_idle}{{:.1f}} %{bold_idle} | {bold_floor}{{}}{bold_floor} |" + ends,
        idle,
        two_digits(floor),
    )


def _within(batch: int, name: str, floor: float) -> bool:
    return floor <= 2.5


def _times(batch: int, name: str, value: float) -> str:
    return f"{value:.2f}" if name == "eager, TF32" else f"{value:.1f}"


def _published(p: Page) -> None:
    from published.reference import published

    eager, compiled = published("optimization", "eager"), published("optimization", "compile")
    for name, entry in (("eager", eager), ("compile", compiled)):
        p.says(
            "| {} | {:.4f} | {:.4f} | {:.3f} | {} T |",
            name,
            entry["wer_value"],
            entry["latency"],
            entry["energy"],
            str(entry["flops"]).split()[0],
        )


def _tuning(p: Page) -> None:
    fast, tuned = mode(1, "cudagraphs"), mode(1, "cudagraphs, tuned")

    def change(column: str) -> float:
        return 100 * (float(tuned[column]) / float(fast[column]) - 1)

    p.says(
        "device's time falls by {:.0f} %, latency by {:.0f} %, and **the joules rise by {:.0f} %**",
        -change("device_sum_ms"),
        -change("latency_s"),
        change("j_per_sample"),
    )
    watts = [float(m["j_per_sample"]) / float(m["latency_s"]) for m in (tuned, fast)]
    p.says("at {:.0f} W instead of {:.0f}", *watts)
    p.says("where idle is {:.1f} %", 100 * float(tuned["idle_share"]))


def _layers(p: Page, batch: int, ways: tuple[str, ...]) -> None:
    """The table by group and phase; what is not a line of its own is in the last one."""
    rows = table(f"h200/modes/layers-b{batch}.csv")
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * len(ways))
    for line in rows:
        group = line["layer"] if line["layer"].startswith("(") else line["group"]
        group = "generate" if line["layer"] == "generate" and line["phase"] == "other" else group
        for place, way in enumerate(ways):
            sums[group, line["phase"]][place] += float(line[f"{way}_us"] or 0) / 1e3
    cells = " | ".join(["{:.2f}"] * len(ways))
    left = dict(sums)
    for (group, phase), values in sums.items():
        claim = f"| {group} | {phase} | " + cells.format(*values) + " |"
        if (f"| {group} | {phase} | " in p.text and claim in p.text) or max(values) >= LEAST[batch]:
            p.says(claim.replace("{", "{{").replace("}", "}}"))
            left.pop((group, phase))
    others = [sum(values[place] for values in left.values()) for place in range(len(ways))]
    p.says(f"| {len(left)} more | | " + cells + " |", *others)
    wholes = [sum(values[place] for values in sums.values()) for place in range(len(ways))]
    p.says("| **sum** | | " + cells + " |", *wholes)


LEAST = {1: 0.09, 16: 0.2}


def _coverage(p: Page) -> None:
    p.given("call for call: 4,833 `mm`, 1,008 `bmm`, 537 SDPA and one convolution")
    named = lambda b, n: 100 * float(mode(b, n)["on_layers_inside_share"])  # noqa: E731
    p.says(
        "**compile**: {:.1f} % of the device time on layers inside compiled code at batch 16, {:.1f} %"
        " at batch 1 (TF32: {:.1f} %)",
        named(16, "compile"),
        named(1, "compile"),
        named(16, "compile, TF32"),
    )
    own = {b: table(f"h200/modes/layers-b{b}.csv")[0] for b in (1, 16)}
    assert all(line["layer"] == "generate" for line in own.values())
    p.says(
        "({:.1f} % and {:.1f} %)",
        *(
            float(own[b]["compile_us"]) / 10 / float(mode(b, "compile")["device_sum_ms"])
            for b in (16, 1)
        ),
    )
    p.says(
        "{:.1f} and {:.1f} % of the device time is a fused",
        *(100 * float(mode(b, "compile")["modelled_share"]) for b in (16, 1)),
    )
    p.says(
        "99 % is not reached at batch 1: `generate()`'s own sampling is {:.2f} ms there",
        float(own[1]["compile_us"]) / 1e3,
    )
    eager_rows = table("h200/modes/layers-b1.csv")
    inside = 1 - float(own[1]["eager_us"]) / total(eager_rows, "eager_us")
    p.says("eager has {:.1f} %", 100 * inside)
    p.says(
        "{:.1f} % on layers at batch 16, {:.1f} % at batch 1; TF32 {:.1f} and {:.1f} %; tuned {:.1f} and"
        " {:.1f} %",
        named(16, "cudagraphs"),
        named(1, "cudagraphs"),
        named(16, "cudagraphs, TF32"),
        named(1, "cudagraphs, TF32"),
        named(1, "cudagraphs, tuned"),
        named(1, "cudagraphs, TF32, tuned"),
    )
    p.given("agree with `compile`'s direct launches to 0.2 ms at batch 16")
    attention = _group(1, "decoder.self_attention", ("decode",))
    p.says("({:.1f} against {:.1f} ms), to 0.13 ms at batch 1", attention[2], attention[1])
    p.says(
        "{:.0f} % of the device time is in kernels that several layers share",
        100 * float(mode(1, "cudagraphs, tuned")["modelled_share"]),
    )


def _group(batch: int, group: str, phases: tuple[str, ...]) -> list[float]:
    """ms of a group: eager, compile, cudagraphs, tuned at batch 1."""
    rows = [
        r
        for r in table(f"h200/modes/layers-b{batch}.csv")
        if r["group"] == group and r["phase"] in phases
    ]
    ways = ["eager_us", "compile_us", "cudagraphs_us"] + ["cudagraphs_tuned_us"] * (batch == 1)
    return [total(rows, way, 1e-3) for way in ways]


def _gains(p: Page) -> None:
    t5 = ("encoder", "prefill", "decode")
    steps = ("prefill", "decode")
    norms = {b: _group(b, "norm", t5) for b in (1, 16)}
    p.says(
        "T5's norms ({:.1f} → {:.1f} ms at batch 16, {:.1f} → {:.1f} at batch 1)",
        norms[16][0],
        norms[16][2],
        norms[1][0],
        norms[1][2],
    )
    encoder = _group(16, "encoder.attention", ("encoder",))
    decoder = _group(16, "decoder.self_attention", steps)
    p.says(
        "in the encoder ({:.1f} → {:.1f}) and the decoder ({:.1f} → {:.1f})",
        encoder[0],
        encoder[2],
        decoder[0],
        decoder[2],
    )
    ffn = [
        a + b
        for a, b in zip(
            _group(16, "encoder.ffn", ("encoder",)), _group(16, "decoder.ffn", steps), strict=True
        )
    ]
    p.says("feed-forward ({:.1f} → {:.1f})", ffn[0], ffn[2])
    more = [_group(16, g, ("vision",)) for g in ("vision.mlp", "other")]
    less = _group(16, "vision.norm", ("vision",))
    p.says(
        "show {:.0f} ms more, `norm` {:.1f} ms less",
        sum(m[2] - m[0] for m in more),
        less[0] - less[2],
    )
    attention, ffn_1 = (_group(1, f"decoder.{g}", ("decode",)) for g in ("self_attention", "ffn"))
    p.says(
        "self-attention ({:.1f} → {:.1f} ms), whose products are the smallest, and in its feed-forward"
        " ({:.1f} → {:.1f})",
        attention[2],
        attention[3],
        ffn_1[2],
        ffn_1[3],
    )
