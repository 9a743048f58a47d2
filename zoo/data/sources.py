"""Reading a source into memory, with every fault of it named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import arrays, folder, sprites, tfds_source
from zoo.data.images import Contents, Images, Shape, known_size, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SOURCE = tfds_source.SAMPLE


def read(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> Images:
    """Reads a split into memory.

    In a folder, hidden files and folders and those of systems are skipped, as are files of other
    formats than `zoo.data.folder.SUFFIXES`; links are followed. Folders `train/`, `test/` and
    `val/` (or `training/`, `testing/`, `valid/`, `validation/`) are its splits, if no others hold
    images, or if `train/` and one of the others are there; else a tenth of the files, by a hash of
    their names, is the split `test`. The folders within a split, or else within the folder, are
    classes, if they hold images in any split, numbered in natural order (2 before 10).

    Where a folder, an `.npz` file or a TFDS data set has no test split, its validation split is
    read for it. `describe` says so, and what was skipped.

    Labels are checked when someone asks for `Images.labels`.

    Args:
        source: A TFDS name; `"sprites"`, drawn by `zoo.data.sprites`; a folder of images, as
            above; an `.npz` file with `x_train`, `x_test` and perhaps `y_train`, `y_test`, or with
            `images` and perhaps `labels`; an `.npy` file; an array [n, height, width] or
            [n, height, width, channels], uint8, bool or float in [0, 1]; or `Images`. An array,
            `images`, an `.npy` file or `Images` is every split at once.
        split: Name of the split; TFDS slices such as `"train[:10%]"` too.
        image_shape: (height, width, channels) to convert images to: centre-cropped to the aspect
            ratio, resized with antialiasing, alpha composited over white. None keeps the source's.

    Returns:
        The images.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ConnectionError: If a data set must be downloaded and cannot.
        ValueError: If the source is unknown, empty, corrupt (the file is named), of the wrong rank
            or dtype, holds NaN or values outside its range, or has no such split.
    """
    shape = None if image_shape is None else _shape(image_shape)
    if isinstance(source, Images):
        images = source
    elif isinstance(source, np.ndarray):
        images = Images(source, what="The array")
    elif _is_array_file(source):
        images = arrays.read(Path(source).expanduser(), split)
    elif is_folder(source):
        images = folder.read(Path(source), split, shape)
    elif isinstance(source, str) and source == sprites.NAME:
        images = Images(*sprites.read(split), sprites.SHAPES, what=source)
    elif isinstance(source, str):
        images = tfds_source.read(source, split, shape)
    else:
        msg = f"A source of type {type(source).__name__}: expected a name, path or NumPy array."
        raise ValueError(msg)
    found = images.pixels.shape[1:]
    if shape is None or found == shape:
        return images
    if images.pixels.dtype != np.uint8:
        msg = (
            f"The images have shape {found} but {shape} was asked for. Resize them, or give them "
            "as uint8, which is resized here."
        )
        raise ValueError(msg)
    pixels = np.stack([folder.convert(folder.from_array(p), shape) for p in images.pixels])
    return images.with_pixels(pixels)


def describe(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> str:
    """What `read` with the same arguments finds: a line on images and classes, and notes.

    The notes say what was skipped and why, and how splits were made. Folders are not decoded for
    it, and TFDS data sets not read.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `read`.
    """
    shape = None if image_shape is None else _shape(image_shape)
    return _contents(source, split).text(printable(source_name(source)), split, shape)


def number_of_classes(source: Any) -> int:
    """Classes of a labelled source: those it names, or one more than the largest training label.

    Raises:
        ValueError: If it has no labels, or labels that number most classes without an image, or
            from 1; and as `read`.
    """
    if is_folder(source):
        classes = folder.number_of_classes(Path(source))
    elif _is_tfds(source) and (declared := tfds_source.number_of_classes(source)):
        classes = declared
    else:
        classes = read(source, split="train").number_of_classes()
    if not classes:
        msg = f"{printable(source_name(source))} has no labels, which a conditional model needs."
        raise ValueError(msg)
    return classes


def class_names(source: Any) -> list[str] | None:
    """The name of each class, in the order of their numbers; None where they are only numbered.

    Raises:
        FileNotFoundError, ValueError: As `read`.
    """
    names: Sequence[str] | None = None
    if isinstance(source, Images):
        names = source.class_names
    elif is_folder(source):
        names = folder.class_names(Path(source))
    elif source_name(source) == sprites.NAME:
        names = sprites.SHAPES
    elif _is_tfds(source):
        names = tfds_source.class_names(source)
    return list(names) if names else None


def image_shape(source: Any, size: int | None = None) -> tuple[int, int, int]:
    """(height, width, channels) of a source's images, read from as little of it as will do.

    Args:
        source: As for `read`.
        size: Take this for height and width.

    Raises:
        ValueError: If the images differ in size and `size` is None.
    """
    if is_folder(source):
        shape = folder.shape(Path(source))
    elif _is_tfds(source):
        shape = tfds_source.shape(source)
    else:
        shape = read(source, split="train").pixels.shape[1:]
    height, width, channels = shape
    return known_size((size or height, size or width, channels), printable(source_name(source)))


def source_name(source: Any) -> str:
    """What a run folder keeps of a source: a TFDS name, an absolute path, or "array"."""
    if is_folder(source) or _is_array_file(source):
        return str(Path(source).expanduser().resolve())
    return source if isinstance(source, str) else "array"


def is_folder(source: Any) -> bool:
    """Whether a source is meant as a folder: it is one, or is spelled as a path."""
    if not isinstance(source, (str, Path)) or not str(source) or _is_array_file(source):
        return False
    return (
        isinstance(source, Path)
        or Path(source).is_dir()
        or source.startswith((".", "/", "~"))
        or "\\" in source
    )


def _shape(image_shape: Sequence[int]) -> Shape:
    height, width, channels = image_shape
    return int(height), int(width), int(channels)


def _contents(source: Any, split: str) -> Contents:
    if is_folder(source):
        return folder.contents(Path(source), split)
    if _is_tfds(source):
        return tfds_source.contents(source, split)
    return read(source, split=split).contents()


def _is_array_file(source: Any) -> bool:
    """Whether a source is meant as a file: it is one, or has the suffix and is no folder."""
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source).expanduser()
    return path.is_file() or (path.suffix.lower() in arrays.SUFFIXES and not path.is_dir())


def _is_tfds(source: Any) -> bool:
    return (
        isinstance(source, str)
        and source != sprites.NAME
        and not is_folder(source)
        and not _is_array_file(source)
    )
