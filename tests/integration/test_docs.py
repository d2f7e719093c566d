"""Every verb has help and stands in the README; every document the README names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from layerscope.cli.main import cli
from layerscope.records.kinds import KindTimes
from layerscope.records.work import CountedWork
from layerscope.report.attention import write_attention_csv
from layerscope.report.columns import COLUMNS
from layerscope.report.csv import write_kernels_csv, write_operators_csv, write_steps_csv
from layerscope.report.kind_times import write_kinds_csv
from layerscope.report.layer_energy import _COLUMNS as LAYER_ENERGY
from layerscope.report.memory import write_memory_csv
from layerscope.report.power import write_power_csv
from layerscope.report.predictions import write_predictions_csv

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


DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#]+\.md)\)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / target).resolve() for target in links if "://" not in target]
    assert {str(p.relative_to(ROOT)) for p in {*DOCUMENTS[1:]} - reached} == set()
    assert "](docs/README.md)" in README


def test_every_command_stands_in_the_docs_with_its_help(request: pytest.FixtureRequest) -> None:
    """`pytest tests/integration/test_docs.py --update-golden` writes the page anew."""
    page = ROOT / "docs" / "commands.md"
    parts = ["# The commands", "What `--help` prints, word for word."]
    for verb in ("", *VERBS):
        arguments = [verb, "--help"] if verb else ["--help"]
        shown = CliRunner().invoke(cli, arguments, prog_name="layerscope", terminal_width=100)
        assert shown.exit_code == 0
        parts.append(f"## {f'layerscope {verb}'.strip()}\n```\n{shown.output.rstrip()}\n```")
    text = "\n\n".join(parts) + "\n"
    if request.config.getoption("--update-golden"):
        page.write_text(text, encoding="utf-8")
    # Versions of click break their lines at other words.
    assert page.read_text(encoding="utf-8").split() == text.split()


def section(page: str, heading: str) -> str:
    """The text below the heading that begins so, up to the next one."""
    (found,) = re.findall(rf"^## {re.escape(heading)}.*?\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    return str(found)


NO_WORK = CountedWork(
    root="forward", rows=(), parts=(), flops=0, bytes_moved=0, uncounted=(), moved=(), views=0,
    decoder_steps=0, memory_peak_bytes=None, memory_method="",
)  # fmt: skip
A_KIND = KindTimes(kind="a", phase="p", layers=1, calls=1, measure="device", batch_ns=(1, 2, 3))


def test_every_column_that_is_written_is_explained(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    write_kernels_csv((), tmp_path / "kernels.csv")
    write_operators_csv((), tmp_path / "operators.csv")
    write_steps_csv((), tmp_path / "steps.csv")
    write_attention_csv((), tmp_path / "attention.csv")
    write_predictions_csv((), tmp_path, scored=True)
    write_power_csv((), tmp_path)
    write_kinds_csv([A_KIND], tmp_path)
    write_memory_csv(NO_WORK, tmp_path)
    written = {p.name: p.read_text().splitlines()[0].split(",") for p in tmp_path.glob("*.csv")}
    written["layer_energy.csv"] = [name for name, _ in LAYER_ENERGY]
    written["layers.csv"] = [column.name for column in COLUMNS]
    assert len(written) == 10
    for name, columns in written.items():
        rows = [
            line.split("|")[1] for line in section(page, f"`{name}`").splitlines() if "|" in line
        ]
        explained = [word for cell in rows for word in re.findall(r"`(\w+)`", cell)]
        assert sorted(explained) == sorted(columns), name


def test_the_how_to_for_ones_own_model_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "your-own-model.md").read_text(encoding="utf-8")
    capturing, saving, counting = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(counting, "your-own-model.md", "exec"), {})
    one_linear, one_lstm = 2 * 8 * 64 * 256, 2 * 8 * 4 * 64 * (256 + 64)
    assert capsys.readouterr().out.startswith(f"{one_linear + one_lstm} {one_lstm}\n")
    exec(compile(capturing, "your-own-model.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("again 0 Linear 3 ") for line in printed), printed
    done = CliRunner().invoke(cli, ["layers", "mine.json.gz", "--csv", "layers.csv"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "layers.csv").read_text().count("\n") > 6
    exec(compile(saving, "your-own-model.md", "exec"), {})
    assert "memory: not measured in a capture" in capsys.readouterr().out
    assert (tmp_path / "traces" / "mine" / "run.json").is_file()


@pytest.mark.parametrize("name", ["faults.md", "security.md"])
def test_every_test_that_a_table_names_exists(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 10
    for path, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / path).read_text(), re.M), f"{path}::{test}"
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`tests/" not in line]
    assert all(row.startswith(("| fault", "| what")) for row in rows), rows
