"""A file of somebody's folder is read only if it is one, of a size that it can have; nothing else is."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from layerscope.core import folder_file
from layerscope.core.folder_file import (
    MOST_BYTES,
    open_file,
    read_file,
    read_json_bytes,
    state_of,
)

Put = Callable[[Path], object]


def bound_socket(path: Path) -> None:
    # The name of a socket may have a hundred bytes, which a test's folder already has.
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


REFUSED: dict[str, tuple[Put, str]] = {
    "link": (lambda path: path.symlink_to(path.with_name("other")), "a link"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "a link"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "a link"),
    "pipe": (os.mkfifo, "a pipe"),
    "socket": (bound_socket, "a socket"),
    "folder": (Path.mkdir, "a folder"),
    "zeros": (lambda path: sparse(path, MOST_BYTES["run.json"] + 1), "64 MiB; such a file"),
}


@pytest.fixture(params=["by descriptor", "by name"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """As on Linux, and as where a folder has no descriptor."""
    if request.param == "by name":
        monkeypatch.setattr(folder_file, "_BY_DESCRIPTOR", False)
        flags = folder_file._FLAGS & ~os.O_NOFOLLOW
        monkeypatch.setattr(folder_file, "_FLAGS", flags)
    return str(request.param)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_file_is_refused_at_once(way: str, kind: str, tmp_path: Path) -> None:
    put, words = REFUSED[kind]
    (tmp_path / "other").write_text("secret")
    put(tmp_path / "run.json")
    with pytest.raises(OSError, match=r".") as raised:
        read_file(tmp_path / "run.json")
    assert words in raised.value.strerror
    if kind != "zeros":
        assert state_of(tmp_path / "run.json") is None


def test_a_device_is_not_even_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(a) or really(*a, **k))
    with pytest.raises(OSError, match="a device"):
        read_file(Path("/dev/null"))
    assert opened == []


def test_a_file_is_read_whole_through_a_folder_that_a_link_leads_to(
    way: str, tmp_path: Path
) -> None:
    (tmp_path / "real" / "figures").mkdir(parents=True)
    (tmp_path / "real" / "figures" / "a.svg").write_bytes(b"abc")
    (tmp_path / "named").symlink_to("real", target_is_directory=True)
    path = tmp_path / "named" / "figures" / "a.svg"
    assert read_file(path) == b"abc"
    assert read_file(path, tmp_path / "named") == b"abc"


def test_a_folder_between_may_be_no_link_and_no_way_out(way: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.svg").write_bytes(b"secret")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "figures").symlink_to(tmp_path / "outside", target_is_directory=True)
    for name in ("figures/a.svg", "../outside/a.svg"):
        with pytest.raises(OSError, match=r"link|leads out"):
            read_file(tmp_path / "run" / name, tmp_path / "run")


def test_a_text_whose_values_fill_a_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "work.json"
    path.write_bytes(b"[" + b"[]," * 4_000_000 + b"[]]")
    with pytest.raises(OSError, match="of memory"):
        read_json_bytes(path)
    path.write_bytes(b"[" + b"{}," * 900_000 + b"{}]")
    with pytest.raises(OSError, match="of memory"):
        read_json_bytes(path)


def exchanged(path: Path, secret: Path, stop: threading.Event) -> None:
    """Let the name be a file, then a link, then a file, as fast as it goes."""
    spare = path.with_name("spare")
    for number in itertools.count():
        if stop.is_set():
            return
        if number % 2:
            spare.symlink_to(secret)
        else:
            spare.write_bytes(b"own")
        os.replace(spare, path)


def test_a_link_exchanged_between_look_and_reading_escapes_never(way: str, tmp_path: Path) -> None:
    path, secret = tmp_path / "layers.csv", tmp_path / "secret"
    path.write_bytes(b"own")
    secret.write_bytes(b"secret")
    stop = threading.Event()
    thread = threading.Thread(target=exchanged, args=(path, secret, stop))
    thread.start()
    read = refused = 0
    end = time.monotonic() + 60
    try:
        # How often each is met is the scheduler's affair; both are, so that the exchange took place.
        while read + refused < 3_000 or (min(read, refused) <= 10 and time.monotonic() < end):
            try:
                with open_file(path) as file:
                    assert file.read() in (b"own", b"")
                read += 1
            except OSError:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert min(read, refused) > 10


@pytest.mark.parametrize("way_in", ["link", "pipe"])
def test_what_is_put_there_between_the_look_and_the_opening_is_refused(
    way: str, way_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange at the worst moment, every time."""
    path = tmp_path / "layers.csv"
    path.write_bytes(b"own")
    (tmp_path / "secret").write_bytes(b"secret")
    really = os.open

    def late(*args: object, **kwargs: object) -> int:
        path.unlink()
        path.symlink_to("secret") if way_in == "link" else os.mkfifo(path)
        return really(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(OSError, match=r"a link|a pipe|exchanged") as raised:
        open_file(path)
    assert raised.value.filename == str(path)
