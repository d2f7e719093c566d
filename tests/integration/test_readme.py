"""What the README shows is what the commands print, and each question in it has a command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from layerscope.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSOLES = re.findall(r"```console\n\$ (layerscope [^\n]+)\n(.*?)```", README, re.S)
QUESTIONS = re.findall(r"^\| ([^|]+\?) \| `(layerscope [^`]+)`", README, re.M)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(("command", "shown"), CONSOLES, ids=[c for c, _ in CONSOLES])
def test_what_is_shown_is_what_is_printed(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    printed = [flat(line) for line in done.output.splitlines()]
    for line in shown.strip().splitlines():
        assert any(one.startswith(flat(line)) for one in printed), line


def test_ten_questions_have_a_command_each() -> None:
    assert len(QUESTIONS) >= 10
    assert len(CONSOLES) >= 3
    for _, line in QUESTIONS:
        _, verb, *arguments = shlex.split(line)
        command = cli.get_command(None, verb)  # type: ignore[attr-defined, arg-type]
        command.make_context(verb, arguments)


def test_the_commands_that_read_answer_on_the_sample_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    sample = "traces/sample-tiny-b2"
    answered = 0
    for _, line in QUESTIONS:
        arguments = shlex.split(line.replace("trace.json.gz", f"{sample}/trace.json.gz"))[1:]
        if arguments[0] not in ("layers", "compare"):
            continue
        arguments = [re.sub(r"^traces/(RUN|A|B)$", sample, one) for one in arguments]
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 0, done.output
        answered += 1
    assert answered >= 6
