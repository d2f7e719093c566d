"""Every verb has help and stands in the README; every document the README names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from layerscope.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = sorted(cli.list_commands(None))  # type: ignore[attr-defined, arg-type]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_help_and_stands_in_the_readme(verb: str) -> None:
    shown = CliRunner().invoke(cli, [verb, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 4
    assert f"`layerscope {verb}" in README


def test_every_option_says_what_it_does() -> None:
    for verb in VERBS:
        command = cli.get_command(None, verb)  # type: ignore[attr-defined, arg-type]
        for parameter in command.params:
            if parameter.param_type_name == "option":
                assert getattr(parameter, "help", None), f"{verb}: {parameter.opts}"


@pytest.mark.parametrize("document", [README, *(p.read_text() for p in ROOT.glob("docs/*.md"))])
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document):
        if "://" not in target:
            assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target
