"""What docs/results/h200/models/README.md and docs/results/h200/programs/README.md say."""

from __future__ import annotations

from statistics import median

from published.data import Row, document, layer_rows, printed, row, run, table, total
from published.pages import Page, page

_MODELS = "h200/models"
_PROGRAMS = "h200/programs"
# Of a table's row: its name on the page, the sweep, its batch and its optimization.
_PHASES = (
    ("Qwen2.5-VL-7B", "qwen", "1"),
    ("Qwen2.5-VL-7B", "qwen8", "8"),
    ("LLaVA-1.5-7B", "llava", "1"),
    ("LLaVA-1.5-7B", "llava", "8"),
    ("InternVL3-8B", "internvl", "1"),
    ("InternVL3-8B", "internvl", "8"),
)
_TOKENS = ("64", "128", "256", "512", "1024", "2048")


@page(f"docs/results/{_MODELS}/README.md")
def models(p: Page) -> None:
    p.given(
        "(700 W, driver 580.159.04, torch 2.11.0+cu130, transformers 5.24.0, Python 3.12.3)",
        "20 new tokens, 32 or 34 text tokens",
        "device time by less than one",
        "| batch |",
        "difference 0 ns",
    )
    _by_phase(p)
    _flops(p)
    _graphs(p)
    _by_tokens(p)


def _by_phase(p: Page) -> None:
    others = []
    for name, sweep, batch in _PHASES:
        cell = row(f"{_MODELS}/cells.csv", sweep=sweep, batch=batch, optimization="eager")
        ms = _phases(cell)
        others.append(ms["other"] / (float(cell["device_sum_us"]) / 1e3))
        p.says(
            "| {} | {} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.3f} | {} | {:,d} |",
            *(name, batch, ms["vision"], ms["prefill"], ms["decode"], ms["other"]),
            *(float(cell["device_sum_us"]) / 1e3, _latency(cell), int(cell["flops_per_batch"])),
        )
        assert round(sum(ms.values()) * 1e6) == round(float(cell["device_sum_us"]) * 1e3)
        assert float(cell["decoder_steps"]) == 20
        seen = "576" if sweep == "llava" else "256"
        assert cell["image_tokens_seen"] == seen
    p.says("see {} image tokens, LLaVA-1.5 {}", "256", "576")
    projector = [
        r
        for r in table(f"{_MODELS}/groups.csv")
        if r["cell"] == row(f"{_MODELS}/cells.csv", sweep="llava", batch="8")["cell"]
        and r["phase"] == "projection"
    ]
    p.says("{:.1f} ms for LLaVA at batch 8", total(projector, "gpu_self_us", 1e-3))
    p.says("at most {:.1f} % of the device's time", 100 * max(others))


def _flops(p: Page) -> None:
    said = []
    for model, sweep in (("qwen2.5-vl-7b-instruct", "qwen"), ("llava-1.5-7b-hf", "llava")):
        ours = row(f"{_MODELS}/cells.csv", sweep=sweep, batch="1", optimization="eager")
        for check in ("sum over layers", "torch FlopCounterMode", "closed form"):
            numbers = rf"{check} +[\d,]+ +([\d,]+) +([\d,]+) +0  equal"
            found = printed(f"{_MODELS}/flops-{model}.txt", numbers)
            assert {int(n.replace(",", "")) for n in found} == {int(ours["flops_per_batch"])}
        said.append(int(ours["flops_per_batch"]))
    p.says("Qwen2.5-VL {:,d} and LLaVA {:,d}, by the sum", *said)


def _graphs(p: Page) -> None:
    shorter, gaps, buckets = [], [], []
    for name, short in (("Qwen2.5-VL-7B", "qwen"), ("LLaVA-1.5-7B", "llava")):
        seconds = []
        for mode in ("eager", "cudagraphs"):
            cell = row(f"{_MODELS}/cells.csv", sweep=short, batch="1", optimization=mode)
            _as_eager_or_graphs(p, name, f"{_MODELS}/{short}-b1-{mode}", cell)
            seconds.append(float(cell["latency_s"]))
        shorter.append(seconds[0] / seconds[1])
        gaps += _gaps(f"{_MODELS}/{short}-b1-cudagraphs")
        buckets.append(_in_buckets(f"{_MODELS}/{short}-b1-cudagraphs"))
    p.says("{:.1f} and {:.1f} times shorter", *shorter)
    p.says("{:.1f} and {:.1f} % of the device's time is in named buckets", *buckets)
    p.says("at most {:.2f} apart", max(gaps))
    eager = row(f"{_MODELS}/cells.csv", sweep="qwen", batch="1", optimization="eager")
    p.says("{:.1f} J/sample eagerly", float(eager["energy_j_per_sample"]))
    p.given("65.7 as CUDA graphs")  # of the run whose step had no names, which is not kept


def _as_eager_or_graphs(p: Page, name: str, folder: str, cell: Row) -> None:
    """One row of that table, from a run whose account must be whole."""
    account = run(folder).account
    assert account is not None
    assert account.status == "ok"
    assert (account.device_difference_ns, account.host_difference_ns) == (0, 0)
    assert account.device_sum_us == float(cell["device_sum_us"])
    decode = [r for r in layer_rows(folder) if r["phase"] == "decode"]
    p.says(
        "| {}, {} | {:.3f} | {} | {:.1f} | {:.1f} | {} |",
        *(name, cell["optimization"], account.device_sum_us / 1e3, _latency(cell)),
        *(total(decode, "gpu_self_us", 1e-3), total(decode, "roofline_us", 1e-3)),
        f"{float(cell['compile_s']):.0f}" if cell["compile_s"] else "",
    )


def _gaps(folder: str) -> list[float]:
    """Between the eager logits where tokens part; of a run in which nothing fell back."""
    optimization = run(folder).optimization
    assert optimization is not None
    assert optimization.cudagraph_skips == 0
    assert not sum(part.fallbacks for part in optimization.parts)
    assert optimization.tokens is not None
    return [abs(d.logit_gap) for d in optimization.tokens.differences if d.logit_gap is not None]


def _in_buckets(folder: str) -> float:
    """Per cent of the device's time."""
    rows = layer_rows(folder)
    named = [r for r in rows if r["layer"].startswith("(")]
    return 100 * total(named, "gpu_self_us") / total(list(rows), "gpu_self_us")


def _by_tokens(p: Page) -> None:
    for tokens in _TOKENS:
        cell = row(f"{_MODELS}/cells.csv", sweep="tokens", image_tokens=tokens)
        assert cell["image_tokens_seen"] == tokens
        ms = _phases(cell)
        p.says(
            "| {} | {:.1f} | {:.1f} | {:.1f} | {:.3f} |",
            *(tokens, ms["vision"], ms["prefill"], ms["decode"]),
            float(cell["device_sum_us"]) / 1e3,
        )


@page(f"docs/results/{_PROGRAMS}/README.md")
def programs(p: Page) -> None:
    p.given(
        "(700 W, driver 580.159.04, torch 2.11.0+cu130, transformers 5.24.0)",
        "7 of 11 lay within 15 %",
        "| difference, device and host | 0 ns, 0 ns | 0 ns, 0 ns |",
    )
    found = document(f"{_PROGRAMS}/summary.json")
    both = [found[name] for name in ("chat", "batch-server")]
    assert all(one["same_output"] and set(one["exit"].values()) == {0} for one in both)
    accounts = [one["account"] for one in both]
    for account in accounts:
        assert (account["device_difference_ns"], account["host_difference_ns"]) == (0, 0)
        assert account["parameters"] == accounts[0]["parameters"]
    p.says("| traced call | {} | {} |", *(a["first_call"] for a in accounts))
    p.says(
        "| `input_ids` as they came | {} x {} | {} x {} |",
        *(side for a in accounts for side in a["shapes"]["input_ids"]),
    )
    p.says(
        "| steps | {} prefill, {} decode | {} prefill, {} decode |",
        *(a["steps"][phase] for a in accounts for phase in ("prefill", "decode")),
    )
    calls = [", ".join(str(n) for n in a["calls_by_phase"].values()) for a in accounts]
    p.says("| calls of the first block: vision, prefill, decode | {} | {} |", *calls)
    p.says("| device events | {:,d} | {:,d} |", *(a["events"] for a in accounts))
    records = [run(f"{_PROGRAMS}/{name}").account for name in ("chat", "batch-server")]
    p.says("| device time, ms | {:.3f} | {:.3f} |", *(r.device_sum_us / 1e3 for r in records if r))
    slow = [one["slowdown"] for one in both]
    for words, key in (
        ("calls before the traced one over those without layerscope", "before_the_traced_call"),
        ("calls at which nothing is looked at any more, likewise", "when_nothing_is_looked_at"),
    ):
        p.says(f"| {words} | {{:.2f}} | {{:.2f}} |", *(s[key] for s in slow))
    p.says("| the traced call, likewise | {:.1f} | {:.1f} |", *(s["traced_call"] for s in slow))
    p.says("took {:.2f} and {:.2f} times as long", *(s["when_nothing_is_looked_at"] for s in slow))
    p.says("took {:.2f} and {:.2f} times what", *(s["before_over_later"] for s in slow))
    p.says("Model: {:,d} parameters", accounts[0]["parameters"])
    energy = [a["report"]["energy"]["value"] for a in accounts]
    assert energy[0] is None
    p.says("{:.1f} J a call", energy[1])
    server = run(f"{_PROGRAMS}/batch-server").captured
    assert server is not None
    assert server.program is not None
    assert median(server.program.untraced_s) > 0


def _phases(cell: Row) -> dict[str, float]:
    """Milliseconds of a cell's phases; the projector's stand under `other`."""
    ms = dict.fromkeys(("vision", "prefill", "decode", "other"), 0.0)
    for group in table(f"{_MODELS}/groups.csv"):
        if (group["sweep"], group["cell"]) == (cell["sweep"], cell["cell"]):
            phase = group["phase"] if group["phase"] in ms else "other"
            ms[phase] += round(float(group["gpu_self_us"] or 0) * 1000) / 1e6
    return ms


def _latency(cell: Row) -> str:
    return f"{float(cell['latency_s']):.3f}{'*' if cell['latency_unstable'] else ''}"
