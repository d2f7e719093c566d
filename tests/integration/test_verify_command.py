"""`layerscope verify`: what was changed since a run was written is named; what was not is verified."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.sealed import SAMPLE, sealed_sample

from layerscope.cli.main import run as run_command
from layerscope.core.errors import AccountingError, DataError
from layerscope.records import load
from layerscope.records.seal import names_in, seal
from layerscope.runs import verified
from layerscope.runs.run import Run
from layerscope.runs.verified import changed_files, verify


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_sample(tmp_path_factory.mktemp("sealed") / "run")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def raised_by_100_ms(folder: Path) -> None:
    """The first time of the host in `layers.csv`."""
    lines = (folder / "layers.csv").read_text().splitlines(keepends=True)
    at = lines[0].split(",").index("cpu_self_us")
    cells = lines[1].split(",")
    cells[at] = f"{float(cells[at]) + 100_000:.3f}"
    (folder / "layers.csv").write_text("".join([lines[0], ",".join(cells), *lines[2:]]))


def test_a_run_as_it_was_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["verify", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{run}: verified; ")
    for name in ("layers.csv", "layers.parquet", "kernels.csv", "operators.csv", "findings.json"):
        assert name in said
    assert load(run).hashes.keys() == set(names_in(run))


def test_a_time_raised_is_named_with_both_values(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raised_by_100_ms(run)
    assert run_command(["verify", str(run)]) == AccountingError.exit_code
    said = capsys.readouterr()
    assert "layers.csv: another content than its hash was taken of" in said.out
    assert "layers.csv, row 2 (" in said.out
    assert "cpu_self_us: 10" in said.out
    assert "; the trace gives " in said.out
    assert len(said.err.splitlines()) == 1


def test_whoever_hashes_again_is_given_away_by_the_trace(run: Path) -> None:
    raised_by_100_ms(run)
    record = load(run)
    assert record.account is not None
    seal(record, run)
    assert [text.split(",")[0] for text in verify(Run.open(run)).differences] == ["layers.csv"]
    longer = replace(record.account, host_window_us=1.0)
    seal(replace(record, account=longer), run)
    assert "run.json, account.host_window_us: 1.0; the trace gives" in str(verify(Run.open(run)))


def test_without_its_trace_the_hashes_remain(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "trace.json.gz").unlink()
    found = verify(Run.open(run))
    assert found.words.startswith("no trace to verify against; ")
    assert run_command(["layers", str(run)]) == 0
    assert "was changed" not in capsys.readouterr().out
    raised_by_100_ms(run)
    assert verify(Run.open(run)).state == "changed"
    run_command(["layers", str(run)])
    assert "layers.csv was changed since the run was written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("provenance.json", "the run did not write it"),
        ("replay.json", "the run did not write it"),
        ("figures/extra.svg", "the run did not write it"),
    ],
)
def test_a_file_that_would_be_read_and_is_not_the_runs(run: Path, name: str, what: str) -> None:
    (run / name).write_text("{}")
    found = verify(Run.open(run))
    assert found.state == "changed"
    assert any(text.startswith(f"{name}: {what}") for text in found.differences)


def test_a_file_that_nothing_reads_is_a_note(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    found = verify(Run.open(run))
    assert found.state == "verified"
    assert any("notes.txt" in note for note in found.notes)


@pytest.mark.parametrize("name", ["\x1b[2Jclear", "a\nb", "\udc80"])
def test_names_of_files_steer_no_terminal(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / name).write_text("")
    (run / "figures" / name).write_text("")
    assert run_command(["verify", str(run)]) == AccountingError.exit_code
    said = capsys.readouterr().out
    assert repr(name)[1:-1] in said
    assert name not in said


def test_a_file_gone_or_become_a_link(run: Path) -> None:
    (run / "steps.csv").unlink()
    (run / "work.json").rename(run.parent / "work.json")
    (run / "work.json").symlink_to(run.parent / "work.json")
    found = verify(Run.open(run))
    assert "steps.csv: not in the folder" in found.differences
    assert any(text.startswith("work.json: cannot be read (a link") for text in found.differences)


def test_a_run_of_before_hashes_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = Path(shutil.copytree(SAMPLE, tmp_path / "old"))
    if load(old).hashes:
        pytest.skip("the committed run has hashes by now")
    assert run_command(["verify", str(old)]) == 0
    assert "no hashes to verify against" in capsys.readouterr().out
    raised_by_100_ms(old)
    assert verify(Run.open(old)).state == "changed"
    (old / "trace.json.gz").unlink()
    assert verify(Run.open(old)).words.startswith("no trace to verify against; ")


def test_a_trace_alone_has_nothing_to_verify(tmp_path: Path) -> None:
    trace = shutil.copy(SAMPLE / "trace.json.gz", tmp_path / "t.json.gz")
    assert run_command(["verify", str(trace)]) == DataError.exit_code


def test_the_report_says_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    for changed, words in ((False, "verified; "), (True, "changed since it was written; ")):
        if changed:
            raised_by_100_ms(run)
        run_command(["report", str(run), "--html", str(page), "--markdown"])
        assert words in page.read_text(encoding="utf-8")
        assert f"files: {words}" in capsys.readouterr().out


def test_without_pyarrow_the_other_tables_are_verified(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verified, "find_spec", lambda name: None)
    found = verify(Run.open(run))
    assert found.state == "verified"
    assert "layers.parquet" not in found.derived
    assert any("pyarrow is not installed" in note for note in found.notes)


def undetected(folder: Path, flips: int, seed: int) -> list[str]:
    """Flip single bits anywhere in the folder; the flips that `verify` does not see."""
    chance = random.Random(seed)
    files = [folder / name for name in names_in(folder)]
    sizes = [path.stat().st_size for path in files]
    missed = []
    for number in range(flips):
        # Every other flip in the record, which is small and the hardest: it holds the hashes.
        path = folder / "run.json" if number % 2 else chance.choices(files, sizes)[0]
        data = path.read_bytes()
        at, bit = chance.randrange(len(data)), chance.randrange(8)
        flipped = bytearray(data)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            seen = bool(list(changed_files(load(folder), folder)))
            seen = seen or verify(Run.open(folder)).state == "changed"
        except DataError:
            seen = True
        if not seen:
            missed.append(f"{path.name}, byte {at}, bit {bit}")
        path.write_bytes(data)
    return missed


def test_every_flipped_bit_is_seen(run: Path) -> None:
    assert undetected(run, flips=100, seed=33) == []
    assert verify(Run.open(run)).state == "verified"


def test_every_flipped_bit_of_the_hashes_is_seen(run: Path) -> None:
    """Of the keys too: a run must not pass for one of before hashes."""
    data = (run / "run.json").read_bytes()
    start = data.index(b'"hashes"')
    for at in range(start, start + 120):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            (run / "run.json").write_bytes(flipped)
            try:
                assert list(changed_files(load(run), run)), (at, bit)
            except DataError:
                continue


@pytest.mark.slow
@pytest.mark.long
def test_ten_thousand_flipped_bits_are_seen(run: Path) -> None:
    assert undetected(run, flips=10_000, seed=2026) == []
