"""Every field of a run is an option, declared once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from layerscope.cli import options
from layerscope.cli.main import cli
from layerscope.config import resolve
from layerscope.core.errors import UsageError
from layerscope.core.option import option, settings_of
from layerscope.core.run_config import NonNegative, RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Longer(RunConfig):
    """A run with three settings more."""

    pauses: NonNegative = field(default=3, metadata=option("Pauses between batches."))
    mood: Literal["calm", "hasty"] | None = field(default=None, metadata=option("How it hurries."))
    checks: bool = field(default=True, metadata=option("Do without checks.", "--unchecked"))


def given_by(*arguments: str) -> dict[str, Any]:
    """What a command with all options of `RunConfig` is given."""
    taken: dict[str, Any] = {}

    @click.command()
    @options.run_options()
    def command(config_file: str | None, **given: Any) -> None:
        taken.update(options.read_options(config_file, given)[0])

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    taken["(help)"] = result.output
    return taken


def test_every_field_of_a_run_is_an_option_of_profile() -> None:
    command = cli.get_command(None, "profile")  # type: ignore[attr-defined, arg-type]
    fields = {item.name for item in dataclasses.fields(RunConfig)}
    assert {setting.name for setting in settings_of(RunConfig)} == fields
    own = {"config_file", "strict", "verbose", "quiet", "as_json"}
    assert {parameter.name for parameter in command.params} == fields | own


def test_a_new_field_is_known_wherever_fields_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "RunConfig", Longer)
    monkeypatch.setattr(resolve, "RunConfig", Longer)
    shown = given_by("--help")["(help)"]
    assert "--pauses INTEGER" in shown
    assert "Pauses between batches. Default: 3." in " ".join(shown.split())
    assert "[calm|hasty]" in shown
    said = given_by("--pauses", "1", "--mood", "hasty", "--unchecked")
    del said["(help)"]
    assert said == {"pauses": 1, "mood": "hasty", "checks": False}
    run = resolve.resolve(said, cuda=False).config
    assert (run.pauses, run.mood, run.checks) == (1, "hasty", False)  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="`pauses` is -1: expected `int` >= 0"):
        resolve.resolve({"pauses": -1}, cuda=False)
    with pytest.raises(UsageError, match="unknown key `pause`; did you mean `pauses`"):
        resolve.check_keys({"pause": 1}, "run.yaml")
    with pytest.raises(click.BadParameter, match="'calm', 'hasty'"):
        given_by("--mood", "slow")


def test_flags_and_options_without_a_value() -> None:
    assert given_by() == {"(help)": ""}
    said = given_by("--no-trace", "--energy-per-layer", "--coordinate-descent-tuning")
    assert said["trace"] is False
    assert said["energy_per_layer"] == "blocks"
    assert said["coordinate_descent_tuning"] is True
    assert given_by("--energy-per-layer", "groups,cold")["energy_per_layer"] == "groups,cold"
    assert given_by("--batch", "2") == given_by("--batch-size", "2")


def test_a_field_without_an_option_is_a_fault() -> None:
    bare = dataclasses.make_dataclass("Bare", [("silent", int, 1)])
    with pytest.raises(TypeError, match="silent: its metadata has no option"):
        settings_of(bare)
    listed = dataclasses.make_dataclass(
        "Listed", [("many", list[int], field(metadata=option("Several.")))]
    )
    with pytest.raises(TypeError, match=r"many: .* is no type of an option"):
        settings_of(listed)


def test_a_verb_cannot_ask_for_a_field_that_is_none() -> None:
    with pytest.raises(ValueError, match="no option for nonsense"):
        options.run_options(["nonsense"])
