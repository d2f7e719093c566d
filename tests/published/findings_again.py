"""What docs/results/h200/findings-again.md says of findings and of what came of them."""

from __future__ import annotations

from published.data import document, row, table, total
from published.h200 import device_ms
from published.pages import Page, page

_CSV = "h200/findings_again.csv"
_WO = "DenseReluDense.wo"


@page("docs/results/h200/findings-again.md")
def the_findings_again(p: Page) -> None:
    p.given("The folders hold no trace: at batch 16 gaps and operators", "under a tenth")
    for name in ("xl-b16-eager", "xl-b1-eager"):
        _of(p, name)
    kept = [float(r["measured_ms"]) / float(r["promised_ms"]) for r in table(_CSV) if r["promise"]]
    assert min(kept) >= 0.1
    p.says(
        "Of {} promises the worst was kept to {:.0f} % and the best exceeded, {:.0f} %",
        len(kept),
        100 * min(kept),
        100 * max(kept),
    )
    _of_before(p)


def _of(p: Page, name: str) -> None:
    """Each finding once, by the number under which its promises stand."""
    mine = [r for r in table(_CSV) if r["run"] == name]
    order = list(dict.fromkeys(r["finding"] for r in mine))
    for number, finding in enumerate(order, 1):
        lines = [r for r in mine if r["finding"] == finding]
        said, tried = (lines[0][k].replace("*", r"\*") for k in ("sentence", "try"))
        p.says("{}. {} {}", number, said, f"*Try:* {tried}." if tried else "Nothing to try.")
        for r in lines:
            if r["promise"]:
                numbers = (f"{float(r[k]):.1f}" for k in ("promised_ms", "measured_ms"))
                p.says(
                    "| {} | {} | {} | {} | {} |", number, r["promise"], *numbers, r["measured_in"]
                )


def _of_before(p: Page) -> None:
    """What 0.1.0 promised in the same run, from the findings that it wrote."""
    written = {f["id"]: f for f in document("h200/xl-b16-eager/findings.json")["findings"]}
    (wo,) = (f for name, f in written.items() if name.startswith("below-") and "-wo-" in name)
    layers = table("h200/modes/layers-b16.csv")
    mine = [r for r in layers if r["layer"].endswith(_WO) and r["phase"] == "decode"]
    gave = total(mine, "eager_us", 1e-3) - total(mine, "compile_us", 1e-3)
    p.says(
        "{:.1f} ms from compiling `wo`, which gave {:.1f} ms at batch {}",
        wo["saving"]["saved_ns"] / 1e6,
        gave,
        16,
    )
    p.says(
        '"at most {:.0f} ms", which the whole run exceeded, {:.1f} ms',
        written["fp32-islands"]["saving"]["saved_ns"] / 1e6,
        device_ms("xl-b16-eager") - device_ms("xl-b16-fp32-matmul-high"),
    )
    assert row(_CSV, run="xl-b16-eager", finding="fp32-islands", promise="device time")
