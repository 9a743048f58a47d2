"""Plain PNG files are decoded as Pillow's reader decodes them; the others are left to it."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zoo.data.plain_png import decoded

COLOURS = np.random.default_rng(3).integers(0, 256, (9, 14, 4)).astype(np.uint8)


def _file(mode: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(COLOURS)
    image = image.convert("L").convert(mode) if mode == "LA" else image.convert(mode)
    image.save(file, "PNG", **options)
    return file.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + check


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_plain_files(mode: str) -> None:
    """Chunks that change no pixel may come before and after the data, and these in parts."""
    for options in ({}, {"dpi": (300, 300), "icc_profile": b"x" * 100}, {"compress_level": 0}):
        content = _file(mode, **options)
        image = decoded(content)
        with Image.open(io.BytesIO(content)) as wanted:
            assert image is not None
            assert (image.mode, image.size) == (mode, (14, 9))
            np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))
    start = content.index(b"IDAT") - 4
    end = content.index(b"IEND") - 4
    data, time = content[start + 8 : end - 4], _chunk(b"tIME", bytes(7))
    parts = _chunk(b"IDAT", data[:5]) + _chunk(b"IDAT", b"") + _chunk(b"IDAT", data[5:])
    again = decoded(content[:start] + parts + time + content[end:])
    assert again is not None
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image))


def test_what_is_not_plain_is_left_to_pillow() -> None:
    text, exif = PngInfo(), Image.Exif()
    text.add_text("XML:com.adobe.xmp", 'tiff:Orientation="6"')
    exif[0x0112] = 6
    interlaced = bytearray(_file("RGB"))
    interlaced[28] = 1
    interlaced[29:33] = zlib.crc32(interlaced[12:29]).to_bytes(4, "big")
    for content in (
        _file("1"),
        _file("P"),
        _file("RGB", pnginfo=text),
        _file("RGB", exif=exif),
        _file("RGB", transparency=(1, 2, 3)),
        bytes(interlaced),
        b"GIF89a",
        b"",
    ):
        assert decoded(content) is None


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_damaged_files_are_read_as_pillow_reads_them(mode: str) -> None:
    """One that this reader takes has the pixels that Pillow's reader finds."""
    content = _file(mode, dpi=(300, 300))
    damaged = [content[:length] for length in range(len(content))]
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        damaged.append(bytes(changed))
    taken = 0
    for each in damaged:
        image = decoded(each)
        if image is not None:
            taken += 1
            with Image.open(io.BytesIO(each)) as wanted:
                np.testing.assert_array_equal(np.asarray(image), np.asarray(wanted))
    assert 0 < taken < len(damaged) // 2
