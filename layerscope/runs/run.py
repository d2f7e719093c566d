"""`Run`: a path in, everything that a saved run or a trace says out. The one door for every reader.

The command line, the TensorBoard tab, comparisons, sweeps and notebooks open a run here, so that each
of them gives a layer the same nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerscope.account.ranks import Rank, named, rank_sum
from layerscope.core.cached import cached_property
from layerscope.core.errors import DataError, UsageError
from layerscope.core.files import (
    FINDINGS_FILE,
    KINDS_FILE,
    LAYER_ENERGY_FILE,
    LAYERS_FILE,
    REPLAY_FILE,
    RUN_FILE,
    TRACE_FILE,
    WORK_FILE,
)
from layerscope.core.folder_file import is_there, read_json_if_there
from layerscope.records import Account, CountedWork, RunRecord, load
from layerscope.records.finding import Findings
from layerscope.records.kinds import KindTimes
from layerscope.records.provenance import load_provenance
from layerscope.report.energy_repeats import read_units
from layerscope.report.kind_times import read_kinds_csv
from layerscope.runs.examine import NOTHING, Beside, Examined, beside_of, examine, workings_of
from layerscope.runs.judge import findings_of, judged_again, read_findings
from layerscope.runs.layers import Layers
from layerscope.runs.place import Place, find_run
from layerscope.runs.replay_file import energy_of, read_replay, with_layer_energy
from layerscope.runs.table_alone import account_of_table
from layerscope.stats.beside_batch import BesideBatch, beside_batch

if TYPE_CHECKING:
    from layerscope.account.workings import Workings
    from layerscope.joules.layer_energy import LayerEnergy
    from layerscope.joules.repeats import Repeat
    from layerscope.timeline.idle import Idle

PathOrText = str | Path


class Run:
    """A run that was written, or a trace; made with `Run.open`.

    Each part is read or computed on first use, once. What a run does not hold is None, and `absent`
    says why.

    Attributes:
        place: where its files lie.
        device: the one device it is narrowed to; None for all.
    """

    def __init__(self, place: Place, device: str | None = None) -> None:
        self.place = place
        self.device = device
        self._check_device()

    @classmethod
    def open(cls, path: PathOrText | Sequence[PathOrText], device: str | None = None) -> Run:
        """Open a run folder, a trace, or the traces of a distributed run's ranks.

        A folder that is no run stands for the traces in it; a run's own trace stands for the run.

        Args:
            device: leave out the events of all other devices.

        Raises:
            DataError: no such file, neither a run nor a trace, or a damaged record.
            UsageError: `device` for several traces, or for a run without its trace.
        """
        paths = [path] if isinstance(path, str | Path) else list(path)
        if not paths:
            raise UsageError("no run and no trace given.")
        return cls(find_run([Path(p) for p in paths]), device)

    def _check_device(self) -> None:
        if self.device is None:
            return
        if len(self.place.traces) > 1:
            raise UsageError(f"--device {self.device}: give the one trace that the device is in.")
        if not self.place.traces:
            raise UsageError(
                f"--device {self.device}: {self.place.shown} holds no trace, so its events are not "
                "known."
            )

    # ---- what was written -------------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """The run's folder; None for a bare trace."""
        return self.place.folder

    @property
    def trace(self) -> Path | None:
        """The one trace; None without one, or with several."""
        return self.place.traces[0] if len(self.place.traces) == 1 else None

    @cached_property
    def written(self) -> RunRecord | None:
        """`run.json` as it was written; None for a bare trace."""
        return load(self.folder) if self.folder is not None else None

    @cached_property
    def record(self) -> RunRecord | None:
        """The record, its ceilings doubted by the account; None for a bare trace."""
        record = self.written
        if record is None or not self.has_account:
            return record
        if self.trace is not None:
            return replace(record, ceilings=self._examined.ceilings)
        return self._from_table[1]

    @cached_property
    def work(self) -> CountedWork | None:
        """The counted work; None where the run counted none."""
        if self.folder is None:
            return None
        return read_json_if_there(self.folder / WORK_FILE, CountedWork, "a count of work")

    @cached_property
    def kinds(self) -> tuple[KindTimes, ...]:
        """Own time by kind of layer in each traced batch; empty where the run wrote none."""
        path = self.folder / KINDS_FILE if self.folder is not None else None
        return read_kinds_csv(path) if path is not None and path.exists() else ()

    @cached_property
    def energy_by_unit(self) -> dict[str, Repeat]:
        """Joules above idle of the replayed units, as they were written; empty where there are none."""
        path = self.folder / LAYER_ENERGY_FILE if self.folder is not None else None
        return read_units(path) if path is not None and path.exists() else {}

    @property
    def has_account(self) -> bool:
        """Whether there is anything to account for: a trace, or the table that was made of it."""
        if self.place.traces:
            return True
        record = self.written
        table = self.folder is not None and is_there(self.folder / LAYERS_FILE)
        return record is not None and table and None not in (record.trace, record.account)

    # ---- what follows from it ---------------------------------------------------------------------

    @cached_property
    def workings(self) -> Workings:
        """The trace, worked out.

        Raises:
            DataError: there is no trace, or several.
        """
        if self.trace is None:
            where = self.place.shown
            if self.place.traces:
                raise DataError(f"{where}: {len(self.place.traces)} traces; give one of them.")
            raise DataError(f"{where}: no {TRACE_FILE} in it, so there is no trace to export.")
        return workings_of(self.trace, self._beside, self.device)

    @cached_property
    def account(self) -> Account:
        """Time, FLOPs, bytes and joules by layer; of ranks, their sum.

        Raises:
            DataError: neither a trace nor a table of layers, or one that cannot be read.
        """
        if len(self.place.traces) > 1:
            return rank_sum(self.ranks, _source(self.place.traces))
        if self.trace is None:
            return self._from_table[0]
        return self._replayed[0].account

    @cached_property
    def ranks(self) -> tuple[Rank, ...]:
        """Each rank of a distributed run, in the order of the files; empty for a single trace."""
        if len(self.place.traces) < 2:
            return ()
        return named([_rank_account(trace) for trace in self.place.traces])

    @cached_property
    def idle(self) -> Idle | None:
        """What the device waited for; None without device events, or without the one trace."""
        return self._examined.idle if self.trace is not None else None

    @cached_property
    def layer_energy(self) -> LayerEnergy | None:
        """Joules of replayed layers; None where nobody asked for them."""
        return self._replayed[1] if self.trace is not None else None

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """Counted work that does not fit the trace; the table's own are in `account.table`."""
        return self._examined.failures if self.trace is not None else ()

    @cached_property
    def findings(self) -> Findings | None:
        """What is seen and what could not be judged; without the trace by the tables.

        None where nothing was judged.
        """
        if self.place.traces:
            return findings_of(self.account, self.idle, self.record, self.layer_energy, self.work)
        path = self.folder / FINDINGS_FILE if self.folder is not None else None
        if path is None or not is_there(path):
            return None
        written = read_findings(path)
        return (
            judged_again(self.account, self.record, written, self.work)
            if self.has_account
            else written
        )

    @cached_property
    def beside_batch(self) -> tuple[BesideBatch, ...]:
        """What the host did before each batch, outside the account's window; empty where unknown."""
        return beside_batch(self.written) if self.written is not None else ()

    @cached_property
    def absent(self) -> tuple[tuple[str, str], ...]:
        """What the run does not hold, and why."""
        found, record = [], self.written
        if not self.has_account:
            gone = f"neither {TRACE_FILE} nor {LAYERS_FILE} is in the folder"
            untraced = record is not None and record.trace is None
            found.append(("account", "the run was not traced" if untraced else gone))
        if self.folder is None:
            found.append(("record", f"a trace without a {RUN_FILE} beside it"))
        elif self.has_account and self.work is None:
            reason = f"the folder holds no counted work ({WORK_FILE})"
            if record is not None and record.captured is not None:
                of_a_program = record.captured.program is not None and record.report.flops.reason
                reason = of_a_program or "FLOPs and bytes are not counted in a capture"
            found.append(("use of the device by phase, floor", reason))
        if self.findings is None:
            reason = f"neither {TRACE_FILE} nor {FINDINGS_FILE} is in the folder"
            found.append(("findings", reason))
        return (*found, *(record.absent if record is not None else ()))

    @cached_property
    def layers(self) -> Layers:
        """The rows of the account, which are those of `layers.csv`; see `Layers`.

        Raises:
            DataError: as `account`.
        """
        return Layers(self.account.table)

    # ---- for notebooks ----------------------------------------------------------------------------

    def to_pandas(self) -> Any:
        """The layer table as a pandas DataFrame: the columns of `layers.csv`, blank ones as null.

        Raises:
            EnvironmentProblem: pyarrow or pandas is not installed.
        """
        return self.layers.to_pandas()

    def _repr_html_(self) -> str:
        from layerscope.report.html.notebook import notebook_html

        return notebook_html(self.account, self.record)

    def __repr__(self) -> str:
        return f"Run({str(self.place.shown)!r})"

    # ---- once ------------------------------------------------------------------------------------

    @cached_property
    def _beside(self) -> Beside:
        if self.written is not None and self.folder is not None:
            return beside_of(self.written, self.work, load_provenance(self.folder))
        if self.trace is not None and self.trace.name == TRACE_FILE:
            # What a run put beside its trace speaks of it, though the record is gone.
            return Beside(provenance=load_provenance(self.trace.parent))
        return NOTHING

    @cached_property
    def _examined(self) -> Examined:
        assert self.trace is not None
        return examine(self.workings, self.trace, self._beside)

    @cached_property
    def _replayed(self) -> tuple[Examined, LayerEnergy | None]:
        """The account with the joules of replayed layers, from their raw windows."""
        found, record, folder = self._examined, self.record, self.folder
        if record is None or folder is None or record.trace is None or self.device is not None:
            return found, None
        replay = read_replay(folder / REPLAY_FILE)
        if replay is None:
            return found, None
        by_layer = energy_of(
            found, replay, record.energy, record.trace, record.latency, record.compiled_parts
        )
        return with_layer_energy(found, by_layer), by_layer

    @cached_property
    def _from_table(self) -> tuple[Account, RunRecord]:
        assert self.folder is not None
        assert self.written is not None
        return account_of_table(self.folder, self.written)


def open_run(path: PathOrText | Sequence[PathOrText], device: str | None = None) -> Run:
    """Open a run folder, a trace, or the traces of ranks; see `Run.open`."""
    return Run.open(path, device)


def _rank_account(trace: Path) -> Account:
    account = examine(workings_of(trace), trace).account
    if not account.table.rows:
        raise DataError(f"{trace}: neither a device event nor a layer range in it.")
    account.table.check()
    return account


def _source(traces: Sequence[Path]) -> str:
    return f"{len(traces)} traces in {traces[0].parent}"
