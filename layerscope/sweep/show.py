"""A sweep's result and what the user wants to see of it in, files and a screen out."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from layerscope.core.rules import Rule
from layerscope.published.derived import Derived, derive
from layerscope.report.page import Page
from layerscope.report.sweep.beside import beside_grid
from layerscope.report.sweep.grids import exponent_grid, reasons, sweep_grid
from layerscope.report.sweep.markdown import front_text
from layerscope.sweep.publish import publish
from layerscope.sweep.run import SweepResult
from layerscope.sweep.selection_rule import select


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What of a sweep is shown, beside the tables that are always written."""

    rule: Rule | None = None
    minimise: str | None = None
    beside_reference: bool = False
    quiet: bool = False


def publish_and_show(result: SweepResult, console: Console, choice: Choice) -> None:
    """Write the tables and print them.

    Raises:
        EnvironmentProblem: a file cannot be written.
        DataError: a file of a cell, or the reference's, is damaged.
    """
    page, axes = Page(console), result.config.axes
    derived = derive(result.config, result.rows, beside_reference=choice.beside_reference)
    files = publish(result, derived)
    if not choice.quiet:
        _show(result, derived, page)
    if choice.rule is not None or choice.minimise is not None:
        chosen = select(result.rows, choice.rule, choice.minimise)
        title = "cells that satisfy the rule" if choice.rule else "measured cells"
        order = f", least {choice.minimise} first" if choice.minimise else ""
        page.grid(sweep_grid(chosen, axes, title=f"{title}{order}: {len(chosen)}"))
    page.line()
    for role, path in files.items():
        if not choice.quiet:
            page.field(f"{role:<18}", str(path))
    page.line(str(result.root))


def _show(result: SweepResult, derived: Derived, page: Page) -> None:
    axes = result.config.axes
    page.grid(sweep_grid(result.rows, axes, title=f"sweep {result.config.name}"))
    page.line()
    for line in reasons(result.rows, axes):
        page.line(line)
    if derived.exponents:
        page.grid(exponent_grid(derived.exponents))
    if derived.beside:
        page.grid(beside_grid(derived.beside, result.rows, axes))
    page.line()
    page.line(front_text(derived.front, result.rows, axes))
