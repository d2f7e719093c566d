"""Files of JSON: written whole, read back, and one line for whatever is wrong with one."""

from __future__ import annotations

import ast
import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerscope.core import files
from layerscope.core.errors import DataError
from layerscope.core.files import json_text, parse_json, write_json
from layerscope.core.folder_file import read_json, read_json_if_there
from layerscope.core.whole_file import whole_file
from layerscope.records import load

TREE = Path(__file__).resolve().parents[3]
SAMPLE = next((TREE / "traces").glob("sample-*"))


@dataclass(frozen=True)
class Note:
    name: str
    count: int = 0
    parts: dict[str, float] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("indented", "text"),
    [
        (True, '{\n  "name": "a",\n  "count": 2,\n  "parts": {\n    "µ": 0.5\n  }\n}\n'),
        (False, '{"name":"a","count":2,"parts":{"µ":0.5}}\n'),
    ],
)
def test_what_is_written_is_read(tmp_path: Path, indented: bool, text: str) -> None:
    path, note = tmp_path / "note.json", Note("a", 2, {"µ": 0.5})
    write_json(path, note, indented=indented)
    assert path.read_text(encoding="utf-8") == text
    assert read_json(path, Note, "a note") == note
    assert read_json_if_there(path, Note, "a note") == note
    assert os.listdir(tmp_path) == ["note.json"]


@given(st.text(), st.integers(-(2**53), 2**53), st.dictionaries(st.text(), st.floats(-1e9, 1e9)))
def test_every_value_comes_back(name: str, count: int, parts: dict[str, float]) -> None:
    note = Note(name, count, parts)
    assert parse_json(json_text(note).encode(), Path("n"), Note, "a note") == note


DAMAGE = {
    "empty": b"",
    "cut off": b'{"name":"a","cou',
    "another form": b"[1, 2]",
    "a field of another type": b'{"name":"a","count":"two"}',
    "a field missing": b'{"count":1}',
    "no UTF-8": b'{"name":"\xff\xfe"}',
    "gzip": b"\x1f\x8b\x08\x00\x00",
    "nested without end": b'{"name":' + b"[" * 200_000,
    "nested without end in a field nobody knows": b'{"name":"a","x":' + b"[" * 200_000,
    "two values": b'{"name":"a"}{"name":"b"}',
    "a number beyond every range": b'{"name":"a","count":1' + b"0" * 5000 + b"}",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_says_what_and_where(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(DAMAGE[damage])
    for read in (read_json, read_json_if_there):
        with pytest.raises(DataError) as caught:
            read(path, Note, "a note")
        said = str(caught.value)
        assert said.startswith(f"{path}: not a note (")
        assert "\n" not in said


@pytest.mark.parametrize("cut", range(0, 2_000, 211))
def test_a_run_record_cut_off_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    whole = (SAMPLE / files.RUN_FILE).read_bytes()
    (tmp_path / files.RUN_FILE).write_bytes(whole[: len(whole) * cut // 2_000])
    with pytest.raises(DataError, match="not a layerscope run record"):
        load(tmp_path)


def test_a_run_record_that_is_no_text_is_refused(tmp_path: Path) -> None:
    whole = (SAMPLE / files.RUN_FILE).read_bytes()
    (tmp_path / files.RUN_FILE).write_bytes(whole.replace(b"InstructBlip", b"\xff\xfenstructBlip"))
    with pytest.raises(DataError, match="not a layerscope run record"):
        load(tmp_path)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_json(tmp_path / "note.json", Note, "a note")
    assert read_json_if_there(tmp_path / "note.json", Note, "a note") is None
    for read in (read_json, read_json_if_there):
        with pytest.raises(DataError, match=r"cannot be read \(a folder and no file"):
            read(tmp_path, Note, "a note")
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match=r"cannot be read \(a link; "):
        read_json_if_there(tmp_path / "a", Note, "a note")


def test_a_value_that_is_no_json_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_json(path, Note("before"))
    with pytest.raises(TypeError):
        write_json(path, object())
    assert read_json(path, Note, "a note") == Note("before")
    assert os.listdir(tmp_path) == ["note.json"]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_block_that_fails_leaves_the_file_that_was_there(
    tmp_path: Path, failure: BaseException
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def half() -> None:
        with whole_file(path) as partial:
            assert (partial.suffix, partial.parent) == (".csv", tmp_path)
            partial.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        half()
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "a.json", tmp_path / "there" / "b.json"
    link.symlink_to(target)
    write_json(link, Note("a"))
    assert link.is_symlink()
    assert read_json(target, Note, "a note") == Note("a")
    assert os.listdir(tmp_path / "there") == ["b.json"]


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as reader:
        write_json(Path(f"/dev/fd/{write}"), Note("a"), indented=False)
        os.close(write)
        assert reader.read() == b'{"name":"a","count":0,"parts":{}}\n'


def test_a_saved_run_lists_its_files_under_the_names_kept_here() -> None:
    listed = load(SAMPLE).files
    known = {role: name for role, name in listed.items() if role in files.RUN_FILES}
    assert known == {role: files.RUN_FILES[role] for role in known}
    assert {"record", "trace", "layers", "steps", "findings"} <= set(known)
    of_their_own = {role.partition("_")[0] for role in listed.keys() - known.keys()}
    assert of_their_own <= {"figure", "tensorboard"}


def test_no_other_module_names_a_file() -> None:
    names = {text for name, text in vars(files).items() if name.endswith("_FILE")}
    found = set()
    for path in (TREE / "layerscope").rglob("*.py"):
        module = path.relative_to(TREE / "layerscope").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names and module != "core/files.py":
                found.add(module)
    assert not found
