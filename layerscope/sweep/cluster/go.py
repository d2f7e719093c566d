"""Missing cells and a cluster in, run folders out: a seat on every device, a cell at a time on each.

Ray decides where nothing else runs: it grants a seat when its GPU, or its node's CPUs, are free, and
says when a process or a node is lost. Here is only which cell the next free seat gets.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from layerscope import __version__
from layerscope.config.plan import by_model
from layerscope.core.errors import DataError, EnvironmentProblem, LayerscopeError
from layerscope.core.words import kind_and_first_line
from layerscope.records import RunConfig
from layerscope.records.sweep import Cell, CellFailure
from layerscope.records.sweep_places import CellPlace
from layerscope.runs.sweep_folder import SweepFolder, settings_text
from layerscope.runs.sweep_places import PlaceBook
from layerscope.sweep.attempt import failure, is_lost
from layerscope.sweep.cluster.claim import Claim, places
from layerscope.sweep.cluster.handout import next_cell
from layerscope.sweep.cluster.seat import Delivery, Report, Terms
from layerscope.sweep.cluster.seats import Node, OpenSeat, alive_nodes
from layerscope.sweep.cluster.transfer import open_meeting, unpack
from layerscope.sweep.executor import Execution

# A cell may take its process, or its machine's memory, down with it: three times, then it has failed.
# As often may a node lose a process before its first cell, or a GPU.
_TRIES = 3
# How often the list of nodes is read again while nothing arrives.
_LOOK_S = 2.0
_PATIENCE_S = 30.0


class Go:
    """One go at the missing cells.

    Args:
        ray: the package, connected.
        staging: a folder inside the sweep's, where cells arrive before they get their name.
        announce: takes one line at a time.
        claims: what a run must hold alone.
    """

    def __init__(
        self,
        ray: Any,
        cells: Sequence[Cell],
        folder: SweepFolder,
        staging: Path,
        announce: Callable[[str], None],
        claims: Callable[[RunConfig], Claim],
    ) -> None:
        self._ray, self._folder, self._announce, self._claims = ray, folder, announce, claims
        self._waiting = list(by_model(cells))
        self._number = {cell.id: index for index, cell in enumerate(self._waiting, 1)}
        self._staging, self._meeting = staging, open_meeting(staging)
        self._book = PlaceBook(folder.root)
        self._seats: list[OpenSeat] = []
        self._attempts = 0
        self._tries: Counter[str] = Counter()
        self._strikes: Counter[str] = Counter()
        self._left_out: dict[str, str] = {}
        self._ran: list[str] = []
        self._failed: list[CellFailure] = []
        self._loads = 0

    def run(self) -> Execution:
        """Until every cell has a run or a reason.

        Raises:
            EnvironmentProblem: the sweep's folder cannot be written.
        """
        self._began = self._progressed = time.monotonic()
        self._say_where()
        while self._waiting or any(seat.cell for seat in self._seats):
            self._hand_out()
            self._open_seats()
            if not self._seats:
                self._give_up()
                break
            waits = {seat.waits_for: seat for seat in self._seats}
            ready, _ = self._ray.wait(list(waits), num_returns=1, timeout=_LOOK_S)
            for reference in ready:
                self._take(waits[reference])
            self._say_if_stuck()
        return Execution(ran=tuple(self._ran), failed=tuple(self._failed), loads=self._loads)

    def close(self) -> None:
        """Give every device back."""
        for seat in list(self._seats):
            self._close(seat)

    def _say_where(self) -> None:
        """What works at once; the estimate before it is for one cell after the other."""
        nodes = alive_nodes(self._ray)
        used = {self._claims(cell.config) for cell in self._waiting}
        count = {claim: sum(places(claim, node.resources) for node in nodes) for claim in used}
        parts = [f"{count[Claim.GPU]} GPUs"] if Claim.GPU in used else []
        parts += [f"the CPUs of {count[Claim.NODE]} nodes"] if Claim.NODE in used else []
        self._announce(f"Ray: cells run at once on {' and '.join(parts)}")

    def _open_seats(self) -> None:
        """One seat per device that could take a waiting cell, the nodes in turn."""
        nodes = [node for node in alive_nodes(self._ray) if node.id not in self._left_out]
        for claim in Claim:
            waiting = [cell for cell in self._waiting if self._claims(cell.config) is claim]
            wanted = len(waiting) - sum(s.claim is claim and not s.cell for s in self._seats)
            most = max((places(claim, node.resources) for node in nodes), default=0)
            for rank in range(most):
                for node in nodes:
                    if wanted > 0 and self._has_place(node, claim, rank):
                        self._open(node, claim, waiting)
                        wanted -= 1

    def _has_place(self, node: Node, claim: Claim, rank: int) -> bool:
        """Whether the node has exactly `rank` seats of this claim, room for one more, and no others."""
        here = [seat.claim for seat in self._seats if seat.node.id == node.id]
        return here == [claim] * rank and rank < places(claim, node.resources)

    def _open(self, node: Node, claim: Claim, waiting: Sequence[Cell]) -> None:
        terms = Terms(
            version=__version__,
            threads=os.environ.get("OMP_NUM_THREADS"),
            folder=os.getcwd(),
            meeting=self._meeting,
            cuda=any(cell.config.device == "cuda" for cell in waiting),
        )
        self._seats.append(OpenSeat(self._ray, node, claim, terms))

    def _hand_out(self) -> None:
        """A cell for each seat that has none; a seat without any is closed, others may want it."""
        for seat in [seat for seat in self._seats if seat.waits_for is None]:
            fitting = [c for c in self._waiting if self._claims(c.config) is seat.claim]
            if not fitting:
                self._close(seat)
                continue
            others = [other.loaded for other in self._seats if other is not seat]
            elsewhere = [key for key in others if key is not None]
            cell = next_cell(fitting, seat.loaded, elsewhere)
            self._waiting.remove(cell)
            self._attempts += 1
            seat.start(cell, self._folder.name_of(cell), self._attempts)
            self._announce(f"{self._name(cell)} on {seat.place}: {settings_text(cell)}")

    def _take(self, seat: OpenSeat) -> None:
        """Ray has an answer for this seat: it is ready, its cell is over, or it is lost."""
        self._progressed = time.monotonic()
        cell, seat.cell = seat.cell, None
        try:
            answer = seat.answer()
        except self._ray.exceptions.RayTaskError as error:
            problem = kind_and_first_line(error.cause or error, longest=None)
            if cell is None:
                self._leave_out(seat, problem)
            else:
                self._fail(failure(cell, problem, LayerscopeError.exit_code), seat)
        except self._ray.exceptions.RayError as error:
            self._close(seat)
            if cell is None:
                self._died_early(seat, error)
            else:
                self._try_again(cell, seat)
        else:
            if isinstance(answer, Report):
                self._sit(seat, answer)
            else:
                assert cell is not None
                self._receive(cell, seat, answer)

    def _sit(self, seat: OpenSeat, report: Report) -> None:
        seat.report = report
        if report.problem is not None:
            self._leave_out(seat, report.problem)

    def _receive(self, cell: Cell, seat: OpenSeat, delivery: Delivery) -> None:
        self._loads += delivery.loads
        if delivery.failure is not None:
            self._fail(delivery.failure, seat, delivery.traceback)
            if is_lost(delivery.failure.reason) and cell.config.device == "cuda":
                # The process can use its GPU no more; a new one may.
                self._close(seat)
                self._strike(seat, f"its GPU was lost {_TRIES} times")
            return
        try:
            self._keep(seat.name, delivery)
        except DataError as error:
            self._fail(failure(cell, str(error), error.exit_code), seat)
            return
        assert seat.report is not None
        assert seat.report.node is not None
        place = CellPlace(
            node=seat.node.id,
            devices=seat.report.devices,
            process=seat.report.process,
            began_utc=delivery.began_utc,
            ended_utc=delivery.ended_utc,
            folder=seat.name,
        )
        self._book.add(cell.id, place, seat.report.node)
        self._folder.forget_failure(cell.id)
        self._ran.append(cell.id)
        self._announce(f"{self._name(cell)} done on {seat.place}; {self._left()}")

    def _keep(self, name: str, delivery: Delivery) -> None:
        """Give the run folder its name among the finished ones. Only here does a cell become done."""
        try:
            if delivery.archive is not None:
                arrived = self._staging / f"unpacked-{name}-{len(self._ran)}"
                unpack(delivery.archive, arrived)
            else:
                assert delivery.folder is not None
                arrived = Path(delivery.folder)
            os.rename(arrived, self._folder.cells / name)
        except OSError as error:
            raise EnvironmentProblem(
                f"{self._folder.cells / name}: a cell that is done cannot be kept "
                f"({error.strerror}); free the disk and start the same command again."
            ) from None

    def _fail(self, missed: CellFailure, seat: OpenSeat, traceback: str = "") -> None:
        self._failed.append(missed)
        self._folder.write_failure(missed, traceback)
        number = self._number[missed.id]
        self._announce(
            f"cell {number} of {len(self._number)} failed on {seat.place}: {missed.reason}"
        )

    def _try_again(self, cell: Cell, seat: OpenSeat) -> None:
        """The process that measured this cell is lost, with its node or alone."""
        self._tries[cell.id] += 1
        if self._tries[cell.id] >= _TRIES:
            reason = (
                f"the process that measured it was lost {_TRIES} times, the last time on "
                f"{seat.place}; Ray's logs there say why (often the machine's memory)"
            )
            self._fail(failure(cell, reason, EnvironmentProblem.exit_code), seat)
            return
        self._waiting.insert(0, cell)
        self._announce(f"{self._name(cell)}: its process on {seat.place} was lost, it runs again")

    def _died_early(self, seat: OpenSeat, error: Exception) -> None:
        if "No module named 'layerscope'" in str(error):
            self._leave_out(seat, "layerscope is not installed there for Ray's Python")
        else:
            self._strike(seat, f"{_TRIES} processes ended there before their first cell")

    def _strike(self, seat: OpenSeat, reason: str) -> None:
        self._strikes[seat.node.id] += 1
        if self._strikes[seat.node.id] >= _TRIES:
            self._leave_out(seat, reason)

    def _leave_out(self, seat: OpenSeat, reason: str) -> None:
        """No further seat on this node; those that measure there go on."""
        self._close(seat)
        if seat.node.id not in self._left_out:
            self._left_out[seat.node.id] = f"{seat.node.host}: {reason}"
            self._announce(f"node {seat.node.host} is left out: {reason}")

    def _give_up(self) -> None:
        """No node is left that could take what waits."""
        for cell in self._waiting:
            what = "a GPU" if self._claims(cell.config) is Claim.GPU else "a CPU"
            why = "; ".join(self._left_out.values()) or f"no node of the cluster has {what}"
            missed = failure(
                cell,
                f"not run: {why}; start the same command again when one has joined",
                EnvironmentProblem.exit_code,
            )
            self._failed.append(missed)
            self._folder.write_failure(missed)
            self._announce(f"{self._name(cell)} {missed.reason}")
        self._waiting = []

    def _close(self, seat: OpenSeat) -> None:
        if seat in self._seats:
            self._seats.remove(seat)
            seat.close()

    def _say_if_stuck(self) -> None:
        """Once, when Ray has granted nothing for a while: other jobs may hold the devices."""
        if any(seat.report for seat in self._seats):
            return
        if time.monotonic() - self._progressed > _PATIENCE_S:
            self._progressed = float("inf")
            self._announce(
                f"Ray has granted none of {len(self._seats)} devices for {_PATIENCE_S:.0f} s; other "
                "jobs may hold them (`ray status` says who), and the sweep waits"
            )

    def _name(self, cell: Cell) -> str:
        return f"cell {self._number[cell.id]} of {len(self._number)}"

    def _left(self) -> str:
        count, over = len(self._number), len(self._ran) + len(self._failed)
        seconds = time.monotonic() - self._began
        said = f"{over} of {count} cells in {seconds:,.0f} s"
        if over == count:
            return said
        return f"{said}; about {seconds / over * (count - over):,.0f} s left"
