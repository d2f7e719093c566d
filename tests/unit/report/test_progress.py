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
