"""`layerscope score`: any file of answers, its scores and its faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.command import layerscope

from layerscope.cli.main import cli, run

ROOT = Path(__file__).resolve().parents[2]
TEN = ["stop"] * 9 + [""]


def scores(file: Path, *more: str) -> dict[str, dict[str, float | str | None]]:
    shown = CliRunner().invoke(cli, ["score", str(file), "--json", *more])
    assert shown.exit_code == 0, shown.output
    found: dict[str, dict[str, float | str | None]] = json.loads(shown.output)["scores"]
    return found


def test_the_same_answers_as_csv_jsonl_and_json_give_the_same_scores(tmp_path: Path) -> None:
    rows = [("Stop.", TEN), ("go", TEN), ("stop", TEN)]
    listed = [{"prediction": said, "references": given} for said, given in rows]
    (tmp_path / "a.json").write_text(json.dumps(listed))
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, listed)) + "\n")
    (tmp_path / "bom.csv").write_text(
        "\ufeffreferences,extra,prediction\r\n"
        + "".join(f"{'|'.join(given)},x,{said}\r\n" for said, given in rows),
        encoding="utf-8",
    )
    found = scores(tmp_path / "a.json")
    assert scores(tmp_path / "a.jsonl") == scores(tmp_path / "bom.csv") == found
    assert found["wer"]["value"] == pytest.approx(2 / 3)
    assert found["wer_lower_punct"]["value"] == pytest.approx(1 / 3)
    assert found["vqa_accuracy"]["value"] == pytest.approx(2 / 3)
    # One of three, Clopper and Pearson: (1 - high)^3 + 3 high (1 - high)^2 = 0.025.
    assert found["wer_lower_punct"]["high"] == pytest.approx(0.9057, abs=1e-4)
    assert found["vqa_accuracy"]["confidence"] == 0.95
    assert found["scienceqa_accuracy"]["value"] is None
    assert "lettered" in str(found["scienceqa_accuracy"]["reason"])


def test_letters_as_only_references_are_multiple_choice(tmp_path: Path) -> None:
    file = tmp_path / "letters.csv"
    file.write_text("prediction,references\nThe answer is B.,b\n(a) x,(a)\nB,C\n")
    assert scores(file)["scienceqa_accuracy"]["value"] == pytest.approx(2 / 3)


def test_a_run_s_own_answers_are_such_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    sample = ROOT / "traces" / "sample-tiny-b2"
    assert scores(sample) == scores(sample / "predictions.csv")
    assert run(["score", str(sample)]) == 0
    shown = capsys.readouterr().out
    for part in ("vqa_accuracy", "textvqa_accuracy", "scienceqa_accuracy", "95 % interval"):
        assert part in shown


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "prediction,answer\nx,y\n", "no column references; it has prediction, answer"),
        ("a.csv", "prediction,references\n", "holds no answer"),
        ("a.csv", "prediction,references\nx,y\na, b,c\n", "line 3: 3 cells, the header has 2"),
        ("a.csv", 'prediction,references\nx,"[1, "\n', "line 2: references begins like a list"),
        ("a.csv", 'prediction,references\nx,"y\n', "line 2: not CSV"),
        ("a.jsonl", '{"prediction": "x", "references": ["y"]}\n{"pre', "line 2: not JSON"),
        ("a.jsonl", '{"prediction": "x"}\n', "line 1: lacks references; it has prediction"),
        ("a.jsonl", '{"prediction": null, "references": []}', "line 1: prediction is null"),
        ("a.json", "[1]", "item 1: not an object"),
        ("a.json", "[{]", "not a list in JSON"),
    ],
)
def test_a_fault_is_one_line_that_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert run(["score", str(file)]) == 4
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert run(["score", str(tmp_path / "none.csv")]) == 4


def test_it_needs_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("prediction,references\nx,y\nx,x\n")
    done = layerscope("score", file, "--normalisation", "lower")
    assert done.returncode == 2
    assert "lower-punct" in done.stderr
