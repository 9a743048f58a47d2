"""Image files: opened upright, and converted to a shape."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from zoo.data.images import Shape, counted, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
ORIENTATION = 0x0112  # the tag in EXIF; above 4 width and height change places


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The image of a file, turned upright."""
    with _named(file), Image.open(file) as image:
        if image.mode.startswith(("I", "F")):
            msg = f"mode {image.mode}; expected 8 bits per channel"
            raise ValueError(msg)
        yield ImageOps.exif_transpose(image)


def read_file(file: Path, shape: Shape) -> np.ndarray:
    """The image of a file as `convert` makes it."""
    with opened(file) as image:
        return convert(image, shape)


def convert(image: Image.Image, shape: Shape) -> np.ndarray:
    """Fits an image to a shape.

    Args:
        image: Any mode of 8 bits; alpha is composited over white.
        shape: (height, width, 1 or 3): the image is centre-cropped to the aspect ratio and resized
            with antialiasing.

    Returns:
        uint8 of `shape`.
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if shape[2] == 1 else "RGB")
    size = (shape[1], shape[0])
    if image.size != size:
        image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape)


def from_array(pixels: np.ndarray) -> Image.Image:
    """An image of uint8 [height, width, 1, 3 or 4]."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def read_headers(paths: list[Path]) -> tuple[tuple[int | None, int | None, int], list[str]]:
    """(height, width, channels), None where files differ; and notes on what is left out."""
    sizes, modes, animations, transparent = set(), set(), 0, 0
    for path in paths:
        with _named(path), Image.open(path) as image:
            turned = image.format == "JPEG" and image.getexif().get(ORIENTATION, 1) > 4
            sizes.add(image.size[::-1] if turned else image.size)
            modes.add(image.mode)
            # What phones call a JPEG may hold a preview as its second frame.
            animations += image.format != "MPO" and getattr(image, "n_frames", 1) > 1
            transparent += image.has_transparency_data
    notes = []
    if animations:
        notes.append(f"The first frame is taken of {counted(animations, 'file')} with several.")
    if transparent:
        notes.append(f"{counted(transparent, 'image')} with transparency: composited over white.")
    return size_of_all(sizes, modes), notes


def size_of_all(sizes: set[tuple[int, int]], modes: set[str]) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of images of these sizes and modes; None where they differ."""
    channels = 1 if modes <= {"1", "L"} else 3
    if len(sizes) > 1:
        return None, None, channels
    width, height = next(iter(sizes))
    return height, width, channels


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Makes every error name the file: Pillow raises many kinds of errors on damaged ones."""
    try:
        yield
    except Exception as error:
        why = printable(str(error))
        msg = f"{printable(file)} is not a readable image ({why}). Remove or replace it."
        raise ValueError(msg) from error
