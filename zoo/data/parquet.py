"""Folders of parquet files, as Hugging Face's `datasets` saves image data.

A column holds the bytes of image files (`{"bytes": …, "path": …}`, or bytes alone), another the
labels. Rows are stored in groups, and one image is read with its group: `zoo data prepare` makes
of such a folder one that trains faster. Needs the extra `parquet`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections import Counter, OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.contents import (
    SPLIT_NAMES,
    Shape,
    held_out,
    known_size,
    named_damage,
    split_to_read,
)
from zoo.data.image_files import Header, Summary, read_file, read_header, summary
from zoo.data.records import GivenLabels, Records, stacked
from zoo.io.names import printable

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = ("image", "img", "images", "jpg", "png")  # names of columns, the first that is there
LABELS = ("label", "labels", "fine_label", "class")
END = 64 << 10  # bytes of a file that hold what it says of itself
KEPT = 256 << 20  # bytes of encoded images of the groups that were read last


def is_parquet(folder: Path) -> bool:
    """Whether a folder holds parquet files, itself or in `data/` or a folder per split."""
    return folder.is_dir() and bool(_files(folder))


def splits(folder: Path) -> list[str]:
    """The names of the splits."""
    there = list(_splits(folder))
    return ["train", "test"] if there == ["train"] else there


def class_names(folder: Path) -> list[str] | None:
    """The names of the classes, where the files' metadata have them."""
    schema = _opened(next(iter(_splits(folder).values()))[0]).schema_arrow
    stored = (schema.metadata or {}).get(b"huggingface", b"")
    column = _column(schema, LABELS)
    with suppress(ValueError, KeyError, TypeError):  # other programs may write anything there
        names = json.loads(stored)["info"]["features"][column]["names"]
        return [str(name) for name in names]
    return None


def shape(folder: Path) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of the images of all splits; None where they differ."""
    return _summary(folder).shape


class ParquetRecords(Records):
    """A split of a folder of parquet files."""

    def __init__(self, folder: Path, split: str, shape: Shape | None) -> None:
        """Reads what the files say of themselves, their labels, and the heads of the images."""
        there = _splits(folder)
        name, wanted = printable(folder), split
        cut = list(there) == ["train"] and wanted in ("train", "test")
        split, notes = ("train", []) if cut else split_to_read(split, there)
        if split not in there:
            msg = f"{name} has no split {split!r}; it has {sorted(there)}."
            raise ValueError(msg)
        self._files = there[split]
        opened = [_opened(path) for path in self._files]
        schema = opened[0].schema_arrow
        self._column = column = _column_of_images(schema, name)
        labels = _column(schema, LABELS)
        for path, one in zip(self._files, opened, strict=True):
            there = one.schema_arrow.names
            if missing := [each for each in (column, labels) if each and each not in there]:
                msg = (
                    f"{printable(path)} has the columns {there}; expected also {missing[0]}, as in "
                    f"{self._files[0].name}. Remove the file, or write it again."
                )
                raise ValueError(msg)
        # Of each group of rows: the file, the group's number in it, and its first row of all.
        self._groups = [
            (file, group) for file, one in enumerate(opened) for group in range(one.num_row_groups)
        ]
        rows = [opened[file].metadata.row_group(group).num_rows for file, group in self._groups]
        self._starts = np.cumsum([0, *rows])
        self._chosen = np.arange(self._starts[-1])  # the rows of this split
        if cut:
            held, note = held_out([b"%d" % row for row in self._chosen], name, "rows")
            self._chosen = self._chosen[held == (wanted == "test")]
            notes = [f"There is no split but train: {note}"]
        heads = _summary(folder)
        super().__init__(
            len(self._chosen),
            shape or known_size(heads.shape, name),
            heads.dtype,
            GivenLabels(labels and functools.partial(self._labels, labels), f"{name}: {labels}"),
            class_names(folder),
            what=name,
            notes=notes,
        )
        self._lock = threading.Lock()
        self._read: OrderedDict[int, list[bytes]] = OrderedDict()

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        indices = self._chosen[np.asarray(indices, np.int64)]
        groups = np.searchsorted(self._starts, indices, "right") - 1
        encoded: list[bytes] = [b""] * len(indices)
        for group in np.unique(groups):
            rows = self._rows(int(group))
            for place in np.flatnonzero(groups == group):
                encoded[place] = rows[indices[place] - self._starts[group]]

        def decode(place: int) -> np.ndarray:
            def name() -> str:
                return f"{self.what}: row {indices[place]}"

            return read_file(encoded[place], self.shape, self.dtype, name=name)

        return stacked(decode, np.arange(len(indices)), self.shape, self.dtype)

    def index(self) -> str:
        """SHA-256 of the names and sizes of the files."""
        marks = "".join(f"{path.name}\0{path.stat().st_size}\0" for path in self._files)
        return hashlib.sha256(marks.encode("utf-8", "surrogateescape")).hexdigest()

    def sampled(self) -> str:
        """SHA-256 of the files' last 64 KiB, which say how large each column of each group is."""
        digest = hashlib.sha256()
        for path in self._files:
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - END, 0))
                digest.update(file.read())
        return digest.hexdigest()

    def _labels(self, column: str) -> np.ndarray:
        tables = [_opened(path).read(columns=[column]) for path in self._files]
        labels = np.concatenate([table.column(column).to_numpy() for table in tables])
        return labels[self._chosen]

    def _rows(self, group: int) -> list[bytes]:
        """The encoded images of a group; of those read last some are kept."""
        with self._lock:
            if group in self._read:
                self._read.move_to_end(group)
                return self._read[group]
        file, number = self._groups[group]
        rows = _encoded(self._files[file], number, self._column)
        with self._lock:
            self._read[group] = rows
            while len(self._read) > 1 and self._kept() > KEPT:
                self._read.popitem(last=False)
        return rows

    def _kept(self) -> int:
        return sum(len(image) for rows in self._read.values() for image in rows)


def _encoded(path: Path, group: int, column: str) -> list[bytes]:
    opened = _opened(path)
    with named_damage(printable(path)):
        table = opened.read_row_group(group, columns=[column])
        values = table.column(column).to_pylist()
    images = [value.get("bytes") if isinstance(value, dict) else value for value in values]
    # Text could be taken for the name of a file on this machine.
    return [image if isinstance(image, bytes) else b"" for image in images]


def _summary(folder: Path) -> Summary:
    """What the heads of the images of all splits say.

    A command asks several times: the files are read once for as long as none changes.
    """
    paths = [path for files in _splits(folder).values() for path in files]
    marks = ((path, path.stat()) for path in paths)
    return _summary_of(
        folder, tuple((path, at.st_ino, at.st_size, at.st_mtime_ns) for path, at in marks)
    )


@functools.lru_cache(maxsize=8)
def _summary_of(folder: Path, files: tuple[tuple[Path, int, int, int], ...]) -> Summary:
    heads: Counter[Header] = Counter()  # a million images have few
    last: bytes | None = None
    for path, *_ in files:
        opened = _opened(path)
        column = _column(opened.schema_arrow, IMAGES)
        for group in range(opened.num_row_groups) if column else ():
            for last in _encoded(path, group, column or ""):
                with suppress(ValueError):
                    heads[read_header(last)] += 1
    if last is None:
        _column_of_images(_opened(files[0][0]).schema_arrow, printable(folder))
        msg = f"{printable(folder)} holds no images: its files have no rows."
        raise ValueError(msg)
    return summary(heads or {read_header(last, name=lambda: printable(folder)): 1})  # which raises


def _splits(folder: Path) -> dict[str, list[Path]]:
    """The files of each split: named after it, as in train-00000-of-00002.parquet, or in it."""
    by_split: dict[str, list[Path]] = {}
    for path in _files(folder):
        within = path.relative_to(folder).parts[:-1]
        name = within[-1] if within and within[-1] != "data" else path.stem.split("-")[0]
        known = next((s for s, names in SPLIT_NAMES.items() if name.lower() in names), name)
        by_split.setdefault(known, []).append(path)
    return by_split


def _files(folder: Path) -> list[Path]:
    patterns = ("*.parquet", "data/*.parquet", "*/*.parquet")
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _column_of_images(schema: Any, name: str) -> str:
    """The name of the column with the images, of a file of a folder of this name."""
    column = _column(schema, IMAGES)
    if column is None:
        msg = f"{name} has the columns {schema.names}; expected one of {', '.join(IMAGES)}."
        raise ValueError(msg)
    return column


def _column(schema: Any, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def _opened(path: Path) -> Any:
    """A file, open for reading.

    Raises:
        ValueError: If it is damaged, or pyarrow is not installed.
    """
    try:
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415  (an extra)
    except ImportError as error:
        msg = "Parquet files need pyarrow: pip install 'vaegan-zoo[parquet]'."
        raise ValueError(msg) from error
    with named_damage(printable(path)):
        return ParquetFile(path)
