"""What docs/results/h200/transformers-5.24/README.md says."""

from __future__ import annotations

from statistics import median, quantiles

from published.data import Row, document, row, run, table
from published.pages import Page, page

_HERE = "h200/transformers-5.24"
_SIZES = (
    ("16", "224", "200"), ("16", "336", "200"), ("16", "448", "200"), ("16", "224", "100"),
    ("16", "224", "50"), ("8", "224", "200"), ("4", "224", "200"), ("1", "224", "200"),
)  # fmt: skip
_TRAINED = (
    ("fp32", "eager"),
    ("fp32", "compile"),
    ("fp32", "cudagraphs"),
    ("bf16", "eager"),
    ("bf16", "compile"),
    ("bf16", "cudagraphs"),
)
_SAME = {"tokens", "flops", "bytes", "calls"}
_WAYS = {
    "layerscope, the calling thread": "layerscope",
    "layerscope, all threads": "layerscope, all threads",
    "`capture()`": "capture()",
    "the ranges before they held every thread": "before",
}


@page(f"docs/results/{_HERE}/README.md")
def the_newest(p: Page) -> None:
    p.given(
        "(700 W, driver 580.159.04, torch 2.11.0+cu130, transformers 5.24.0, Python 3.12.3, 16 virtual",
        "device time by less than one",
        "eager, 20 new tokens",
        "difference 0 ns",
        "448 px, batch 16, 128 samples",
        "With transformers 5.17",
        "| | batch 16 | batch 1 |",
    )
    _sizes(p)
    _trained(p)
    _two_trees(p)
    _capturing(p)


def _sizes(p: Page) -> None:
    for batch, pixels, tokens in _SIZES:
        found = row(f"{_HERE}/sizes.csv", batch=batch, image_size=pixels, max_input_len=tokens)
        p.says(
            "| {} px, {} tokens{} | {:.3f} | {:,d} | {:.3f} | {:.1f} |",
            *(pixels, tokens, "" if batch == "16" else f", batch {batch}"),
            *(_ms(found), int(found["flops_per_batch"])),
            *(float(found["latency_s"]), float(found["energy_j_per_sample"])),
        )
    rows = table(f"{_HERE}/sizes.csv")
    assert len(rows) == len(_SIZES)
    assert {r["status"] for r in rows} == {"done"}
    before = run("h200/xl-b16-eager").account.device_sum_us / 1e3
    now = _ms(row(f"{_HERE}/sizes.csv", batch="16", image_size="224", max_input_len="200"))
    p.says("took {:.3f} ms on an H200", before)
    p.says("{:.0f} % less device time", 100 * (1 - now / before))


def _trained(p: Page) -> None:
    for dtype, name in _TRAINED:
        found = row(f"{_HERE}/trained.csv", dtype=dtype, optimization=name)
        equal = found["tokens_equal"]
        p.says(
            f"| {dtype}, {name} |" + " {:.3f} [{:.3f}, {:.3f}] | {:.4f} | {:.2f} | {:.3f} | {} |",
            *(float(found[key]) for key in ("wer_value", "wer_value_low", "wer_value_high")),
            *(float(found["latency_s"]), float(found["energy_j_per_sample"]), _ms(found)),
            f"{100 * float(equal):.0f} %" if equal else "",
        )
    done = {
        (r["dtype"], r["optimization"]) for r in table(f"{_HERE}/trained.csv") if r["wer_value"]
    }
    assert done == set(_TRAINED)


def _two_trees(p: Page) -> None:
    for name, said in (("eager", "identical, rows too"), ("cudagraphs", "identical")):
        found = document(f"{_HERE}/two_trees_{name}.json")
        assert not _SAME & set(found["unlike"])
        assert (not found["unlike"]) == ("rows too" in said)
        (old,), (new,) = found["time_us"]["old"], found["time_us"]["new"]
        p.says(
            "| {} | {:.3f} | {:.3f} | {:.5f} | {} |",
            *(name, old / 1e3, new / 1e3, found["new_over_old"], said),
        )
        assert abs(new / old - 1) < 0.01
        assert {d for side in found["difference_ns"].values() for d in side} == {0}


def _capturing(p: Page) -> None:
    batches = {b["batch"]: b["ways"] for b in document(f"{_HERE}/capture_overhead.json")["batches"]}
    rounds = {len(batches[b][way]["generate_ns"]) for b in (16, 1) for way in _WAYS.values()}
    p.says("medians of {} interleaved rounds", *rounds)
    p.says(
        "{:,d} module calls",
        *{b["module_calls"] for b in document(f"{_HERE}/capture_overhead.json")["batches"]},
    )
    for label, way in _WAYS.items():
        cells = [_over(batches[b], way) for b in (16, 1)]
        p.says(
            f"| {label} |" + " {:+.1f} % ({:+.1f} to {:+.1f}) | {:+.1f} % ({:+.1f} to {:+.1f}) |",
            *(number for cell in cells for number in cell),
        )


def _over(ways: dict[str, dict[str, list[int]]], way: str) -> tuple[float, float, float]:
    pairs = zip(ways[way]["generate_ns"], ways["profiler alone"]["generate_ns"], strict=True)
    over = [100 * (mine / alone - 1) for mine, alone in pairs]
    low, _, high = quantiles(over, n=4, method="inclusive")
    return median(over), low, high


def _ms(found: Row) -> float:
    return float(found["device_sum_us"]) / 1e3
