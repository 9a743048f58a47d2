"""A folder of PNG and JPEG files."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg")
SPLITS = ("train", "test")
Shape = tuple[int, int, int]


def read(folder: Path, split: str, shape: Shape | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels uint8 [n, height, width, channels], and labels int32 [n] if classes are folders.

    Every file is decoded here, so that a corrupt one is found before training begins.
    """
    root, files = _files(folder, split)
    wanted = shape or _common_shape(folder, files)
    pixels = np.stack([_convert(file, wanted) for file in files])
    classes = [file.relative_to(root).parts[0] for file in files]
    if any(len(file.relative_to(root).parts) < 2 for file in files):
        return pixels, None
    # All files of the split's root, so that train and test number the classes alike.
    names = sorted({file.relative_to(root).parts[0] for file in _image_files(root)})
    return pixels, np.array([names.index(name) for name in classes], np.int32)


def shape(folder: Path) -> tuple[int | None, int | None, int]:
    """(height, width, channels); None where files differ."""
    files = _image_files(_existing(folder))
    sizes, modes = set(), set()
    for file in files:
        with _opened(file) as image:
            sizes.add(image.size)
            modes.add(image.mode)
    channels = 1 if modes <= {"1", "L"} else 3
    if len(sizes) > 1:
        return None, None, channels
    width, height = sizes.pop()
    return height, width, channels


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


def _files(folder: Path, split: str) -> tuple[Path, list[Path]]:
    """The root under which classes are folders, and the files of the split, in a fixed order."""
    folder = _existing(folder)
    if split not in SPLITS:
        msg = f"{folder} has no split {split!r}; a folder has {SPLITS}."
        raise ValueError(msg)
    if any((folder / name).is_dir() for name in SPLITS):
        if not (folder / split).is_dir():
            msg = f"{folder} has no folder {split!r}, but the other split's. Add it."
            raise ValueError(msg)
        return folder / split, _image_files(folder / split)
    files = _image_files(folder)
    ranked = sorted(
        files, key=lambda f: hashlib.sha256(str(f.relative_to(folder)).encode()).digest()
    )
    held_out = set(ranked[: max(1, len(files) // 10)])
    chosen = [file for file in files if (file in held_out) == (split == "test")]
    if not chosen:
        msg = f"{folder} has {len(files)} image; expected at least 2, to hold one out as test."
        raise ValueError(msg)
    return folder, chosen


def _existing(folder: Path) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        msg = f"The folder {folder} does not exist."
        raise FileNotFoundError(msg)
    return folder


def _image_files(folder: Path) -> list[Path]:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        msg = f"{folder} holds no images ({', '.join(SUFFIXES)})."
        raise ValueError(msg)
    return files


def _common_shape(folder: Path, files: list[Path]) -> Shape:
    height, width, channels = shape(folder)
    if height is None or width is None:
        msg = (
            f"The {len(files)} images of {folder} differ in size. Say which to resize to "
            "(image_shape, or --image-size)."
        )
        raise ValueError(msg)
    return height, width, channels


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """The image of a file, turned upright; whatever fails while it is open names the file."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                msg = f"mode {image.mode}; expected 8 bits a channel"
                raise ValueError(msg)  # noqa: TRY301  (to be given the file's name below)
            yield ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"{file} is not a readable image ({error}). Remove or replace it."
        raise ValueError(msg) from error


def _convert(file: Path, shape: Shape) -> np.ndarray:
    with _opened(file) as image:
        return convert(image, shape)
