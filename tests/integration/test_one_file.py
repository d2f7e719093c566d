"""A family and a finding are one file each: dropped into a copy of the package, nothing else changes."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import layerscope
from layerscope.core.errors import LayerscopeError
from layerscope.core.families import families
from layerscope.models import families as model_families

PACKAGE = Path(layerscope.__file__).parent
SAMPLE = Path(__file__).resolve().parents[2] / "traces" / "sample-tiny-b2"

FINDING = '''
"""Every run: says what it is."""

from layerscope.findings.evidence import Evidence, Verdict
from layerscope.records.finding import Finding, RestsOn, Saving


def planted(evidence: Evidence) -> Verdict:
    """One sentence, whatever the run."""
    rows = len(evidence.account.table.rows)
    saving = Saving(saved_ns=1 << 50, basis="planted")
    rests_on = (RestsOn(phase="decode"),)
    return (
        Finding(
            id="planted", sentence=f"A planted finding sees {rows} rows.", rests_on=rests_on,
            try_next="pull it out", saving=saving,
        ),
    )


RULES = (planted,)
'''

FAMILY = '''
"""A family whose tower goes by a name that no method tells."""

from layerscope.core.roles import Role

MODEL_TYPES = ("planted-type",)
EXCEPTIONS: dict[str, Role] = {"eye": "vision", "bridge": "projection"}
'''

# A language model with something beside it that its own methods say nothing of.
USE = """
import sys
import torch
from transformers import LlamaConfig, LlamaForCausalLM
import layerscope

class Config(LlamaConfig):
    model_type = "planted-type"

class Model(LlamaForCausalLM):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.eye, self.bridge = torch.nn.Linear(4, 16), torch.nn.Linear(16, 16)

    def forward(self, *args, **kwargs):
        self.bridge(self.eye(torch.ones(1, 4)))
        return super().forward(*args, **kwargs)

ids, two = torch.ones(1, 3, dtype=torch.long), {"max_new_tokens": 2, "min_new_tokens": 2}
for model_type in ("other-type", "planted-type"):
    Config.model_type = model_type
    model = Model(Config(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)).eval()
    with torch.no_grad(), layerscope.capture(model, sys.argv[1]) as window:
        model.generate(ids, do_sample=False, **two)
    window.table.check()
    rows = {(row.layer, row.phase, row.group) for row in window.table.rows if row.calls}
    print(model_type, [row for row in sorted(rows) if row[0] in ("eye", "bridge")])
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "tiny")
    shutil.copytree(PACKAGE, folder / "layerscope", ignore=ignored)
    return folder


def python(tree: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def changed(tree: Path) -> set[str]:
    """Files of the copy that are not as in the package."""
    copied = {p.relative_to(tree / "layerscope") for p in (tree / "layerscope").rglob("*.py")}
    return {
        str(path)
        for path in copied
        if not (PACKAGE / path).exists()
        or (PACKAGE / path).read_bytes() != (tree / "layerscope" / path).read_bytes()
    }


def test_a_finding_is_one_file(tree: Path) -> None:
    layers = ("-m", "layerscope", "layers", str(SAMPLE))
    assert "planted" not in python(tree, *layers)
    file = tree / "layerscope" / "findings" / "zz_planted.py"
    file.write_text(FINDING)
    try:
        assert changed(tree) == {"findings/zz_planted.py"}
        shown = python(tree, *layers)
        report = tree / "report.html"
        python(tree, "-m", "layerscope", "report", str(SAMPLE), "--html", str(report))
    finally:
        file.unlink()
    # It could save most, so it stands first.
    assert "A planted finding sees" in shown.partition("1. ")[2].partition("2. ")[0]
    assert "A planted finding sees" in report.read_text()


def test_a_family_is_one_file(tree: Path) -> None:
    trace = tree / "t.json"
    file = tree / "layerscope" / "models" / "families" / "planted.py"
    file.write_text(FAMILY)
    try:
        assert changed(tree) == {"models/families/planted.py"}
        found = python(tree, "-c", USE, str(trace))
        table = tree / "layers.csv"
        python(tree, "-m", "layerscope", "layers", str(trace), "--csv", str(table))
    finally:
        file.unlink()
    other, planted = found.splitlines()
    assert other.startswith("other-type")
    assert "vision" not in other
    assert "projection" not in other
    assert planted == (
        "planted-type [('bridge', 'projection', 'projection'), ('eye', 'vision', 'other')]"
    )
    with table.open() as lines:
        rows = {(row["layer"], row["phase"]) for row in csv.DictReader(lines)}
    assert {("eye", "vision"), ("bridge", "projection")} <= rows


def test_a_family_may_come_from_a_package_of_ones_own(tree: Path) -> None:
    installed = tree / "my_models-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    point = installed / "entry_points.txt"
    point.write_text("[layerscope.families]\nmine = my_models_family\n")
    file = tree / "my_models_family.py"
    file.write_text(FAMILY)
    try:
        assert changed(tree) == set()
        _, planted = python(tree, "-c", USE, str(tree / "t.json")).splitlines()
        assert "('eye', 'vision', 'other')" in planted
        point.write_text("[layerscope.families]\nmine = absent_module\n")
        with pytest.raises(AssertionError, match=r"mine = absent_module .* cannot be imported"):
            python(tree, "-c", USE, str(tree / "t.json"))
    finally:
        file.unlink()
        shutil.rmtree(installed)


def test_families_are_found_in_one_order_and_own_their_types_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [family.__name__.rpartition(".")[2] for family in families()] == ["instructblip"]
    assert model_families.family_of("instructblip") is model_families.family_of("instructblipvideo")
    assert model_families.family_of("git") is not None  # by its file's name
    assert model_families.family_of("gemma3") is None
    (tmp_path / "second_git.py").write_text('MODEL_TYPES = ("git",)\n')
    monkeypatch.setattr(model_families, "__path__", [*model_families.__path__, str(tmp_path)])
    model_families._files.cache_clear()
    model_families._by_model_type.cache_clear()
    try:
        with pytest.raises(LayerscopeError, match="git and second_git both declare"):
            model_families.family_of("git")
    finally:
        monkeypatch.undo()
        model_families._files.cache_clear()
        model_families._by_model_type.cache_clear()
        sys.modules.pop("layerscope.models.families.second_git", None)


def test_one_family_alone_names_itself() -> None:
    """What is true of one family stands in its files; others know families by what they declare."""
    its = ("core/families/", "models/families/", "published/")
    left = {"workload/flash.py"}  # the classes whose attention it judges
    naming = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "instructblip" in path.read_text(encoding="utf-8").lower()
    }
    assert {name for name in naming if not name.startswith(its)} <= left
