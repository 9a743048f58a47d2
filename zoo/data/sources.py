"""Reading a source into memory, with every fault of it named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import arrays, folder, sprites, tfds_source
from zoo.data.image_files import convert, from_array
from zoo.data.images import Contents, Images, Shape, known_size, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SOURCE = tfds_source.SAMPLE


def read(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> Images:
    """Reads a split into memory.

    In a folder, hidden files and folders and those of systems are skipped, as are files of other
    formats than `zoo.data.image_files.SUFFIXES`; links are followed. Folders `train/`, `test/` and
    `val/` (or `training/`, `testing/`, `valid/`, `validation/`) are its splits, if no others hold
    images, or if `train/` and one of the others are there; else a tenth of the files, by a hash of
    their names, is the split `test`. The folders within a split, or else within the folder, are
    classes, if they hold images in any split, numbered in natural order (2 before 10).

    Where a folder, an `.npz` file or a TFDS data set has no test split, its validation split is
    read in its place. `describe` says so, and what was skipped.

    Labels are checked when someone asks for `Images.labels`.

    Args:
        source: A TFDS name; `"sprites"`, drawn by `zoo.data.sprites`; a folder of images, as
            above; an `.npz` file with `x_train`, `x_test` and perhaps `y_train`, `y_test`, or with
            `images` and perhaps `labels`; an `.npy` file; an array [n, height, width] or
            [n, height, width, channels], uint8, bool or float in [0, 1]; or `Images`. An array,
            `images`, an `.npy` file and `Images` serve as every split.
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

    Example:
        >>> import numpy as np, zoo
        >>> images = zoo.data.read(np.zeros((5, 8, 8), "float32"))
        >>> images.pixels.shape, images.labels
        ((5, 8, 8, 1), None)
    """
    shape = None if image_shape is None else _shape(image_shape)
    images = _kind(source).read(split, shape)
    there = images.pixels.shape[1:]
    if shape is None or there == shape:
        return images
    if images.pixels.dtype != np.uint8:
        msg = (
            f"The images have shape {there} but {shape} was asked for. Resize them, or give them "
            "as uint8, which is resized here."
        )
        raise ValueError(msg)
    pixels = np.stack([convert(from_array(p), shape) for p in images.pixels])
    return images.with_pixels(pixels)


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
    kind = _kind(source)
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
    kind = _kind(source)
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
    names = _kind(source).class_names()
    return list(names) if names else None


def image_shape(source: Any, size: int | None = None) -> tuple[int, int, int]:
    """(height, width, channels) of a source's images, read from as little of it as will do.

    Args:
        source: As for `read`.
        size: Take this for height and width.

    Raises:
        ValueError: If the images differ in size and `size` is None.

    Example:
        >>> import zoo
        >>> zoo.data.image_shape("fashion_mnist_sample", size=32)
        (32, 32, 1)
    """
    kind = _kind(source)
    height, width, channels = kind.shape()
    return known_size((size or height, size or width, channels), printable(kind.name))


def source_name(source: Any) -> str:
    """What a run folder keeps of a source: a TFDS name, an absolute path, or "array".

    Example:
        >>> import zoo
        >>> zoo.data.source_name("fashion_mnist")
        'fashion_mnist'
    """
    return _kind(source).name


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


def _is_array_file(source: Any) -> bool:
    """Whether a source is meant as a file: it is one, or has the suffix and is no folder."""
    if not isinstance(source, (str, Path)):
        return False
    path = Path(source).expanduser()
    return path.is_file() or (path.suffix.lower() in arrays.SUFFIXES and not path.is_dir())


class _Source:
    """One kind of source. Without reading it, such a source knows nothing but its name.

    Attributes:
        name: What a run folder keeps of the source.
    """

    name: str

    def read(self, split: str, shape: Shape | None) -> Images:
        """The images of a split, perhaps of another shape than the one asked for."""
        raise NotImplementedError

    def contents(self, split: str) -> Contents:
        return self.read(split, None).contents()

    def number_of_classes(self) -> int:
        return self.read("train", None).number_of_classes()

    def class_names(self) -> Sequence[str] | None:
        return None

    def shape(self) -> tuple[int | None, int | None, int]:
        """(height, width, channels); None where images differ."""
        return self.read("train", None).pixels.shape[1:]


class _InMemory(_Source):
    """An array, or `Images`."""

    name = "array"

    def __init__(self, source: np.ndarray | Images) -> None:
        self.source = source

    def read(self, split: str, shape: Shape | None) -> Images:  # noqa: ARG002  (it is every split)
        if isinstance(self.source, Images):
            return self.source
        return Images(self.source, what="The array")

    def class_names(self) -> Sequence[str] | None:
        return self.source.class_names if isinstance(self.source, Images) else None


class _ArrayFile(_Source):
    def __init__(self, source: str | Path) -> None:
        self.path = Path(source).expanduser()
        self.name = str(self.path.resolve())

    def read(self, split: str, shape: Shape | None) -> Images:  # noqa: ARG002
        return arrays.read(self.path, split)


class _Folder(_Source):
    def __init__(self, source: str | Path) -> None:
        self.path = Path(source)
        self.name = str(self.path.expanduser().resolve())

    def read(self, split: str, shape: Shape | None) -> Images:
        return folder.read(self.path, split, shape)

    def contents(self, split: str) -> Contents:
        return folder.contents(self.path, split)

    def number_of_classes(self) -> int:
        return folder.number_of_classes(self.path)

    def class_names(self) -> Sequence[str] | None:
        return folder.class_names(self.path)

    def shape(self) -> tuple[int | None, int | None, int]:
        return folder.shape(self.path)


class _Sprites(_Source):
    name = sprites.NAME

    def read(self, split: str, shape: Shape | None) -> Images:  # noqa: ARG002
        return Images(*sprites.read(split), sprites.SHAPES, what=self.name)

    def class_names(self) -> Sequence[str] | None:
        return sprites.SHAPES


class _DataSet(_Source):
    """A data set of TFDS."""

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, split: str, shape: Shape | None) -> Images:
        return tfds_source.read(self.name, split, shape)

    def contents(self, split: str) -> Contents:
        return tfds_source.contents(self.name, split)

    def number_of_classes(self) -> int:
        return tfds_source.number_of_classes(self.name) or super().number_of_classes()

    def class_names(self) -> Sequence[str] | None:
        return tfds_source.class_names(self.name)

    def shape(self) -> tuple[int | None, int | None, int]:
        return tfds_source.shape(self.name)


def _kind(source: Any) -> _Source:
    """A source as one of the kinds above.

    Raises:
        ValueError: If it is of none.
    """
    if isinstance(source, (Images, np.ndarray)):
        return _InMemory(source)
    if _is_array_file(source):
        return _ArrayFile(source)
    if is_folder(source):
        return _Folder(source)
    if not isinstance(source, str):
        msg = f"A source of type {type(source).__name__}: expected a name, path or NumPy array."
        raise ValueError(msg)  # noqa: TRY004  (as for what is no source otherwise)
    return _Sprites() if source == sprites.NAME else _DataSet(source)
