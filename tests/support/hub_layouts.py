"""Writes Parquet files with the columns, types and metadata of the three data sets on the hub."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

TEXT, TEXTS, INT = datasets.Value("string"), datasets.List(datasets.Value("string")), "int32"
FEATURES = {
    "textvqa": {
        "image_id": TEXT,
        "question_id": datasets.Value(INT),
        "question": TEXT,
        "question_tokens": TEXTS,
        "image": datasets.Image(),
        "image_width": datasets.Value(INT),
        "image_height": datasets.Value(INT),
        "flickr_original_url": TEXT,
        "flickr_300k_url": TEXT,
        "answers": TEXTS,
        "image_classes": TEXTS,
        "set_name": TEXT,
        "ocr_tokens": TEXTS,
    },
    "scienceqa": {
        "image": datasets.Image(),
        "question": TEXT,
        "choices": TEXTS,
        "answer": datasets.Value("int8"),
        "hint": TEXT,
        "task": TEXT,
        "grade": TEXT,
        "subject": TEXT,
        "topic": TEXT,
        "category": TEXT,
        "skill": TEXT,
        "lecture": TEXT,
        "solution": TEXT,
    },
    "coco": {
        "question_id": TEXT,
        "image": datasets.Image(),
        "question": TEXT,
        "answer": TEXTS,
        "id": datasets.Value("int64"),
        "license": datasets.Value("int8"),
        "file_name": TEXT,
        "coco_url": TEXT,
        "height": datasets.Value(INT),
        "width": datasets.Value(INT),
        "date_captured": TEXT,
    },
}
SPLIT = {"textvqa": "validation", "scienceqa": "test", "coco": "val"}


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """The image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def stored(image: Image.Image | bytes | None, form: str = "PNG") -> dict[str, Any] | None:
    """An image as a hub column holds it."""
    if image is None:
        return None
    return {"bytes": image if isinstance(image, bytes) else encoded(image, form), "path": "a.jpg"}


def plain(shade: int = 90, size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A small RGB image."""
    return Image.new("RGB", size, (shade, 0, 255 - shade))


def row(name: str, number: int, **changes: Any) -> dict[str, Any]:
    """A good row of the data set; `changes` replaces columns."""
    image = stored(plain(number % 256))
    good: dict[str, dict[str, Any]] = {
        "textvqa": {
            "image_id": f"{number:016x}",
            "question_id": 34602 + number,
            "question": f"what number is on player {number}?",
            "question_tokens": ["what", "number"],
            "image": image,
            "answers": [str(number)] * 8 + ["unanswerable", f"no. {number}"],
            "image_classes": ["Person"],
            "set_name": "val",
            "ocr_tokens": [str(number)],
        },
        "scienceqa": {
            "image": image,
            "question": "Which of these is the biggest?",
            "choices": ["ant", "cow", f"house {number}"],
            "answer": number % 3,
            "hint": "Look at the picture." if number % 2 else "",
            "task": "closed choice",
        },
        "coco": {
            "question_id": f"COCO_val2014_{number:012d}.jpg",
            "image": image,
            "question": "Please carefully observe the image and come up with a caption.",
            "answer": [f"caption {number} {letter}." for letter in "abcde"],
            "id": number,
        },
    }
    return {**dict.fromkeys(FEATURES[name]), **good[name], **changes}


def write(name: str, rows: list[dict[str, Any]], folder: Path, files: int = 1) -> Path:
    """Write the rows below `folder` in the hub's file layout; return the folder."""
    schema = datasets.Features(FEATURES[name]).arrow_schema
    (folder / "data").mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // files)
    for part in range(files):
        table = pa.Table.from_pylist(rows[part * size : (part + 1) * size], schema=schema)
        path = folder / "data" / f"{SPLIT[name]}-{part:05d}-of-{files:05d}.parquet"
        pq.write_table(table, path)
    return folder
