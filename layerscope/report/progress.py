"""Steps of a long pass in, progress on a console out: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from layerscope.core.progress import Advance
from layerscope.report.page import Page, printable

_PLAIN_SECONDS = 10.0
_TICKS_PER_SECOND = 2


class ProgressReporter:
    """Reports passes one after the other; silent when `quiet`.

    While something is measured nothing is drawn but in a call of the pass itself: a thread that redraws
    on its own would take host time out of the windows. Other passes tick.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._clock = clock
        # Passes of the run reported so far, and still to come; what the last one's number was.
        self._reported, self._ahead, self._number = 0, 0, ""

    def ahead(self, passes: int, *, first: bool = False) -> None:
        """Number the passes: "step 4 of 9". One that reports nothing takes no number."""
        if first:
            self._reported = 0
        self._ahead = passes

    def _count(self) -> None:
        if self._ahead:
            self._reported += 1
            self._number = f"step {self._reported} of {self._reported - 1 + self._ahead}"
            self._ahead = 0  # further tasks of the same pass share its number

    @contextmanager
    def task(
        self, name: str, total: int | None = None, *, ticks: bool = False
    ) -> Iterator[Advance]:
        """Report one pass; the yielded function takes the number of steps just done.

        Args:
            name: what is done, as the user reads it, e.g. "measure: batches".
            total: steps in all; None when unknown.
            ticks: nothing is measured meanwhile, so a terminal may be redrawn twice a second.
        """
        self._count()
        if self._quiet:
            yield _nothing
        elif self._console.is_terminal:
            with self._bar(name, total, ticks=ticks) as advance:
                yield advance
        else:
            with self._lines(name, total) as advance:
                yield advance

    @contextmanager
    def _bar(self, name: str, total: int | None, *, ticks: bool) -> Iterator[Advance]:
        several = total is not None and total > 1
        columns = (
            *([SpinnerColumn()] if ticks else []),
            TextColumn("{task.description}"),
            *([BarColumn(bar_width=20), MofNCompleteColumn()] if several or not ticks else []),
            TimeElapsedColumn(),
            *([TextColumn("left"), TimeRemainingColumn()] if several else []),
        )
        with Progress(
            *columns,
            console=self._console,
            auto_refresh=ticks,
            refresh_per_second=_TICKS_PER_SECOND,
            transient=True,
        ) as progress:
            said = f"{self._number}: {name}" if self._number else name
            task = progress.add_task(escape(printable(said, self._console.encoding)), total=total)
            progress.refresh()

            def advance(steps: int) -> None:
                progress.advance(task, steps)
                progress.refresh()

            yield advance

    @contextmanager
    def _lines(self, name: str, total: int | None) -> Iterator[Advance]:
        page, start = Page(self._console), self._clock()
        of = "" if total is None else f" of {total}"
        done, spoke = 0, start

        def advance(steps: int) -> None:
            nonlocal done, spoke
            done += steps
            now = self._clock()
            if now - spoke >= _PLAIN_SECONDS:
                spoke = now
                left = ""
                if total is not None and 0 < done < total:
                    left = f", about {(now - start) / done * (total - done):.0f} s left"
                page.line(f"{name}: {done}{of} after {now - start:.1f} s{left}")

        number = f" ({self._number})" if self._number else ""
        page.line(f"{name}: started" + ("" if total is None else f", {total} to do") + number)
        yield advance
        page.line(f"{name}: {done}{of} done in {self._clock() - start:.1f} s")


def _nothing(steps: int) -> None:
    """Report no step: the user asked for quiet."""
