"""A verb's name in, the decorator that makes its function a command out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

HELP_OPTIONS = ["-h", "--help"]


def verb(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Like `click.command`, with both help options of its own.

    A command takes those of whoever first asks it for help, the group or itself, and keeps them.
    """
    return click.command(name, context_settings={"help_option_names": HELP_OPTIONS})
