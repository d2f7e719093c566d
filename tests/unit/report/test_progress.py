from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from layerscope.report.progress import ProgressReporter

Screen = Callable[..., Any]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _two_steps(reporter: ProgressReporter, clock: Clock, total: int | None) -> None:
    with reporter.task("measure [x]", total) as advance:
        clock.now += 4
        advance(1)
        clock.now += 8
        advance(1)


def test_plain_lines(screen: Screen) -> None:
    shown, clock = screen(), Clock()
    _two_steps(ProgressReporter(shown.console, clock=clock), clock, 2)
    assert shown.text == (
        "measure [x]: started, 2 to do\n"
        "measure [x]: 2 of 2 after 12.0 s\n"
        "measure [x]: 2 of 2 done in 12.0 s\n"
    )


def test_quiet_says_nothing(screen: Screen) -> None:
    shown, clock = screen(force_terminal=True), Clock()
    _two_steps(ProgressReporter(shown.console, quiet=True, clock=clock), clock, None)
    assert shown.text == ""


@pytest.mark.parametrize("total", [2, None])
def test_bar_on_a_terminal(screen: Screen, total: int | None) -> None:
    shown, clock = screen(force_terminal=True, width=80, color_system=None), Clock()
    _two_steps(ProgressReporter(shown.console, clock=clock), clock, total)
    assert "measure [x]" in shown.text
    assert ("2/2" if total else "2/?") in shown.text


def test_an_interrupted_pass_does_not_claim_to_be_done(screen: Screen) -> None:
    shown = screen()

    def interrupted() -> None:
        with ProgressReporter(shown.console).task("trace") as advance:
            advance(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown.text == "trace: started\n"


def test_steps_are_numbered_and_the_time_left_is_said(screen: Screen) -> None:
    shown, clock = screen(), Clock()
    reporter = ProgressReporter(shown.console, clock=clock)
    with reporter.task("load"):
        pass
    for run in range(2):  # a second run, as in a sweep, begins anew
        reporter.ahead(3, first=True)
        with reporter.task("warm up"):
            pass
        reporter.ahead(2)
        with reporter.task("measure", 4) as advance:
            clock.now += 12
            advance(1)
        with reporter.task("repeat"):  # of the same pass
            pass
        reporter.ahead(1)
        reporter.ahead(1)  # the one before reported nothing
        with reporter.task("write", ticks=True):
            pass
        lines = shown.text.splitlines()[2 + 9 * run :]
        assert lines[0] == "warm up: started (step 1 of 3)"
        assert lines[2] == "measure: started, 4 to do (step 2 of 3)"
        assert lines[3] == "measure: 1 of 4 after 12.0 s, about 36 s left"
        assert lines[5] == "repeat: started (step 2 of 3)"
        assert lines[7] == "write: started (step 3 of 3)"
    assert shown.text.splitlines()[0] == "load: started"


def test_nothing_is_drawn_by_itself_while_something_is_measured(screen: Screen) -> None:
    import threading

    shown = screen(force_terminal=True, width=100, color_system=None)
    reporter = ProgressReporter(shown.console)
    before = threading.active_count()
    with reporter.task("measure", 3) as advance:
        advance(1)
        assert threading.active_count() == before
    assert "left" in shown.text
    reporter.ahead(3, first=True)
    with reporter.task("warm up", 2):
        pass
    assert "step 1 of 3: warm up" in shown.text
    with reporter.task("load", 1, ticks=True):
        assert threading.active_count() == before + 1
