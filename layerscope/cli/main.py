"""`layerscope`: the group of verbs, and the one place where errors become exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

import click

from layerscope import __version__
from layerscope.cli.interrupt import Interrupt
from layerscope.cli.verb import HELP_OPTIONS
from layerscope.core.errors import DISK_ERRORS, EnvironmentProblem, LayerscopeError
from layerscope.instrument.library_noise import advice_ignored

_INTERRUPTED = 130
# verb -> module of layerscope.cli that defines `command`; imported when asked for.
_VERBS = {
    "profile": "profile",
    "run": "run",
    "layers": "layers",
    "view": "view",
    "sweep": "sweep",
    "reproduce": "reproduce",
    "compare": "compare",
    "report": "report",
    "export": "export",
    "verify": "verify",
    "flops": "flops",
    "ceilings": "ceilings",
    "score": "score",
    "doctor": "doctor",
    "configs": "configs",
}


class _Verbs(click.Group):
    """Imports a verb's module only when that verb, or the list of all, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = importlib.import_module(f"layerscope.cli.{_VERBS[cmd_name]}")
        command: click.Command = module.command
        return command


@click.command(cls=_Verbs, context_settings={"help_option_names": HELP_OPTIONS})
@click.version_option(__version__, prog_name="layerscope")
def cli() -> None:
    """Where do the time, FLOPs, bytes and joules of a vision-language model go, layer by layer?

    `profile` measures a model, `run` a program as it is; both write a run folder. Other verbs read one.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0; 2 usage; 3 environment; 4 model or data; 5 accounting;
    6 a comparison failed; 130 interrupted."""
    code = run(arguments)
    if code == _INTERRUPTED:
        # Ctrl-C inside C code that runs Python (an import of torch) marks the interpreter to die by
        # the signal once it has shut down, whatever code it was given. All is cleaned up: leave now.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one line on stderr."""
    with Interrupt() as interrupt, advice_ignored():
        try:
            result: Any = cli.main(
                args=arguments, prog_name="layerscope", standalone_mode=False, obj=interrupt
            )
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except (click.exceptions.Abort, KeyboardInterrupt):
            return _interrupted(interrupt)
        except Exception as error:
            # Libraries wrap an interrupted import or C++ call in errors of their own.
            if interrupt.pressed:
                return _interrupted(interrupt)
            return _failed(error)
    return result if isinstance(result, int) else 0


def _failed(error: Exception) -> int:
    """Say what went wrong and return the exit code; what layerscope does not know is raised on."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()  # `layerscope` alone: the help is the answer
        return error.exit_code
    if isinstance(error, click.ClickException):
        click.echo(f"layerscope: {_usage_line(error)}", err=True)
        return error.exit_code
    if isinstance(error, LayerscopeError):
        click.echo(f"layerscope: {error}", err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The reader (`| head`) has gone.
        _discard_output()
        return 0
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = error.filename or "the output"
        click.echo(f"layerscope: {where}: cannot be written ({error.strerror}).", err=True)
        _discard_output()
        return EnvironmentProblem.exit_code
    raise error


def _discard_output() -> None:
    """What is still in stdout's buffer would fail once more while Python shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupted(interrupt: Interrupt) -> int:
    interrupt.silence()
    click.echo("layerscope: interrupted; nothing was kept.", err=True)
    return _INTERRUPTED


def _usage_line(problem: click.ClickException) -> str:
    """click's message on one line, with the command whose help lists the options."""
    message = " ".join(problem.format_message().split())
    context = problem.ctx if isinstance(problem, click.UsageError) else None
    if context is None:
        return message
    end = "" if message.endswith((".", "?")) else "."
    return f"{message}{end} See `{context.command_path} --help`."
