"""What docs/results/tiny/README.md says of the bundled model's sweeps."""

from __future__ import annotations

from published.data import Row, table
from published.pages import Page, page


def cell(file: str, dataset: str, **wanted: str) -> Row:
    """One measured cell of a sweep."""
    (found,) = (
        r
        for r in table(f"tiny/{file}.csv")
        if r["dataset"] == dataset and all(r[k] == v for k, v in wanted.items())
    )
    return found


def wer(row: Row, interval: bool = True) -> str:
    """`0.430 [0.345, 0.519]`."""
    value, low, high = (float(row[k]) for k in ("wer_value", "wer_value_low", "wer_value_high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if interval else f"{value:.3f}"


@page("docs/results/tiny/README.md")
def the_bundled_model(p: Page) -> None:
    p.given(
        "torch 2.13",
        "(128 a cell here; 512 a cell",
        "| | 224 px | 336 px | 448 px |",
        "sees 224 px |",
        "8 or 9 px in the 448 px picture",
        "back to 224 px",
        "| text tokens kept | 50 | 100 | 200 |",
        "14 tokens long",
        "6 tokens long",
        "stands 8 to 200 tokens",
        "on two cores",
    )
    sizes = ("224", "336", "448")

    def by_size(dataset: str, mode: str = "model") -> list[Row]:
        return [cell("image_size", dataset, image_size=s, image_size_mode=mode) for s in sizes]

    text = by_size("synthetic-textvqa")
    p.says("sees that size | {} | {} | {} |", *map(wer, text))
    source = by_size("synthetic-textvqa", "source")
    p.says("sees 224 px | {} | {} | {} |", *(wer(r, interval=False) for r in source))
    for dataset in ("synthetic-scienceqa", "synthetic-coco"):
        p.says("| `" + dataset + "` | {} | {} | {} |", *map(wer, by_size(dataset)))
    times = [float(r["latency_s"]) for r in text]
    p.says("of 224 px | 1 | {:.1f} | {:.1f} |", times[1] / times[0], times[2] / times[0])
    lengths = ("50", "100", "200")

    def by_length(dataset: str) -> list[Row]:
        return [cell("input_length", dataset, max_input_len=n) for n in lengths]

    p.says("| `synthetic-scienceqa` | {} | {} | {} |", *map(wer, by_length("synthetic-scienceqa")))
    for dataset, tokens in (("synthetic-textvqa", 14), ("synthetic-coco", 6)):
        rows = by_length(dataset)
        assert {r["padded_text_tokens"] for r in rows} == {str(tokens)}
        p.says(
            "| `" + dataset + "`, {} tokens long | {} | {} | {} |",
            tokens,
            *(wer(r, interval=False) for r in rows),
        )
