"""A record of settings in, what a command line needs to know of each field out.

A field says its help text and the names of its option in its own metadata; its type says the choices and
the range, its default the default. Nothing else has to know of a new field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_KEY = "option"


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is given on the command line.

    Attributes:
        help: what it says, without the default of a number; or what makes the text when it is asked
            for.
        names: with their dashes; empty: the field's own name.
        metavar: stands for the value in the help; None: the value's type.
        alone: value of the option given without one; None: it cannot be.
        group: heading that it stands under in the help.
    """

    help: str | Callable[[], str]
    names: tuple[str, ...] = ()
    metavar: str | None = None
    alone: str | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A field and its option.

    Attributes:
        kind: `str`, `int`, `float` or `bool`.
        choices: the only values, in the order they were declared; empty: any of that kind.
        default: None where there is none, or where it does not apply.
    """

    name: str
    kind: type
    choices: tuple[str, ...]
    default: Any
    option: Option

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the option. A flag says the opposite of the default."""
        prefix = "--no-" if self.default is True else "--"
        return self.option.names or (prefix + self.name.replace("_", "-"),)

    @property
    def help(self) -> str:
        """The help text; a number says its default."""
        said = self.option.help if isinstance(self.option.help, str) else self.option.help()
        if self.kind not in (int, float) or self.default is None:
            return said
        shown = f"{self.default:g}" if self.kind is float else str(self.default)
        return f"{said} Default: {shown}."


def option(
    help_text: str | Callable[[], str],
    *names: str,
    metavar: str | None = None,
    alone: str | None = None,
    group: str = "",
) -> dict[str, Option]:
    """The metadata of a field, for `dataclasses.field(metadata=…)`."""
    return {_KEY: Option(help_text, names, metavar, alone, group)}


def settings_of(record: type) -> tuple[Setting, ...]:
    """Every field of a dataclass that has an option, in the order of declaration.

    Raises:
        TypeError: a field has no option, or a type that no option can have.
    """
    hints = get_type_hints(record, include_extras=True)
    return tuple(_setting(field, hints[field.name]) for field in dataclasses.fields(record))


def _setting(field: dataclasses.Field[Any], hint: Any) -> Setting:
    said = field.metadata.get(_KEY)
    if said is None:
        raise TypeError(f"{field.name}: its metadata has no option.")
    default = None if field.default is dataclasses.MISSING else field.default
    kind, choices = _kind(field.name, hint)
    return Setting(field.name, kind, choices, default, said)


def _kind(name: str, hint: Any) -> tuple[type, tuple[str, ...]]:
    """The type of the value and its choices, whatever range or `| None` stands around."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind(name, get_args(hint)[0])
    if origin in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        return _kind(name, hint)
    if origin is Literal:
        return str, get_args(hint)
    if hint not in (str, int, float, bool):
        raise TypeError(f"{name}: {hint} is no type of an option.")
    return hint, ()
