"""Opening a source, with every fault of it named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.data import tfds_source
from zoo.data.contents import KINDS, Shape, known_size
from zoo.data.images import Images, converted, in_memory
from zoo.data.kinds import kind_of
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zoo.data.records import Records

DEFAULT_SOURCE = tfds_source.SAMPLE


def read(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> Images:
    """Reads a split into memory.

    In a folder, hidden files and folders and those of systems are skipped, as are files of other
    formats than `zoo.data.image_files.SUFFIXES`; links are followed. Folders `train/`, `test/` and
    `val/` (or `training/`, `testing/`, `valid/`, `validation/`) are its splits, if no others hold
    images, or if `train/` and one of the others are there; else a tenth of the files, by a hash of
    their names, is the split `test`. The folders within a split, or else within the folder, are
    classes, if they hold images in any split, numbered in natural order (2 before 10).

    A file `labels.csv` or `dataset.json` beside the images gives their labels in place of folders.

    Where a folder, an `.npz` file or a TFDS data set has no test split, its validation split is
    read in its place. `describe` says so, and what was skipped.

    Labels are checked when someone asks for `Images.labels`.

    Args:
        source: A TFDS name, or a folder that TFDS prepared; `"sprites"`, drawn by
            `zoo.data.sprites`; a folder of images, or a `.zip` or `.tar` of one, as above; an
            address of either that TensorFlow reads, such as `"gs://bucket/images"`; a folder that
            `zoo.data.prepare` wrote; a folder of parquet files of `datasets`; an `.npz` file with
            `x_train`, `x_test` and perhaps `y_train`, `y_test`, or with `images` and perhaps
            `labels`; an `.npy` file; an array [n, height, width] or [n, height, width, channels],
            uint8, bool or float in [0, 1]; or `Records`, such as `Images`. An array, `images`, an
            `.npy` file and `Records` serve as every split.
        split: Name of the split; TFDS slices such as `"train[:10%]"` too.
        image_shape: (height, width, channels) to convert images to: centre-cropped to the aspect
            ratio, resized with antialiasing. 4 channels are colour and alpha; with 1 or 3, alpha is
            composited over white. None keeps the source's.

    Returns:
        The images.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ConnectionError: If a data set must be downloaded and cannot.
        ValueError: If the source is unknown, empty, corrupt (the file is named), of the wrong rank
            or dtype, holds NaN or values outside its range, or has no such split.

    Example:
        >>> import numpy as np, zoo
        >>> images = zoo.data.read(np.zeros((5, 8, 8), "float32"))
        >>> images.pixels.shape, images.labels
        ((5, 8, 8, 1), None)
    """
    return in_memory(open(source, split=split, image_shape=image_shape))


def open(  # noqa: A001  (called as zoo.data.open)
    source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None
) -> Records:
    """Opens a split for reading any of its images in any order; none is decoded before.

    What can be known from names and headers is checked here; an image is checked when it is read.

    Args:
        source: As for `read`.
        split: As for `read`.
        image_shape: As for `read`.

    Returns:
        The images, and their labels.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `read`.

    Example:
        >>> import zoo
        >>> records = zoo.data.open("sprites", split="test", image_shape=(16, 16, 1))
        >>> records.take([0, 5, 2]).shape, records.labels[:3].tolist()
        ((3, 16, 16, 1), [0, 1, 2])
    """
    shape = None if image_shape is None else _shape(image_shape)
    return converted(kind_of(source).open(split, shape), shape)


def describe(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> str:
    """What `read` with the same arguments finds: a line on images and classes, and notes.

    The notes say what was skipped and why, and how splits were made. Folders are not decoded for
    it, and TFDS data sets not read.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `read`.

    Example:
        >>> import numpy as np, zoo
        >>> print(zoo.data.describe(np.zeros((5, 8, 8), "float32")))
        Data: array, train: 5 images of 8 × 8 × 1, no classes.
    """
    kind = kind_of(source)
    shape = None if image_shape is None else _shape(image_shape)
    return kind.contents(split).text(printable(kind.name), split, shape)


def number_of_classes(source: Any) -> int:
    """Classes of a labelled source: those it names, or one more than the largest training label.

    Raises:
        ValueError: If it has no labels, or labels that number most classes without an image, or
            from 1; and as `read`.

    Example:
        >>> import zoo
        >>> zoo.data.number_of_classes("fashion_mnist_sample")
        10
    """
    kind = kind_of(source)
    classes = kind.number_of_classes()
    if not classes:
        msg = f"{printable(kind.name)} has no labels, which a conditional model needs."
        raise ValueError(msg)
    return classes


def class_names(source: Any) -> list[str] | None:
    """The name of each class, in the order of their numbers; None where they are only numbered.

    Raises:
        FileNotFoundError, ValueError: As `read`.

    Example:
        >>> import zoo
        >>> zoo.data.class_names("sprites")
        ['square', 'ellipse', 'heart']
    """
    names = kind_of(source).class_names()
    return list(names) if names else None


def image_shape(
    source: Any, size: int | None = None, channels: int | None = None
) -> tuple[int, int, int]:
    """(height, width, channels) of a source's images, read from as little of it as will do.

    Args:
        source: As for `read`.
        size: Take this for height and width.
        channels: Take this for channels: 1 for grey, 3 for colour, 4 for colour with alpha.

    Raises:
        ValueError: If the images differ in size and `size` is None, or cannot have so many
            channels.

    Example:
        >>> import zoo
        >>> zoo.data.image_shape("fashion_mnist_sample", size=32)
        (32, 32, 1)
    """
    kind = kind_of(source)
    height, width, there = kind.shape()
    channels = there if channels is None else channels
    if channels != there and not {channels, there} <= set(KINDS):
        expected = ", ".join(map(str, KINDS)) if there in KINDS else there
        msg = (
            f"channels={channels}: expected {expected}, as the images of {printable(kind.name)} "
            f"have {there}."
        )
        raise ValueError(msg)
    return known_size((size or height, size or width, channels), printable(kind.name))


def source_name(source: Any) -> str:
    """What a run folder keeps of a source: a TFDS name, an absolute path, or "array".

    Example:
        >>> import zoo
        >>> zoo.data.source_name("fashion_mnist")
        'fashion_mnist'
    """
    return kind_of(source).name


def splits(source: Any) -> list[str]:
    """The names of a source's splits; `["all"]` if it serves as every split.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `read`.
    """
    return kind_of(source).splits()


def open_in_order(source: Any, split: str, image_shape: Sequence[int] | None) -> Records:
    """As `open`, for reading all images in order.

    A data set of TFDS in TFRecord files, which are not made for random access, is then no more in
    memory than any other.
    """
    shape = None if image_shape is None else _shape(image_shape)
    return converted(kind_of(source).open_in_order(split, shape), shape)


def common_shape(source: Any) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of a source's images; None where they differ.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: As `read`.
    """
    return kind_of(source).shape()


def prepared_folder(source: Any) -> Path | None:
    """The folder, if a source is one that `zoo data prepare` wrote."""
    return kind_of(source).prepared


def _shape(image_shape: Sequence[int]) -> Shape:
    height, width, channels = image_shape
    return int(height), int(width), int(channels)
