"""Decoding stored images: every mode becomes RGB as an eye would see it; damage is a DataError."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from support.hub_layouts import encoded, plain

from layerscope.core.errors import DataError
from layerscope.workload.data.images import decode


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    grey = np.full((4, 4), 0x8000, dtype=np.uint16)
    image = decode(encoded(Image.fromarray(grey)))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_over_white(mode: str) -> None:
    clear = Image.new(mode, (2, 2), (0,) * len(mode))
    assert decode(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)


def test_palettes_with_and_without_transparency() -> None:
    palette = plain().convert("P", palette=Image.Palette.ADAPTIVE)
    assert decode(encoded(palette)).getpixel((0, 0)) == (90, 0, 165)
    assert decode(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_bilevel(mode: str) -> None:
    assert decode(encoded(Image.new(mode, (3, 3), 255))).getpixel((1, 1)) == (255, 255, 255)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = decode(encoded(plain(size=(30, 20)), "JPEG", exif=exif.tobytes()))
    assert turned.size == (20, 30)


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_460, 14_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(DataError, match="pixels"):
        decode(_png_header(side, side))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        None,
        {"bytes": None, "path": "a.jpg"},
        b"no image at all",
        encoded(plain())[:50],
        encoded(plain(size=(300, 200)), "JPEG")[:400],
        _png_header(50, 50),
    ],
)
def test_damage_is_an_error_with_a_reason(damage: object) -> None:
    with pytest.raises(DataError, match=r"bytes|decoded"):
        decode(damage)
