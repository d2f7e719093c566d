"""The attention that ran in, one line on the screen and `attention.csv` out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from layerscope.core.vocabulary import PHASES
from layerscope.records.tables import Account, AttentionRow
from layerscope.report.csv_lines import write_csv


def attention_line(account: Account) -> str:
    """`vision.attention: cuDNN in 39 layers, 39 calls; …`; "" where none ran.

    A layer whose group is `other` is named itself.
    """
    rows, groups = account.attention, {row.layer: row.group for row in account.table.rows}
    calls: Counter[tuple[str, str, str]] = Counter()
    layers: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        group = groups.get(row.layer, "other")
        key = (row.phase, row.layer if group == "other" else group, row.backend)
        calls[key] += row.calls
        layers[key] += 1
    ordered = sorted(calls, key=lambda key: (_rank(key[0]), key))
    return "; ".join(
        f"{group} ({phase}) {backend} in {layers[phase, group, backend]:,} "
        f"layer{'s' if layers[phase, group, backend] > 1 else ''}, "
        f"{calls[phase, group, backend]:,} call{'s' if calls[phase, group, backend] > 1 else ''}"
        for phase, group, backend in ordered
    )


def write_attention_csv(rows: Sequence[AttentionRow], path: Path) -> None:
    """Write `layer,phase,backend,calls`.

    Raises:
        EnvironmentProblem: the file cannot be written.
    """
    lines = ([row.layer, row.phase, row.backend, str(row.calls)] for row in rows)
    write_csv(path, ["layer", "phase", "backend", "calls"], lines)


def _rank(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else len(PHASES)
