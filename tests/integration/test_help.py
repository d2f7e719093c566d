"""What a user meets first: help with examples that parse, lists of names, one line for a wrong value."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from layerscope.cli import browser, view
from layerscope.cli.main import cli, run
from layerscope.core.shipped import shipped_names

ROOT = Path(__file__).resolve().parents[2]
VERBS = sorted(cli.list_commands(None))  # type: ignore[attr-defined, arg-type]


def help_of(verb: str) -> str:
    return CliRunner().invoke(cli, [verb, "--help"], terminal_width=100).output


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_ends_with_an_example_that_parses(verb: str) -> None:
    text = help_of(verb)
    _, _, examples = text.partition("Example")
    lines = [line.strip() for line in examples.splitlines()[1:] if line.strip()]
    assert lines
    for line in lines:
        program, name, *arguments = shlex.split(line)
        assert (program, name) == ("layerscope", verb)
        command = cli.get_command(None, verb)  # type: ignore[attr-defined, arg-type]
        command.make_context(verb, arguments)  # raises where an option is wrong
        assert len(line) <= 90


@pytest.mark.parametrize("verb", VERBS)
def test_many_options_stand_in_groups(verb: str) -> None:
    text = help_of(verb)
    command = cli.get_command(None, verb)  # type: ignore[attr-defined, arg-type]
    options = [one for one in command.params if isinstance(one, click.Option)]
    headings = re.findall(r"^([A-Z][\w ]+):$", text, re.M)
    if len(options) > 12:
        assert len(set(headings) - {"Options", "Example", "Examples"}) >= 2
    for option in options:  # each once, under whichever heading
        assert len(re.findall(rf"(?<![\w-]){re.escape(option.opts[-1])}(?![\w-])", text)) >= 1
    assert text.count("Show this message and exit.") == 1


def test_profile_has_its_groups_in_order() -> None:
    headings = re.findall(r"^ *([A-Z][\w ]+):$", help_of("profile"), re.M)
    assert headings == [
        "Model", "Sizes", "Data", "Measuring", "Optimizations", "Output", "Options", "Examples",
    ]  # fmt: skip


def said_by(*arguments: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "layerscope", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("port", ["99999", "-1", "abc"])
def test_a_port_that_is_none_is_one_line(port: str, tmp_path: Path) -> None:
    code, lines = said_by("view", str(tmp_path), "--port", port)
    assert code == 2
    assert len(lines) == 1
    assert "--port" in lines[0]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, lines = said_by("view", str(tmp_path), "--port", str(other.getsockname()[1]))
    assert code == 3
    assert len(lines) == 1
    assert "another program listens there" in lines[0]


def test_configs_names_each_as_it_is_taken_with_a_line_on_it() -> None:
    listed = CliRunner().invoke(cli, ["configs"]).output.splitlines()
    told = dict(line.strip().split(None, 1) for line in listed if line.startswith("  "))
    assert tuple(told) == shipped_names()
    assert told["models/instructblip-flan-t5-xl"] == (
        "Salesforce/instructblip-flan-t5-xl (ViT-g/14, Q-Former, Flan-T5-XL): 1,866 modules below the "
        "root, 4,022,969,088 parameters"
    )
    assert told["reference/batch_size"] == ("Latency, energy, WER and FLOPs against the batch size")
    code, lines = said_by("sweep", "no-such")
    assert code == 2
    for name in told:
        if name.startswith("reference/"):
            assert name in lines[0]
    plan = CliRunner().invoke(cli, ["sweep", "reference/tiny/device", "--plan-only"])
    assert plan.exit_code == 0


def test_open_opens_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(browser.webbrowser, "open", lambda address: opened.append(address) or True)
    page = tmp_path / "report.html"
    sample = str(ROOT / "traces" / "sample-tiny-b2")
    assert run(["report", sample, "--html", str(page), "--open"]) == 0
    assert opened == [page.as_uri()]
    assert page.exists()
    assert run(["report", sample, "--markdown", "--open"]) == 2


def test_open_without_a_browser_says_where_the_page_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser.webbrowser, "open", lambda address: False)
    page = tmp_path / "report.html"
    sample = str(ROOT / "traces" / "sample-tiny-b2")
    assert run(["report", sample, "--html", str(page), "--open"]) == 3
    assert f"the page is {page}" in capsys.readouterr().err
    assert page.exists()


def test_view_open_waits_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(
        view, "open_once_there", lambda address, port: asked.append((address, port))
    )
    monkeypatch.setattr(view.os, "execv", lambda program, command: None)
    monkeypatch.setattr(view.os, "name", "posix")
    monkeypatch.setattr(view.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0))
    assert run(["view", str(tmp_path), "--port", "6117", "--open"]) == 0
    assert asked == [("http://127.0.0.1:6117/#layerscope", 6117)]
    assert run(["view", str(tmp_path), "--port", "0", "--open"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_as_the_docs_say(shell: str) -> None:
    page = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"{shell}_source" in page
    program = Path(sys.executable).parent / "layerscope"
    if not program.exists():
        pytest.skip("layerscope is not installed as a command here")
    done = subprocess.run(
        [program],
        env={
            "_LAYERSCOPE_COMPLETE": f"{shell}_complete", "COMP_WORDS": "layerscope lay",
            "COMP_CWORD": "1" if shell != "fish" else "lay", "PATH": "/usr/bin:/bin",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "layers" in done.stdout
