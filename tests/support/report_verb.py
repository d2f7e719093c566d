"""`layerscope report` as its own command, in this process."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from layerscope.cli.report import command
from layerscope.core.errors import LayerscopeError


def report(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, output and the error's line."""
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    error = result.exception
    if isinstance(error, LayerscopeError):
        return error.exit_code, result.stdout, str(error)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code, result.stdout, ""
