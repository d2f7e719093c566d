"""What a training did in, the model card out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learner import Plan

_TEMPLATE = Path(__file__).with_name("model_card.md")


def model_card(
    plan: Plan,
    seed: int,
    held_out: list[dict[str, Any]],
    *,
    params: int,
    pictures: Mapping[str, int],
    minutes: float,
    sizes: Mapping[int, float],
    shares: Mapping[str, float],
) -> str:
    """The card as Markdown."""
    datasets = list(dict.fromkeys(row["dataset"] for row in held_out))
    return _TEMPLATE.read_text(encoding="utf-8").format(
        params=params,
        samples=held_out[0]["samples"],
        seed=seed,
        tables="\n\n".join(_table(name, held_out) for name in datasets),
        steps=plan.steps,
        minutes=minutes,
        batch=plan.batch_size,
        lr=plan.peak_lr,
        warmup=plan.warmup,
        clip=plan.clip,
        see=plan.see_steps,
        answer=plan.answer_steps,
        patch=plan.patch_weight,
        pictures=", ".join(f"{count:,} of {name}" for name, count in pictures.items()),
        shares=", ".join(f"{share:.0%} {name}" for name, share in shares.items()),
        sizes=", ".join(f"{size} px ({share:.0%})" for size, share in sizes.items()),
    )


def _table(dataset: str, held_out: list[dict[str, Any]]) -> str:
    rows = [row for row in held_out if row["dataset"] == dataset]
    lengths = sorted({row["max_input_len"] for row in rows}, reverse=True)
    lines = [
        f"| {dataset} | " + " | ".join(f"{length} text tokens" for length in lengths) + " |",
        "|---|" + "---|" * len(lengths),
    ]
    for size in sorted({row["image_size"] for row in rows}, reverse=True):
        cells = {row["max_input_len"]: row for row in rows if row["image_size"] == size}
        lines.append(f"| {size} px | " + " | ".join(_cell(cells[n]) for n in lengths) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['wer_value']:.3f} [{row['wer_low']:.3f}, {row['wer_high']:.3f}]"
