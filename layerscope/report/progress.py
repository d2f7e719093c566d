"""Steps of a long pass in, progress on a console out: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from layerscope.core.progress import Advance
from layerscope.report.page import Page, printable

_PLAIN_SECONDS = 10.0


class ProgressReporter:
    """Reports passes one after the other; silent when `quiet`.

    Nothing is drawn but in a call of the pass itself: a thread that redraws on its own would take
    host time out of the windows that are being measured.
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

    @contextmanager
    def task(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Report one pass; the yielded function takes the number of steps just done.

        Args:
            name: what is done, as the user reads it, e.g. "measure: batches".
            total: steps in all; None when unknown.
        """
        if self._quiet:
            yield _nothing
        elif self._console.is_terminal:
            with self._bar(name, total) as advance:
                yield advance
        else:
            with self._lines(name, total) as advance:
                yield advance

    @contextmanager
    def _bar(self, name: str, total: int | None) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(
            *columns, console=self._console, auto_refresh=False, transient=True
        ) as progress:
            task = progress.add_task(escape(printable(name, self._console.encoding)), total=total)
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
                page.line(f"{name}: {done}{of} after {now - start:.1f} s")

        page.line(f"{name}: started" + ("" if total is None else f", {total} to do"))
        yield advance
        page.line(f"{name}: {done}{of} done in {self._clock() - start:.1f} s")


def _nothing(steps: int) -> None:
    """Report no step: the user asked for quiet."""
