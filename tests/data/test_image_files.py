"""Image files: what earlier versions read is read as before; 16 bits and alpha keep theirs."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from zoo import data
from zoo.data.image_files import TURNS, fit, read_file, read_header, summary

RNG = np.random.default_rng(3)
COLOURS = RNG.integers(0, 256, (9, 14, 4)).astype(np.uint8)


def _by_earlier_versions(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("L" if shape[2] == 1 else "RGB")
        if image.size != shape[1::-1]:
            image = ImageOps.fit(image, shape[1::-1], Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(shape)


def _png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits, uint16 [height, width, 1 to 4], written by the specification."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _write(path: Path, mode: str) -> Path:
    image = Image.fromarray(COLOURS)
    exif = Image.Exif()
    if mode.startswith("EXIF"):
        exif[0x0112] = int(mode[-1])
        mode = "RGB"
    if mode == "P with alpha":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = 3
    else:
        image = image.convert("L").convert(mode) if mode in ("PA", "LA") else image.convert(mode)
    image.save(path, exif=exif)
    return path


FILES = [
    *((".png", mode) for mode in ("1", "L", "LA", "P", "P with alpha", "RGB", "RGBA")),
    *((".jpg", mode) for mode in ("L", "RGB", "CMYK", *(f"EXIF {i}" for i in range(1, 9)))),
    *((".webp", mode) for mode in ("RGB", "RGBA", "EXIF 6")),
    *((".bmp", mode) for mode in ("1", "L", "P", "RGB")),
    *((".gif", mode) for mode in ("L", "P", "P with alpha")),
    *((".tif", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "EXIF 8")),
    *((".png", f"EXIF {i}") for i in (3, 5)),
    (".ppm", "RGB"),
    (".pgm", "L"),
]


@pytest.mark.parametrize(("suffix", "mode"), FILES)
def test_pixels_are_those_of_earlier_versions(suffix: str, mode: str, tmp_path: Path) -> None:
    """From a file and from its bytes, at its own size and at others."""
    file = _write(tmp_path / f"x{suffix}", mode)
    head = read_header(file)
    assert read_header(file.read_bytes()) == head
    for shape in ((*head.size, 3), (*head.size, 1), (5, 5, 3), (20, 12, 1)):
        wanted = _by_earlier_versions(file, shape)
        np.testing.assert_array_equal(read_file(file, shape), wanted)
        np.testing.assert_array_equal(read_file(file.read_bytes(), shape), wanted)
    grey = mode in ("1", "L") and suffix != ".gif"
    assert head.channels == 1 if grey else head.channels in (1, 3)
    assert not any((head.deep, head.reduced, head.animated))
    turned = mode.startswith("EXIF") and int(mode[-1]) > 4
    assert head.size == ((14, 9) if turned else (9, 14))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits_keeps_all(channels: int, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 1 << 16, (6, 7, channels)).astype(np.uint16)
    file = tmp_path / "x.png"
    file.write_bytes(_png(pixels))
    head = read_header(file)
    assert (head.deep, head.reduced, head.size) == (True, False, (6, 7))
    assert head.transparent == (channels in (2, 4))
    values = (pixels / 65535.0).astype(np.float32)
    if channels in (2, 4):
        colours = values[..., :1] if channels == 2 else values[..., :3]
        alpha = values[..., -1:]
        whole = np.concatenate([np.broadcast_to(colours, (6, 7, 3)), alpha], axis=-1)
        np.testing.assert_allclose(read_file(file, (6, 7, 4), np.float32), whole, atol=1e-7)
        values = colours * alpha + 1 - alpha
    values = np.broadcast_to(values, (6, 7, 3))
    for source in (file, file.read_bytes()):
        np.testing.assert_allclose(read_file(source, (6, 7, 3), np.float32), values, atol=1e-7)
    luma = values @ [0.299, 0.587, 0.114]
    found = read_file(file, (6, 7, 1), np.float32)
    np.testing.assert_allclose(found[..., 0], luma, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_grey_of_16_bits_in_other_formats(suffix: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 1 << 16, (6, 7)).astype(np.uint16)
    file = tmp_path / f"x{suffix}"
    Image.fromarray(pixels).save(file)
    assert read_header(file).deep
    found = read_file(file, (6, 7, 1), np.float32)
    np.testing.assert_allclose(found[..., 0], pixels / 65535, atol=1e-7)


def test_deep_images_are_turned_and_resized_as_others(tmp_path: Path) -> None:
    """8 bits times 257 are the same image of 16 bits: the sizes, turns and crops agree."""
    for channels in (1, 3, 4):
        pixels = COLOURS[..., :channels]
        deep = _png(pixels.astype(np.uint16) * 257)
        for shape in ((9, 14, channels), (5, 5, channels), (20, 12, channels)):
            found = read_file(deep, shape, np.float32)
            wanted = fit(pixels, shape).astype(np.float32) / 255
            opaque = np.ones_like(wanted[..., :1]) if channels < 4 else wanted[..., 3:]
            # 8 bits are rounded, those with alpha after a multiplication with it.
            assert (np.abs(found - wanted) * opaque).max() < 0.01
    exif = Image.Exif()
    for turn in TURNS:
        exif[0x0112] = turn
        Image.fromarray(COLOURS[..., :3]).save(tmp_path / "x.png", exif=exif)
        turned = read_file(tmp_path / "x.png", (*read_header(tmp_path / "x.png").size, 3))
        chunk = (tmp_path / "x.png").read_bytes().partition(b"eXIf")[2]
        size = (tmp_path / "x.png").read_bytes().partition(b"eXIf")[0][-4:]
        whole = size + b"eXIf" + chunk[: struct.unpack(">I", size)[0] + 4]
        before, kind, after = _png(COLOURS[..., :3].astype(np.uint16) * 257).partition(b"IDAT")
        deep = before[:-4] + whole + before[-4:] + kind + after
        assert read_header(deep).size == turned.shape[:2]
        np.testing.assert_allclose(
            read_file(deep, turned.shape, np.float32), turned / 255, atol=1e-6
        )


def test_alpha_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_file(tmp_path / "x.png", (9, 14, 4)), COLOURS)
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "x.png")
    found = read_file(tmp_path / "x.png", (9, 14, 4))
    np.testing.assert_array_equal(found, np.dstack([*[COLOURS[..., 0]] * 3, np.full((9, 14), 255)]))


def test_a_folder_with_one_deep_image_is_float32(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 51, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 13107 + 1, np.uint16)).save(tmp_path / "b.png")
    for split in ("train", "test"):
        images = data.read(tmp_path, split=split)
        assert images.pixels.dtype == np.float32
        value = float(images.pixels[0, 0, 0, 0])
        assert value in (float(np.float32(0.2)), float(np.float32(13108) / np.float32(65535)))


def test_colour_of_16_bits_in_tiff_is_read_with_8_and_said() -> None:
    """A TIFF of one strip, written by the specification."""
    pixels = RNG.integers(0, 1 << 16, (2, 2, 3)).astype("<u2")
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24)]  # fmt: skip
    body = struct.pack("<HHH", 16, 16, 16) + pixels.tobytes()
    directory = struct.pack("<H", len(tags))
    for tag, kind, count, value in tags:
        directory += struct.pack("<HHII", tag, kind, count, value)
    content = b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory + struct.pack("<I", 0)
    head = read_header(content)
    assert (head.deep, head.reduced) == (False, True)
    np.testing.assert_array_equal(read_file(content, (2, 2, 3)), pixels >> 8)
    assert "1 colour image with 16 bits per channel: read with 8." in summary({head: 1}).notes[0]
    kept = summary({read_header(_png(pixels.astype(np.uint16))): 1, head: 1})
    assert "1 image with 16 bits per channel: all are kept as float32" in kept.notes[0]
    assert kept.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [2, 5, 16])
def test_arrays_of_any_number_of_channels_are_fitted(channels: int, dtype: type) -> None:
    """Each channel as a grey image of its own."""
    pixels = RNG.integers(0, 256, (9, 14, channels)).astype(np.uint8)
    found = fit(pixels if dtype is np.uint8 else (pixels / 255).astype(dtype), (5, 6, channels))
    assert (found.dtype, found.shape) == (dtype, (5, 6, channels))
    for i in range(channels):
        wanted = fit(pixels[..., i : i + 1], (5, 6, 1))[..., 0]
        scale = 1.0 if dtype is np.uint8 else 255.0
        # Bytes are rounded to whole numbers twice, along rows and along columns.
        assert np.abs(found[..., i] * scale - wanted).max() <= (0 if scale == 1.0 else 1.001)
    with pytest.raises(ValueError, match=f"Images of {channels} channels cannot be made images of"):
        fit(pixels, (5, 6, 3))


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"x\.png is not a readable image \(of no known"):
        read_header(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"a\.zip: x\.png is not a readable image \(of no known"):
        read_file(b"nothing", (4, 4, 1), name=lambda: "a.zip: x.png")
    whole = _png(RNG.integers(0, 1 << 16, (40, 40, 3)).astype(np.uint16))
    with pytest.raises(ValueError, match="y is not a readable image"):
        read_file(whole[: len(whole) // 2], (4, 4, 1), name=lambda: "y")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(ValueError, match="mode F, 32 bits per channel; expected 8 or 16"):
        read_header(tmp_path / "x.tif")
