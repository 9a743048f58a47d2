"""Files of arrays: `.npz` and `.npy`, known by their content and not by their suffix."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data import images
from zoo.data.checked import checked_pixels
from zoo.data.contents import named_damage, remedy_for_shards, split_to_read
from zoo.data.images import Images, of_four_axes
from zoo.data.records import GivenLabels, Records
from zoo.io.names import printable

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".npz", ".npy", ".zip", ".tar", ".tgz", ".gz")  # of what is meant as a file
SAMPLED = 256  # images of a mapped array that are looked at when it is opened
ACCEPTED = (
    "Expected an .npz file with x_train, x_test (and y_train, y_test), or with images (and labels);"
    " an .npy file of images; or images in a folder, a .zip or a .tar archive"
)


class Mapped(Records):
    """An array in a file, of which only what is taken is read."""

    def __init__(self, array: np.ndarray, what: str, **known: Any) -> None:
        """Checks what can be without reading it; `known` is for `Records`.

        Args:
            array: Memory-mapped.
            what: What it is, for errors.
            **known: Labels and notes.

        Raises:
            ValueError: As `Images`, where the shape, the dtype or the first images show it.
        """
        self._array = of_four_axes(array, what)
        first = self._array[:SAMPLED]
        looks_black = first.dtype == np.uint8 and first.max() <= 1
        checked_pixels(self._array if looks_black else first, what)
        dtype = np.float32 if first.dtype.kind == "f" else np.uint8
        super().__init__(len(array), self._array.shape[1:], dtype, what=what, **known)

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        taken = np.asarray(self._array[np.asarray(indices)])
        # Whether uint8 is meant is seen in all images together: a few may be black.
        return taken if taken.dtype == np.uint8 else checked_pixels(taken, self.what)


def open_split(path: Path, split: str) -> Records:
    """The images of a split of an .npz file, or of an .npy file, which is every split at once.

    Arrays that are too large for memory are mapped, if they are not compressed.

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
        with named_damage(name):
            large = path.stat().st_size > images.MEMORY_LIMIT
            pixels = np.load(path, mmap_mode="r" if large else None, allow_pickle=False)
        return Mapped(pixels, name) if large else Images(pixels, what=name)
    # A file cut short has a zip's beginning, but no directory at its end.
    if start.startswith(b"PK") or path.suffix.lower() == ".npz":
        return _open_npz(path, split)
    msg = f"{name} is no file of arrays, and no archive of images."
    raise ValueError(msg + (remedy_for_shards(path.name) or f" {ACCEPTED}."))


def splits(path: Path) -> list[str]:
    """The names of the splits of a file; none if it serves as every split."""
    if not zipfile.is_zipfile(path):
        return []
    with named_damage(printable(path)), zipfile.ZipFile(path) as archive:
        members = [member.removesuffix(".npy") for member in archive.namelist()]
    if "images" in members:
        return []
    return [member.removeprefix("x_") for member in members if member.startswith("x_")]


def _open_npz(path: Path, split: str) -> Records:
    name = printable(path)
    with named_damage(name), np.load(path, allow_pickle=False) as file:
        there = list(file.files)
        of_pixels, of_labels = "images", "labels"
        notes: list[str] = []
        if "images" not in there:
            splits = [name.removeprefix("x_") for name in there if name.startswith("x_")]
            split, notes = split_to_read(split, splits)
            of_pixels, of_labels = f"x_{split}", f"y_{split}"
        mapped = _mapped(path, f"{of_pixels}.npy") if of_pixels in there else None
        pixels = file[of_pixels] if of_pixels in there and mapped is None else mapped
        labels, fault = _labels(file, of_labels, name) if of_labels in there else (None, "")
    if pixels is None:
        msg = (
            f"{name} has no array {of_pixels!r}, only {sorted(there)}. Expected x_train, x_test "
            "(and y_train, y_test), or images (and labels)."
        )
        raise ValueError(msg)
    what, what_labels = f"{name}: {of_pixels}", f"{name}: {of_labels}"
    if mapped is not None:
        return Mapped(mapped, what, given=GivenLabels(labels, what_labels, fault), notes=notes)
    return Images(pixels, labels, what=what, what_labels=what_labels, notes=notes, unlabelled=fault)


def _mapped(path: Path, member: str) -> np.ndarray | None:
    """An array of an .npz file, mapped where it begins; None if it is small or compressed."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(member)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size <= images.MEMORY_LIMIT:
        return None
    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)  # of the lengths of the name and what follows it
        lengths = struct.unpack("<HH", file.read(4))
        file.seek(entry.header_offset + 30 + sum(lengths))
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(file)
        order: Any = "F" if fortran else "C"
        return np.memmap(file, dtype, "r", file.tell(), shape, order)


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
