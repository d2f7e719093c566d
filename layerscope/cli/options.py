"""The options that stand for one field of `RunConfig` each: names of fields in, click options out.

Every verb that runs a model takes its options from here, so that one name means one thing. What an
option is called, says and takes is declared with the field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import click

from layerscope.cli.verb import under
from layerscope.core.option import Setting, settings_of
from layerscope.core.run_config import RunConfig

_CONFIG = "YAML file with any of these, or the name of a shipped one."
_WITH_CONFIG = "Model"


def run_options(
    fields: Collection[str] | None = None, helps: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """A decorator that adds `--config` and one option for each of these fields.

    Args:
        fields: fields of `RunConfig`; all of them, where left out.
        helps: other help texts, where a verb has another default.
    """
    settings = {setting.name: setting for setting in settings_of(RunConfig)}
    wanted = settings.keys() if fields is None else fields
    said = dict(helps or {})
    unknown = {*wanted, *said} - settings.keys()
    if unknown:
        raise ValueError(f"no option for {', '.join(sorted(unknown))}")
    shown = sorted((settings[name] for name in settings if name in wanted), key=_place)
    order = list(dict.fromkeys(setting.option.group for setting in settings.values()))
    shown.sort(key=lambda setting: order.index(setting.option.group))

    def decorate(command: Any) -> Any:
        for title in reversed(dict.fromkeys(setting.option.group for setting in shown)):
            options = [
                _option(setting, said.get(setting.name, setting.help))
                for setting in shown
                if setting.option.group == title
            ]
            if title == _WITH_CONFIG:
                options.insert(0, click.option("--config", "config_file", help=_CONFIG))
            command = under(title, *options)(command)
        return command

    return decorate


def _place(setting: Setting) -> int:
    """In the help: texts, whole numbers, choices, and what few runs need; each as declared."""
    if setting.choices:
        return 2
    if setting.kind is str and setting.option.alone is None:
        return 0
    return 1 if setting.kind is int else 3


def _option(setting: Setting, text: str) -> Callable[[Any], Any]:
    """What was not given is None, so that a configuration file's value or the default stands."""
    given: dict[str, Any] = {"help": text}
    if setting.kind is bool:
        given |= {"is_flag": True, "default": None, "callback": _flag(not setting.default)}
    elif setting.choices:
        given["type"] = click.Choice(setting.choices)
    else:
        given |= {"type": setting.kind, "metavar": setting.option.metavar}
    if setting.option.alone is not None:
        given |= {"is_flag": False, "flag_value": setting.option.alone}
    return click.option(*setting.names, setting.name, **given)


def _flag(meaning: bool) -> Callable[[click.Context, click.Parameter, bool | None], bool | None]:
    """Reads a flag that, where given, says `meaning`."""
    return lambda context, parameter, given: meaning if given else None


def read_options(config_file: str | None, given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The configuration file's values with the command line's over them, and what to name in errors.

    Raises:
        UsageError: no such file, not plain YAML, or a key that `RunConfig` does not have.
    """
    from layerscope.config.resolve import check_keys, read_yaml
    from layerscope.core.shipped import find_config

    said: dict[str, Any] = {}
    where = "options"
    if config_file is not None:
        path = find_config(config_file)
        said, where = read_yaml(path), str(path)
        check_keys(said, where)
    return said | {key: value for key, value in given.items() if value is not None}, where
