"""Files of arrays: `.npz` and `.npy`, known by their content and not by their suffix."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.images import Images, printable, split_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUFFIXES = (".npz", ".npy", ".zip", ".tar", ".tgz", ".gz")  # of what is meant as a file
ACCEPTED = (
    "Expected an .npz file with x_train, x_test (and y_train, y_test), or with images (and labels);"
    " an .npy file of images; or a folder of images"
)


def read(path: Path, split: str) -> Images:
    """The images of a split of an .npz file, or of an .npy file, which is every split at once.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or of another kind, or has no such split; and as `Images`.
    """
    name = printable(path)
    if not path.exists():
        msg = f"{name} does not exist."
        raise FileNotFoundError(msg)
    with path.open("rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        with _named(path):
            pixels = np.load(path, allow_pickle=False)
        return Images(pixels, what=name)
    # A file cut short has a zip's beginning, but no directory at its end.
    if start.startswith(b"PK") or path.suffix.lower() == ".npz":
        return _read_npz(path, split)
    kind = "is an archive, which must be unpacked" if _is_tar(path) else "is no file of arrays"
    msg = f"{name} {kind}. {ACCEPTED}."
    raise ValueError(msg)


def _read_npz(path: Path, split: str) -> Images:
    name = printable(path)
    with _named(path), zipfile.ZipFile(path) as archive:
        members = archive.namelist()
    if not any(member.endswith(".npy") for member in members):
        msg = f"{name} is an archive without arrays, such as {members[:2]}. Unpack it. {ACCEPTED}."
        raise ValueError(msg)
    with _named(path), np.load(path, allow_pickle=False) as file:
        there = list(file.files)
        of_pixels, of_labels = "images", "labels"
        notes: list[str] = []
        if "images" not in there:
            splits = [name.removeprefix("x_") for name in there if name.startswith("x_")]
            split, notes = split_to_read(split, splits)
            of_pixels, of_labels = f"x_{split}", f"y_{split}"
        pixels = file[of_pixels] if of_pixels in there else None
        labels, unlabelled = _labels(file, of_labels, name) if of_labels in there else (None, "")
    if pixels is None:
        msg = (
            f"{name} has no array {of_pixels!r}, only {sorted(there)}. Expected x_train, x_test "
            "(and y_train, y_test), or images (and labels)."
        )
        raise ValueError(msg)
    return Images(
        pixels,
        labels,
        what=f"{name}: {of_pixels}",
        what_labels=f"{name}: {of_labels}",
        notes=notes,
        unlabelled=unlabelled,
    )


def _labels(file: Any, key: str, name: str) -> tuple[Any, str]:
    """(labels, why they cannot be read): pickled ones are not, for pickles run code."""
    try:
        return file[key], ""
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
    msg = (
        f"{name}: {key} are Python objects, which are not loaded. Store class numbers, by "
        "`names, labels = np.unique(labels, return_inverse=True)`."
    )
    return None, msg


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error):  # such as a compressed file cut short
        return False


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Makes every error name the file: NumPy and zipfile raise many kinds on damaged ones."""
    try:
        yield
    except Exception as error:
        what = f"{error}" or type(error).__name__
        msg = (
            f"{printable(path)} cannot be read: {what}. Is it cut short or damaged? Copy or write "
            "it again."
        )
        raise ValueError(msg) from error
