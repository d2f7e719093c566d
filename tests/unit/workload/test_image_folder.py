"""A folder of images of one's own: in the order of their names, repeated, broken ones named."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from layerscope.core.errors import DataError
from layerscope.workload.data.image_folder import ImageFolder


def filled(folder: Path, *, broken: bool = False) -> Path:
    for number, size in enumerate([(8, 6), (20, 12)]):
        Image.new("RGB", size, (number, 0, 0)).save(folder / f"{number}.PNG", "PNG")
    (folder / "notes.txt").write_text("no image")
    if broken:
        (folder / "00.jpg").write_bytes(b"\xff\xd8 cut")
    return folder


def test_images_in_order_and_over_again(tmp_path: Path) -> None:
    source = ImageFolder(str(filled(tmp_path)))
    samples = list(source.samples(5))
    assert [s.image.size for s in samples if s.image] == [(8, 6), (20, 12)] * 2 + [(8, 6)]
    assert len({s.sample_id for s in samples}) == 5
    assert {s.prompt for s in samples} == {"Describe this image."}
    assert source.source == f"2 images of {tmp_path}, each more than once"
    assert source.skipped == ()
    assert [s.sample_id for s in source.samples(2)] == ["0.PNG", "1.PNG"]
    assert source.source == f"2 images of {tmp_path}"


def test_a_broken_image_is_named_and_left_out(tmp_path: Path) -> None:
    source = ImageFolder(str(filled(tmp_path, broken=True)))
    assert [s.sample_id for s in source.samples(4)] == ["0.PNG", "1.PNG", "0.PNG#1", "1.PNG#1"]
    (skipped,) = source.skipped
    assert skipped.startswith("00.jpg: the image cannot be decoded")
    assert source.source.startswith("2 images")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--images .*absent: no such folder"):
        ImageFolder(str(tmp_path / "absent"))
    with pytest.raises(DataError, match="no image in it"):
        ImageFolder(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"no image can be decoded \(a\.png: "):
        list(ImageFolder(str(tmp_path)).samples(1))
