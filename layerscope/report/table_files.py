"""An account in, the files of its tables out: to write a run, and to look whether one holds."""

from __future__ import annotations

from pathlib import Path

from layerscope.core.files import RUN_FILES
from layerscope.records.tables import Account
from layerscope.report.attention import write_attention_csv
from layerscope.report.csv import (
    write_kernels_csv,
    write_layers_csv,
    write_operators_csv,
    write_steps_csv,
)
from layerscope.report.parquet import write_layers_parquet


def write_tables(account: Account, folder: Path) -> dict[str, str]:
    """Write the tables; returns role -> file name."""
    write_layers_parquet(account.table, folder / RUN_FILES["layers_parquet"])
    written = write_csv_tables(account, folder)
    return {role: name for role, name in RUN_FILES.items() if role in (*written, "layers_parquet")}


def write_csv_tables(account: Account, folder: Path) -> dict[str, str]:
    """Write all but `layers.parquet`, which needs pyarrow; returns role -> file name."""
    files = {role: RUN_FILES[role] for role in ("layers", "kernels", "operators", "steps")}
    write_layers_csv(account.table, folder / files["layers"])
    write_kernels_csv(account.kernels, folder / files["kernels"])
    write_operators_csv(account.operators, folder / files["operators"])
    write_steps_csv(account.steps, folder / files["steps"])
    if account.attention:
        files["attention"] = RUN_FILES["attention"]
        write_attention_csv(account.attention, folder / files["attention"])
    return files
