"""How a run folder comes back: who sees the driver's folder, and the same bytes after a journey."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from layerscope.core.errors import DataError
from layerscope.sweep.cluster.transfer import Meeting, open_meeting, pack, unpack


def test_a_folder_is_shared_only_where_the_drivers_own_token_lies(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    meeting = open_meeting(one)
    assert meeting.seen_here()
    assert [path.name for path in one.iterdir()] == ["token"]
    # The same path on another machine's disk: absent, or with another sweep's token in it.
    assert not Meeting(folder=str(other), token=meeting.token).seen_here()
    open_meeting(other)
    assert not Meeting(folder=str(other), token=meeting.token).seen_here()


def test_a_packed_folder_is_the_same_folder(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "inside").mkdir(parents=True)
    (made / "run.json").write_text("{}")
    (made / "inside" / "trace.json.gz").write_bytes(bytes(range(256)) * 40)
    unpack(pack(made), tmp_path / "arrived")
    found = {
        path.relative_to(tmp_path / "arrived"): path.read_bytes()
        for path in (tmp_path / "arrived").rglob("*")
        if path.is_file()
    }
    assert found == {
        Path("run.json"): b"{}",
        Path("inside/trace.json.gz"): bytes(range(256)) * 40,
    }


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    if name.startswith("/"):
        unpack(buffer.getvalue(), tmp_path / "arrived")
        assert not Path(name).exists()
    else:
        with pytest.raises(DataError, match="no run folder"):
            unpack(buffer.getvalue(), tmp_path / "arrived")
    assert not (tmp_path / "outside").exists()


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run folder"):
        unpack(b"not a tar at all", tmp_path / "arrived")
