"""Image files, or their bytes: opened upright, and converted to a shape."""

from __future__ import annotations

import io
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.data import plain_png
from zoo.data.contents import KINDS, Shape, counted
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
)  # fmt: skip
DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".ppm", ".pgm")  # of what may have 16 bits per channel
GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L")
ORIENTATION = 0x0112  # the tag in EXIF; above 4 width and height change places
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LUMA = np.array([299, 587, 114], np.float32) / np.float32(1000)  # ITU-R 601-2, as Pillow has it


class Header(NamedTuple):
    """What the head of a file says.

    Attributes:
        size: (height, width), upright.
        channels: 1 if it is grey and opaque, else 3.
        deep: Whether it is read with 16 bits per channel.
        reduced: Whether it has 16 bits per channel, of which 8 are read.
        animated: Whether it has several frames.
        transparent: Whether it may have transparent pixels.
    """

    size: tuple[int, int]
    channels: int
    deep: bool
    reduced: bool
    animated: bool
    transparent: bool


@dataclass(frozen=True)
class Summary:
    """What the heads of several files say.

    Attributes:
        shape: (height, width, channels), None where files differ.
        dtype: What holds all of them: uint8, or float32 if one has 16 bits per channel.
        notes: What is left out, and how sizes differ, in sentences.
    """

    shape: tuple[int | None, int | None, int]
    dtype: np.dtype[Any]
    notes: list[str]


def read_file(
    source: str | Path | bytes,
    shape: Shape,
    dtype: Any = np.uint8,
    *,
    name: Callable[[], str] = str,
) -> np.ndarray:
    """The first frame of an image file, upright and fitted to a shape.

    Args:
        source: The file, or what it holds: PNG, JPEG, WebP, BMP, GIF, TIFF or PPM.
        shape: (height, width, 1, 3 or 4), as for `fit`.
        dtype: uint8, or float32 for values in [0, 1] that keep the precision of 16 bits.
        name: Says what errors call bytes, such as "x.zip: a/b.png".

    Returns:
        `dtype` of `shape`.

    Raises:
        ValueError: If it is no such image, or cut short. It is named.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> Image.new("L", (4, 2), 255).save("white.png")
        >>> read_file(Path("white.png"), (1, 1, 1)).tolist()
        [[[255]]]
    """
    with _named(source, name):
        content = source if isinstance(source, bytes) else _content(source)
        image = plain_png.decoded(content)
        if image is not None:
            return as_dtype(_fit_image(image, shape), dtype)
        with _opened(io.BytesIO(content)) as image:
            if _is_deep(image):
                return as_dtype(fit(_deep_pixels(image, content), shape), dtype)
            ImageOps.exif_transpose(image, in_place=True)
            return as_dtype(_fit_image(image, shape), dtype)


def fit(pixels: np.ndarray, shape: Shape) -> np.ndarray:
    """Fits an image to a shape: centre-cropped to the aspect, resized with antialiasing.

    1 channel is grey, 3 are red, green and blue, 4 have alpha too. Of these any is made of any
    other: colour becomes its luma, transparent pixels become white. Other numbers of channels stay.

    Args:
        pixels: uint8, or float32 in [0, 1]; [height, width, channels].
        shape: (height, width, channels).

    Returns:
        The same dtype, of `shape`.

    Raises:
        ValueError: If the number of channels differs and is not among 1, 3 and 4.

    Example:
        >>> fit(np.full((4, 6, 5), 0.5, np.float32), (2, 2, 5)).shape
        (2, 2, 5)
    """
    there, wanted = pixels.shape[-1], shape[2]
    check_channels(there, wanted)
    if pixels.dtype == np.uint8 and there in KINDS:
        return _fit_image(Image.fromarray(pixels[..., 0] if there == 1 else pixels), shape)
    size = (shape[1], shape[0])
    if there in KINDS:
        pixels = _with_channels(pixels, wanted)
    if pixels.shape[1::-1] == size:
        return pixels
    if wanted != 4:
        return _resized(pixels, size)
    # As Pillow does it: what is transparent has no colour to give to its neighbours.
    alpha = pixels[..., 3:]
    resized = _resized(np.concatenate([pixels[..., :3] * alpha, alpha], axis=-1), size)
    colours = resized[..., :3] / np.maximum(resized[..., 3:], np.finfo(np.float32).tiny)
    return np.concatenate([np.clip(colours, 0.0, 1.0), resized[..., 3:]], axis=-1)


def check_channels(there: int, wanted: int) -> None:
    """Raises ValueError if images of so many channels cannot be made images of so many others."""
    if there != wanted and not {there, wanted} <= set(KINDS):
        msg = (
            f"Images of {there} channels cannot be made images of {wanted}: only 1, 3 and 4 are "
            f"made of one another. Take {there} channels."
        )
        raise ValueError(msg)


def as_dtype(pixels: np.ndarray, dtype: Any) -> np.ndarray:
    """Pixels as uint8 in 0..255 or as float32 in [0, 1], whichever is asked for.

    Example:
        >>> as_dtype(np.array([0, 51, 255], np.uint8), np.float32).tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    if pixels.dtype == dtype:
        return pixels
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255.0)
    return np.round(pixels * np.float32(255.0)).astype(np.uint8)


def read_header(source: str | Path | bytes, *, name: Callable[[], str] = str) -> Header:
    """What the head of a file says; no pixels are decoded.

    Raises:
        ValueError: As `read_file`, where the head shows it.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> Image.new("RGB", (4, 2)).save("black.png")
        >>> read_header(Path("black.png"))[:3]
        ((2, 4), 3, False)
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with _named(source, name), _opened(file) as image:
        width, height = image.size
        # Pillow gives the size of a TIFF upright.
        turned = image.format != "TIFF" and _orientation(image) > 4
        several = getattr(image, "n_frames", 1) > 1
        return Header(
            (width, height) if turned else (height, width),
            1 if image.mode in GREY and not image.has_transparency_data else 3,
            _is_deep(image),
            _has_16_bits(image) and not _is_deep(image),
            # What phones call a JPEG may hold a preview as its second frame.
            several and image.format != "MPO",
            image.has_transparency_data,
        )


def summary(heads: Mapping[Header, int]) -> Summary:
    """What to expect of files with such heads.

    Args:
        heads: How many files have each; at least one head.

    Example:
        >>> heads = {Header((2, 4), 1, False, False, False, False): 5}
        >>> heads[Header((2, 8), 3, True, False, False, False)] = 1
        >>> kind = summary(heads)
        >>> kind.shape, kind.dtype.name
        ((None, None, 3), 'float32')
        >>> kind.notes[-1]
        'Images are 2 pixels high and 4 to 8 wide.'
    """

    def number(of: str) -> int:
        return sum(count for head, count in heads.items() if getattr(head, of))

    sizes = {head.size for head in heads}
    notes = []
    if animations := number("animated"):
        notes.append(f"The first frame is taken of {counted(animations, 'file')} with several.")
    if transparent := number("transparent"):
        notes.append(
            f"{counted(transparent, 'image')} with transparency: composited over white, unless 4 "
            "channels are read."
        )
    if deep := number("deep"):
        notes.append(
            f"{counted(deep, 'image')} with 16 bits per channel: all are kept as float32, which "
            "takes four times the memory of bytes."
        )
    if reduced := number("reduced"):
        notes.append(
            f"{counted(reduced, 'colour image')} with 16 bits per channel: read with 8. "
            "PNG keeps all 16."
        )
    height, width = min(sizes) if len(sizes) == 1 else (None, None)
    if len(sizes) > 1:
        high, wide = (_range(sides) for sides in zip(*sizes, strict=True))
        notes.append(f"Images are {high} pixels high and {wide} wide.")
    channels = max(head.channels for head in heads)
    return Summary((height, width, channels), np.dtype(np.float32 if deep else np.uint8), notes)


def _range(sides: Sequence[int]) -> str:
    low, high = min(sides), max(sides)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


@contextmanager
def _named(source: str | Path | bytes, name: Callable[[], str]) -> Iterator[None]:
    """Makes errors name the image: Pillow raises many kinds on damaged ones."""
    try:
        yield
    except Exception as error:
        what = name() or ("A picture" if isinstance(source, bytes) else printable(source))
        # Pillow names what it was given, which of bytes is an address in memory.
        why = printable(str(error))
        if isinstance(error, UnidentifiedImageError):
            why = "of no known format"
        msg = f"{what} is not a readable image ({why}). Remove or replace it."
        raise ValueError(msg) from error


@contextmanager
def _opened(file: Any) -> Iterator[Image.Image]:
    """The image, not decoded yet."""
    with Image.open(file) as image:
        _check_depth(image)
        yield image


def _content(path: str | Path) -> bytes:
    """As `path.read_bytes()`, in a third of the time: each call lets go of Python's lock."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(file).st_size
        content = os.read(file, size)
        while len(content) < size and (more := os.read(file, size - len(content))):
            content += more
        return content
    finally:
        os.close(file)


def _check_depth(image: Image.Image) -> None:
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        msg = f"mode {image.mode}, 32 bits per channel; expected 8 or 16"
        raise ValueError(msg)


def _is_deep(image: Image.Image) -> bool:
    """Whether 16 bits per channel can be read."""
    return image.mode.startswith("I") or (image.format == "PNG" and _has_16_bits(image))


def _has_16_bits(image: Image.Image) -> bool:
    """Whether the channels of a file have 16 bits; of colour, Pillow drops 8 of them."""
    for tile in getattr(image, "tile", ()):
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        most = args[1] if image.format == "PPM" and len(args) > 1 else 0
        if ";16" in str(args[0]) or (isinstance(most, int) and most > 255):
            return True
    return image.mode.startswith("I")


def _orientation(image: Image.Image) -> int:
    """EXIF's, as far as the head of the file has it: a PNG may be read whole to look for it."""
    known = image.format in ("JPEG", "MPO") or "exif" in image.info
    return image.getexif().get(ORIENTATION, 1) if known else 1


def _deep_pixels(image: Image.Image, content: bytes) -> np.ndarray:
    """float32 [height, width, 1, 3 or 4] in [0, 1], upright, of an image of 16 bits."""
    if image.mode.startswith("I"):
        pixels = np.asarray(ImageOps.exif_transpose(image))[..., None]
    else:
        import tensorflow as tf  # noqa: PLC0415  (Pillow reads 8 bits of these)

        pixels = tf.io.decode_png(content, dtype=tf.uint16).numpy()
        pixels = _turned(pixels, _orientation(image))
    pixels = pixels.astype(np.float32) / np.float32(65535.0)
    if pixels.shape[-1] == 2:  # grey and alpha
        pixels = pixels[..., [0, 0, 0, 1]]
    return pixels


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation not in TURNS:
        return pixels
    channels = (Image.fromarray(channel) for channel in np.moveaxis(pixels, -1, 0))
    turned = [np.asarray(channel.transpose(TURNS[orientation])) for channel in channels]
    return np.stack(turned, axis=-1)


def _fit_image(image: Image.Image, shape: Shape) -> np.ndarray:
    """uint8 of a shape with 1, 3 or 4 channels, from an image of any mode of 8 bits."""
    if image.has_transparency_data and shape[2] != 4:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[shape[2]]
    if image.mode != mode:  # it would be copied
        image = image.convert(mode)
    size = (shape[1], shape[0])
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.frombuffer(image.tobytes(), np.uint8).reshape(shape)


def _with_channels(pixels: np.ndarray, wanted: int) -> np.ndarray:
    """float32 in [0, 1] with 1, 3 or 4 channels as so many of another of these numbers."""
    if pixels.shape[-1] == 4 and wanted != 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + (1 - alpha)
    if pixels.shape[-1] == 1 and wanted != 1:
        pixels = np.repeat(pixels, 3, axis=-1)
    if pixels.shape[-1] == 3 and wanted == 1:
        return np.clip(pixels @ LUMA, 0.0, 1.0)[..., None]
    if pixels.shape[-1] == 3 and wanted == 4:
        return np.concatenate([pixels, np.ones_like(pixels[..., :1])], axis=-1)
    return pixels


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Each channel by itself, as Pillow does too; float32 as it is, else as uint8."""
    channels = [
        np.asarray(
            ImageOps.fit(
                Image.fromarray(np.ascontiguousarray(channel)), size, Image.Resampling.BILINEAR
            )
        )
        for channel in np.moveaxis(pixels, -1, 0)
    ]
    resized = np.stack(channels, axis=-1)
    return np.clip(resized, 0.0, 1.0) if resized.dtype == np.float32 else resized
