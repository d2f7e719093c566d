"""The three public data sets, read from files in their hub layouts by the real code."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.hub_layouts import FEATURES, encoded, plain, row, stored, write

from layerscope.core.errors import DataError, UsageError
from layerscope.core.run_config import RunConfig
from layerscope.workload.data import DATASETS, Sample, SampleSource, open_samples

NAMES = ("coco", "scienceqa", "textvqa")


def _source(name: str, folder: Path | None, **changes: Any) -> SampleSource:
    config = RunConfig(
        model="tiny",
        dataset=name,
        data_dir=None if folder is None else str(folder),
        device="cpu",
        dtype="fp32",
        batch_size=1,
        samples=4,
    )
    return open_samples(dataclasses.replace(config, **changes))


def _read(source: SampleSource, count: int = 4) -> list[Sample]:
    return list(source.samples(count))


def test_textvqa_rows(tmp_path: Path) -> None:
    folder = write("textvqa", [row("textvqa", i) for i in range(6)], tmp_path, files=2)
    source = _source("textvqa", folder)
    samples = _read(source, 5)
    assert [sample.sample_id for sample in samples] == [f"textvqa-{34602 + i}" for i in range(5)]
    assert samples[4].prompt == "Question: what number is on player 4? Short answer:"
    assert samples[4].references == ("4",) * 8 + ("unanswerable", "no. 4")
    assert samples[4].letter_reference is None
    assert samples[4].image is not None
    assert samples[4].image.getpixel((0, 0)) == (4, 0, 251)
    assert source.prompt == "Question: {question} Short answer:"
    assert not source.synthetic
    assert source.revision is None
    assert str(folder) in source.source


def test_an_annotator_who_wrote_nothing_keeps_the_place(tmp_path: Path) -> None:
    answers = ["", " 4 ", *["4"] * 7, None]
    samples = _read(
        _source("textvqa", write("textvqa", [row("textvqa", 0, answers=answers)], tmp_path))
    )
    assert samples[0].references == ("", *["4"] * 8, "")


def test_coco_rows_ask_for_a_caption_and_hold_five(tmp_path: Path) -> None:
    folder = write("coco", [row("coco", i) for i in range(3)], tmp_path)
    samples = _read(_source("coco", folder))
    assert len(samples) == 3
    assert samples[1].prompt == "A short image description:"
    assert samples[1].references == tuple(f"caption 1 {letter}." for letter in "abcde")


def test_scienceqa_keeps_rows_with_an_image_and_both_answers(tmp_path: Path) -> None:
    rows = [row("scienceqa", i, **({"image": None} if i == 1 else {})) for i in range(4)]
    rows[3]["hint"] = None
    folder = write("scienceqa", rows, tmp_path)
    source = _source("scienceqa", folder)
    samples = _read(source)
    assert [s.sample_id for s in samples] == [f"scienceqa-test-{i:06d}" for i in (0, 2, 3)]
    assert source.skipped == ()  # a row without an image is no broken row
    assert [s.references for s in samples] == [("ant",), ("house 2",), ("ant",)]
    assert [s.letter_reference for s in samples] == ["a", "c", "a"]
    assert samples[1].prompt == (
        "Question: Which of these is the biggest? Options: (a) ant (b) cow (c) house 2. Answer:"
    )
    letters = _read(_source("scienceqa", folder, answer_form="letter"))
    assert [s.references for s in letters] == [("a",), ("c",), ("a",)]
    assert [s.text_reference for s in letters] == ["ant", "house 2", "ant"]


def test_scienceqa_prompt_with_a_hint(tmp_path: Path) -> None:
    folder = write("scienceqa", [row("scienceqa", 1)], tmp_path)
    assert _read(_source("scienceqa", folder))[0].prompt == (
        "Context: Look at the picture. Question: Which of these is the biggest? "
        "Options: (a) ant (b) cow (c) house 1. Answer:"
    )


@pytest.mark.parametrize("name", NAMES)
def test_odd_images_pass_and_a_broken_one_is_named(name: str, tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    odd = {
        3: stored(Image.new("RGB", (1, 1), (9, 8, 7))),
        5: stored(cmyk, "JPEG"),
        7: stored(Image.new("RGB", (6000, 6000), (1, 2, 3)), "JPEG"),
        9: {"bytes": encoded(plain())[:60], "path": "cut.png"},
    }
    rows = [row(name, i, **({"image": odd[i]} if i in odd else {})) for i in range(24)]
    source = _source(name, write(name, rows, tmp_path))
    samples = _read(source, 24)
    assert len(samples) == 23
    assert len(source.skipped) == 1
    assert source.skipped[0].startswith(f"{name}-")
    assert "cannot be decoded" in source.skipped[0]
    images = {sample.sample_id: sample.image for sample in samples}
    assert all(image is not None and image.mode == "RGB" for image in images.values())
    sizes = [image.size for image in images.values() if image is not None]
    assert sizes[3] == (1, 1)
    assert sizes[7] == (6000, 6000)
    red = list(images.values())[5]
    assert red is not None
    pixel = red.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > 60 > pixel[1]


BROKEN = {
    "textvqa": (
        {"question": None},
        {"question": "  "},
        {"answers": None},
        {"answers": [None, ""]},
        {"image": None},
        {"image": {"bytes": None, "path": "gone.jpg"}},
    ),
    "coco": ({"answer": []}, {"answer": None}, {"image": stored(b"GIF89a")}),
    "scienceqa": (
        {"question": None},
        {"choices": None},
        {"choices": ["a", None]},
        {"answer": 3},
        {"answer": -1},
        {"answer": None},
    ),
}


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, faults in BROKEN.items() for fault in faults]
)
def test_a_broken_row_is_skipped_and_named(
    name: str, fault: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row(name, i, **(fault if i == 2 else {})) for i in range(20)]
    source = _source(name, write(name, rows, tmp_path))
    assert len(_read(source, 19)) == 19
    assert len(source.skipped) == 1
    position, reason = source.skipped[0].split(": ", 1)
    assert position.endswith(("34604", "000002", "000000000002.jpg"))
    assert reason


def test_more_than_five_percent_broken_is_an_error(tmp_path: Path) -> None:
    rows = [row("textvqa", i, **({"question": None} if i in (3, 8) else {})) for i in range(39)]
    source = _source("textvqa", write("textvqa", rows, tmp_path))
    with pytest.raises(DataError, match=r"2 broken beside at most 37 good samples.*textvqa-34605"):
        _read(source, 38)
    # 2 of 40 is 5 %, and that is not more than 5 %.
    rows.append(row("textvqa", 39))
    source = _source("textvqa", write("textvqa", rows, tmp_path))
    assert len(_read(source, 38)) == 38
    assert len(source.skipped) == 2


def test_broken_data_stops_as_soon_as_it_is_certain(tmp_path: Path) -> None:
    rows = [row("textvqa", i, question=None) for i in range(50)]
    source = _source("textvqa", write("textvqa", rows, tmp_path))
    with pytest.raises(DataError, match="broken"):
        _read(source, 10)
    assert len(source.skipped) == 1


def test_a_second_reading_counts_afresh(tmp_path: Path) -> None:
    rows = [row("coco", i, **({"answer": None} if i == 0 else {})) for i in range(21)]
    source = _source("coco", write("coco", rows, tmp_path))
    first, second = _read(source, 20), _read(source, 20)
    assert [s.sample_id for s in first] == [s.sample_id for s in second]
    assert len(source.skipped) == 1


@pytest.mark.parametrize("name", NAMES)
def test_save_to_disk_folders(name: str, tmp_path: Path) -> None:
    rows = [row(name, i) for i in range(3)]
    table = pa.Table.from_pylist(rows, schema=datasets.Features(FEATURES[name]).arrow_schema)
    data = datasets.Dataset(table)
    from_parquet = _read(_source(name, write(name, rows, tmp_path / "parquet")))
    data.save_to_disk(str(tmp_path / "one"))
    split = "test" if name == "scienceqa" else "validation"
    datasets.DatasetDict({"train": data, split: data}).save_to_disk(str(tmp_path / "splits"))
    for folder in ("one", "splits"):
        samples = _read(_source(name, tmp_path / folder))
        assert [s.prompt for s in samples] == [s.prompt for s in from_parquet]
        assert [s.references for s in samples] == [s.references for s in from_parquet]
        for ours, theirs in zip(samples, from_parquet, strict=True):
            assert ours.image is not None
            assert theirs.image is not None
            assert ours.image.tobytes() == theirs.image.tobytes()
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "train"))
    with pytest.raises(DataError, match="found train"):
        _read(_source(name, tmp_path / "train"))


def test_only_the_layouts_split_is_read(tmp_path: Path) -> None:
    write("textvqa", [row("textvqa", i) for i in range(2)], tmp_path)
    ours = tmp_path / "data" / "validation-00000-of-00001.parquet"
    (tmp_path / "data" / "train-00000-of-00001.parquet").write_bytes(b"not read")
    assert len(_read(_source("textvqa", tmp_path))) == 2
    assert len(_read(_source("textvqa", ours))) == 2
    ours.unlink()
    with pytest.raises(DataError, match=r"other splits only.*reads validation"):
        _read(_source("textvqa", tmp_path))


def test_parquet_without_the_hubs_metadata(tmp_path: Path) -> None:
    columns = {
        "question_id": [5],
        "image": [stored(plain())],
        "question": ["what is it?"],
        "answers": [["tea"]],
    }
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    assert _read(_source("textvqa", tmp_path))[0].references == ("tea",)


def test_what_is_not_data_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        _read(_source("coco", tmp_path / "gone"))
    with pytest.raises(DataError, match="neither Parquet files nor a save_to_disk folder"):
        _read(_source("coco", tmp_path))
    (tmp_path / "val-0.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="cannot be read") as caught:
        _read(_source("coco", tmp_path))
    assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"image": [stored(plain())]}), tmp_path / "val-0.parquet")
    with pytest.raises(DataError, match=r"no column question_id, answer; coco needs"):
        _read(_source("coco", tmp_path))
    empty = write("coco", [], tmp_path / "empty")
    with pytest.raises(DataError, match="hold no rows"):
        _read(_source("coco", empty))


def test_a_damaged_page_is_an_error_in_one_line(tmp_path: Path) -> None:
    folder = write("coco", [row("coco", i) for i in range(50)], tmp_path)
    file = folder / "data" / "val-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    content[4:2000] = bytes(1996)  # the footer stays whole: only reading the pages can tell
    file.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read") as caught:
        _read(_source("coco", folder))
    assert "\n" not in str(caught.value)


def test_a_data_set_without_one_usable_row(tmp_path: Path) -> None:
    folder = write("scienceqa", [row("scienceqa", i, image=None) for i in range(3)], tmp_path)
    with pytest.raises(DataError, match="no sample in it"):
        _read(_source("scienceqa", folder))


def test_an_unreachable_hub_names_the_ways_on() -> None:
    code = (
        "from layerscope.core.run_config import RunConfig\n"
        "from layerscope.workload.data import open_samples\n"
        "from layerscope.core.errors import EnvironmentProblem\n"
        "for name in ('textvqa', 'scienceqa'):\n"
        "    config = RunConfig(model='m', dataset=name, device='cpu', dtype='fp32')\n"
        "    try:\n"
        "        next(iter(open_samples(config).samples(1)))\n"
        "    except EnvironmentProblem as error:\n"
        "        print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("textvqa", "scienceqa"), strict=True):
        assert "--data-dir" in line
        assert f"--dataset synthetic-{name}" in line


def test_unknown_and_contradicting_options() -> None:
    with pytest.raises(UsageError, match=r"nearest is textvqa; known are coco") as caught:
        _source("textqva", None)
    assert all(name in str(caught.value) for name in DATASETS)
    with pytest.raises(UsageError, match="drawn, not read"):
        _source("synthetic-coco", Path("somewhere"))
    with pytest.raises(UsageError, match="less than one batch of 16"):
        _source("synthetic-coco", None, batch_size=16)
    assert _source("textvqa", None).revision == "9c0699cd19768ac5ab97568f6b3cbac4c0062884"
    for name in ("synthetic-random", "synthetic-textvqa"):
        source = _source(name, None)
        assert source.synthetic
        assert source.name == name
        assert source.skipped == ()
