"""Trace files, or a folder of them, in; the accounts of a distributed run's ranks and their sum out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerscope.account.ranks import Rank, named, rank_sum
from layerscope.core.errors import DataError
from layerscope.records import Account
from layerscope.records.run_record import RUN_FILE
from layerscope.runs.examine import examine

_ENDINGS = (".json", ".json.gz", ".zip")


@dataclass(frozen=True)
class Ranks:
    """Each rank's account, in the order of the files, and their sum."""

    ranks: tuple[Rank, ...]
    total: Account


def trace_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The traces meant by these paths: themselves, or those that lie in a folder that is no run.

    Raises:
        DataError: a folder that holds no trace, or a run folder among several paths.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
        elif (path / RUN_FILE).exists():
            if len(paths) > 1:
                raise DataError(f"{path}: a run folder; only traces of ranks can be summed.")
            return (path,)
        else:
            inside = sorted(p for p in path.iterdir() if p.name.endswith(_ENDINGS) and p.is_file())
            if not inside:
                raise DataError(
                    f"{path}: no {RUN_FILE} in it, so it is no run folder, and no trace "
                    f"({', '.join(_ENDINGS)})."
                )
            found += inside
    return tuple(found)


def read_ranks(traces: Sequence[Path]) -> Ranks:
    """Account for every trace, one after the other, and for all together.

    Raises:
        DataError: a trace cannot be read, is of a rank that another one is of, or has other layers.
        AccountingError: a rank's account does not add up.
    """
    accounts = []
    for trace in traces:
        account = examine(trace).account
        if not account.table.rows:
            raise DataError(f"{trace}: neither a device event nor a layer range in it.")
        account.table.check()
        accounts.append(account)
    ranks = named(accounts)
    source = f"{len(traces)} traces in {traces[0].parent}"
    return Ranks(ranks, rank_sum(ranks, source))
