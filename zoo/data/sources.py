"""Reading a source into memory, with every fault of it named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import folder, sprites, tfds_source

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SOURCE = tfds_source.SAMPLE


@dataclass(frozen=True)
class Images:
    """A split of a data set in memory.

    Attributes:
        pixels: uint8 in 0..255 or float32 in [0, 1], [n, height, width, channels].
        labels: int32 [n], or None where the source has none.
    """

    pixels: np.ndarray
    labels: np.ndarray | None


def read(source: Any, *, split: str = "train", image_shape: Sequence[int] | None = None) -> Images:
    """Reads a split into memory.

    Args:
        source: A TFDS name; `"sprites"`, drawn by `zoo.data.sprites`;
            a folder (with `train/` and `test/` folders, or else split 90 : 10 by
            a hash of the file names; the folders within are classes); an `.npz` file with
            `x_train`, `x_test` and perhaps `y_train`, `y_test`, or with `images` and perhaps
            `labels`; an array [n, height, width] or [n, height, width, channels], uint8 or float
            in [0, 1]; or `Images`. An array, `images` or `Images` is every split at once.
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
    shape = None
    if image_shape is not None:
        height, width, channels = image_shape
        shape = (int(height), int(width), int(channels))
    if isinstance(source, Images):
        images = source
    elif isinstance(source, np.ndarray):
        images = Images(_checked(source, "The array"), None)
    elif _is_npz(source):
        images = _read_npz(Path(source).expanduser(), split)
    elif _is_folder(source):
        images = Images(*folder.read(Path(source).expanduser(), split, shape))
    elif isinstance(source, str) and source == sprites.NAME:
        images = Images(*sprites.read(split))
    elif isinstance(source, str):
        images = Images(*tfds_source.read(source, split, shape))
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
    return Images(pixels, images.labels)


def number_of_classes(source: Any) -> int:
    """Classes of a labelled source: one more than the largest label of its training split.

    Raises:
        ValueError: If it has no labels; and as `read`.
    """
    labels = read(source, split="train").labels
    if labels is None:
        msg = f"{source_name(source)} has no labels, which a conditional model needs."
        raise ValueError(msg)
    return int(labels.max()) + 1


def image_shape(source: Any, size: int | None = None) -> tuple[int, int, int]:
    """(height, width, channels) of a source's images, read from as little of it as will do.

    Args:
        source: As for `read`.
        size: Take this for height and width.

    Raises:
        ValueError: If the images differ in size and `size` is None.
    """
    if _is_folder(source):
        shape = folder.shape(Path(source).expanduser())
    elif isinstance(source, str) and not _is_npz(source) and source != sprites.NAME:
        shape = tfds_source.shape(source)
    else:
        shape = read(source, split="train").pixels.shape[1:]
    height, width, channels = (size or shape[0], size or shape[1], shape[2])
    if height is None or width is None:
        msg = f"The images of {source} differ in size. Say which to resize to (--image-size)."
        raise ValueError(msg)
    return height, width, channels


def source_name(source: Any) -> str:
    """What a run folder keeps of a source: a TFDS name, an absolute path, or "array"."""
    if _is_folder(source) or _is_npz(source):
        return str(Path(source).expanduser().resolve())
    return source if isinstance(source, str) else "array"


def _is_folder(source: Any) -> bool:
    """Whether a source is meant as a folder: it is one, or is spelled as a path."""
    if isinstance(source, Path):
        return not _is_npz(source)
    return (
        isinstance(source, str)
        and not _is_npz(source)
        and (Path(source).is_dir() or source.startswith((".", "/", "~")) or "\\" in source)
    )


def _is_npz(source: Any) -> bool:
    return isinstance(source, (str, Path)) and Path(source).suffix == ".npz"


def _read_npz(path: Path, split: str) -> Images:
    if not path.exists():
        msg = f"{path} does not exist."
        raise FileNotFoundError(msg)
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        msg = f"{path} cannot be read as .npz: {error}"
        raise ValueError(msg) from error
    pixels, labels = ("images", "labels") if "images" in arrays else (f"x_{split}", f"y_{split}")
    if pixels not in arrays:
        msg = f"{path} has no array {pixels!r}, only {sorted(arrays)}. Choose another split?"
        raise ValueError(msg)
    images = _checked(arrays[pixels], f"{path}: {pixels}")
    if labels not in arrays:
        return Images(images, None)
    if arrays[labels].shape != (len(images),):
        msg = f"{path}: {labels} has shape {arrays[labels].shape}; expected ({len(images)},)."
        raise ValueError(msg)
    return Images(images, arrays[labels].astype(np.int32))


def _checked(pixels: np.ndarray, name: str) -> np.ndarray:
    """[n, height, width, channels], uint8 or float32, every value in range."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or not pixels.size:
        msg = f"{name} has shape {pixels.shape}; expected [n, height, width, channels], n ≥ 1."
        raise ValueError(msg)
    if pixels.shape[-1] not in (1, 3):
        msg = f"{name} has {pixels.shape[-1]} channels (shape {pixels.shape}); expected 1 or 3."
        raise ValueError(msg)
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        msg = f"{name} has dtype {pixels.dtype}; expected uint8 in 0..255 or float in [0, 1]."
        raise ValueError(msg)
    if np.isnan(pixels).any():
        msg = f"{name} has {int(np.isnan(pixels).sum())} NaN values. Remove those images."
        raise ValueError(msg)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0.0 or high > 1.0:
        msg = (
            f"{name} has values from {low:g} to {high:g}; expected [0, 1]. Divide by 255, or map "
            "[−1, 1] by (x + 1) / 2."
        )
        raise ValueError(msg)
    return pixels.astype(np.float32)
