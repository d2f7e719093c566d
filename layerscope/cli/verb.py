"""A verb's name and an example in, the decorator that makes its function a command out.

Options stand in the help under the heading of their group; an example of use stands at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

HELP_OPTIONS = ["-h", "--help"]
_GROUP = "help_group"


class Verb(click.Command):
    """A command whose help lists options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group under its heading, in the order of their first options; the rest last."""
        rest = "Options"
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            option = isinstance(parameter, click.Option)
            record = parameter.get_help_record(ctx) if option else None
            if record is not None:
                groups.setdefault(getattr(parameter, _GROUP, rest), []).append(record)
        last = groups.pop(rest, [])
        for title, records in (*groups.items(), (rest, last)):
            with formatter.section(title):
                formatter.write_dl(records)


def verb(
    name: str, *examples: str, interspersed: bool = True
) -> Callable[[Callable[..., Any]], Verb]:
    """Like `click.command`, with both help options of its own and examples at the help's end.

    A command takes the help options of whoever first asks it for help, the group or itself, and keeps
    them.

    Args:
        interspersed: options may stand behind arguments, too.
    """
    said = "".join(f"\n  {example}" for example in examples)
    title = "Example" if len(examples) == 1 else "Examples"
    epilog = f"\b\n{title}:{said}" if examples else None
    settings = {"help_option_names": HELP_OPTIONS, "allow_interspersed_args": interspersed}
    return click.command(name, cls=Verb, context_settings=settings, epilog=epilog)


def under(title: str, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decorator that adds these options, under one heading of the help."""

    def decorate(command: Any) -> Any:
        known = len(getattr(command, "__click_params__", ()))
        for option in reversed(options):
            command = option(command)
        for parameter in command.__click_params__[known:]:
            setattr(parameter, _GROUP, title)
        return command

    return decorate
