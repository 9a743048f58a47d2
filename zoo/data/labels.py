"""Labels of image files from a file beside them: `labels.csv`, or StyleGAN's `dataset.json`.

`labels.csv` has the columns `file`, a path relative to its folder, and `label`: the name of a class
or its number. `dataset.json` is what StyleGAN's dataset_tool.py writes:
`{"labels": [["00000/img00000000.png", 6], …]}`.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.contents import counted, shown
from zoo.io.names import nearest
from zoo.io.records import parse_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

CSV, JSON = FILES = ("labels.csv", "dataset.json")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
WHOLE = re.compile("0|[1-9][0-9]{0,17}")

Parts = tuple[str, ...]  # of a path relative to the folder
Row = tuple[str, str, Any]  # its place, file and label


@dataclass(frozen=True)
class LabelFile:
    """What a file of labels says.

    Attributes:
        name: The file, for errors.
        numbers: The class number of each image file.
        class_names: Name of each class, in the order of their numbers; None if only numbered.
        fault: The error that asking for the labels raises; empty if there is none.
    """

    name: str
    numbers: Mapping[Parts, int]
    class_names: list[str] | None = None
    fault: str = ""

    def of(self, files: Sequence[Parts]) -> tuple[np.ndarray | None, str]:
        """(int64 [n] or None, why there are none) of image files."""
        if self.fault:
            return None, self.fault
        return np.array([self.numbers[file] for file in files], np.int64), ""


def read_labels(
    contents: Mapping[str, bytes], files: Collection[Parts], where: str
) -> LabelFile | None:
    r"""The labels that the files beside images give.

    Args:
        contents: What each of `FILES` that is there holds.
        files: All image files.
        where: The folder or archive, for errors.

    Returns:
        None if no such file has labels. A fault, such as a label for a file that is not there, is
        kept in what is returned: it matters to conditional models alone.

    Example:
        >>> from zoo.data.labels import read_labels
        >>> table = b"file,label\na.png,boot\nb.png,bag\n"
        >>> read_labels({"labels.csv": table}, [("a.png",), ("b.png",)], "shoes").numbers
        {('a.png',): 1, ('b.png',): 0}
    """
    tables = {}
    for name in (name for name in FILES if name in contents):
        place = f"{where}/{name}"
        try:
            rows = (_rows_of_csv if name == CSV else _rows_of_json)(contents[name])
        except ValueError as error:
            return LabelFile(place, {}, fault=f"{place}: {error}")
        if rows is not None:
            tables[place] = rows
    if len(tables) > 1:
        msg = f"There are labels in {' and in '.join(tables)}. Remove one of the files."
        return LabelFile(where, {}, fault=msg)
    if not tables:
        return None
    place, rows = tables.popitem()
    try:
        return _labelled(place, rows, files)
    except ValueError as error:
        return LabelFile(place, {}, fault=f"{place}: {error}")


def natural_order(name: str) -> tuple[list[tuple[int, int]], str]:
    """Sorts names as text does, but runs of digits by their value: 2 before 10.

    Example:
        >>> from zoo.data.labels import natural_order
        >>> sorted(["10", "2", "b"], key=natural_order)
        ['2', '10', 'b']
    """
    runs = re.findall("[0-9]+|[^0-9]", name, re.DOTALL)
    # A run of digits stands where text has its first digit.
    key = [(ord("0"), int(run)) if run[0] in "0123456789" else (ord(run), 0) for run in runs]
    return key, name


def _rows_of_csv(content: bytes) -> list[Row]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"it is not UTF-8 ({error}). Save it as UTF-8."
        raise ValueError(msg) from error
    table = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        return _rows_of_table(table)
    except csv.Error as error:
        msg = f"up to line {table.line_num}: {error}. Is a quote not closed?"
        raise ValueError(msg) from error


def _rows_of_table(table: Any) -> list[Row]:
    columns = [name.strip() for name in next(table, [])]
    lower = [name.lower() for name in columns]
    if not {"file", "label"} <= set(lower):
        msg = (
            f"columns {', '.join(map(repr, columns)) or 'none'}; expected file and label, named in "
            "the first line and separated by a comma."
        )
        raise ValueError(msg)
    file, label = lower.index("file"), lower.index("label")
    rows = []
    for fields in table:
        if not fields:  # an empty line
            continue
        row = f"line {table.line_num}"
        if len(fields) != len(columns) or not fields[label].strip():
            msg = (
                f"{row}: {fields}; expected {counted(len(columns), 'value')}, and a label. Names "
                'with a comma need quotes, "like, this".'
            )
            raise ValueError(msg)
        rows.append((row, fields[file], fields[label].strip()))
    return rows


def _rows_of_json(content: bytes) -> list[Row] | None:
    """None if it is another program's file, or has no labels."""
    if b'"labels"' not in content:
        return None
    entries = parse_json(content, "the file")
    entries = entries.get("labels") if isinstance(entries, dict) else None
    if entries is None:
        return None
    expected = 'expected [["PATH", CLASS NUMBER], …]'
    if not isinstance(entries, list):
        msg = f"labels are of type {type(entries).__name__}; {expected}."
        raise ValueError(msg)  # noqa: TRY004  (as for what is wrong in it otherwise)
    for i, entry in enumerate(entries):
        good = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        if not good or type(entry[1]) is not int:
            quoted = good and isinstance(entry[1], str)
            remedy = " Write the number without quotes; names go into labels.csv." if quoted else ""
            msg = f"labels, entry {i}: {str(entry)[:100]}; {expected}.{remedy}"
            raise ValueError(msg)
    return [(f"entry {i}", file, label) for i, (file, label) in enumerate(entries)]


def _labelled(place: str, rows: Sequence[Row], files: Collection[Parts]) -> LabelFile:
    """The labels of all files, each of them once.

    Raises:
        ValueError: If a row names no image, or an image has no row or several.
    """
    known = set(files)
    seen: dict[Parts, str] = {}
    labels: dict[Parts, Any] = {}
    for row, file, label in rows:
        parts = _parts(file, known)
        if parts in seen:
            msg = f"{seen[parts]} and {row} both label {file!r}. Remove one."
            raise ValueError(msg)
        if parts not in known:
            near = nearest(file, _near(parts, known))
            meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            msg = f"{row}: {file!r} is no image that is there. Correct or remove the row.{meant}"
            raise ValueError(msg)
        seen[parts], labels[parts] = row, label
    without = sorted(known - labels.keys())
    if without:
        msg = (
            f"{counted(len(without), 'image')} without a label, such as {shown(without[0])}. Add "
            "a row for each, or remove it."
        )
        raise ValueError(msg)
    names = _class_names((row, labels[parts]) for parts, row in seen.items())
    if names is None:
        return LabelFile(place, {parts: int(label) for parts, label in labels.items()})
    numbers = {name: number for number, name in enumerate(names)}
    return LabelFile(place, {parts: numbers[label] for parts, label in labels.items()}, names)


def _class_names(labels: Iterable[tuple[str, Any]]) -> list[str] | None:
    """The names of the classes in natural order; None if all are numbers.

    Raises:
        ValueError: If some are names and some are numbers, or one is a number that is not whole.
    """
    first: dict[bool, tuple[str, Any]] = {}  # by whether it is a number
    names = set()
    for row, label in labels:
        number = isinstance(label, int) or bool(WHOLE.fullmatch(label))
        if not number and NUMBER.fullmatch(label):
            msg = (
                f"{row}: label {label}: expected a name, or a class number: digits from 0 on, "
                "without a sign, a point or zeros before them."
            )
            raise ValueError(msg)
        first.setdefault(number, (row, label))
        names.add(label)
    if len(first) > 1:
        (a, name), (b, number) = first[False], first[True]
        msg = (
            f"{a} has the name {name!r}, {b} the number {number}. Give all labels as names, or all "
            "as numbers."
        )
        raise ValueError(msg)
    return None if True in first else sorted(names, key=natural_order)


def _parts(file: str, known: Collection[Parts]) -> Parts:
    """The parts of a path in a file of labels, which Windows may have written."""
    parts = PurePosixPath(file).parts
    windows = PurePosixPath(file.replace("\\", "/")).parts
    return windows if windows in known and parts not in known else parts


def _near(parts: Parts, known: Collection[Parts]) -> list[str]:
    """Paths that may have been meant: of the same name elsewhere, or in the same folder."""
    same = [each for each in known if each[-1:] == parts[-1:]]
    beside = [each for each in known if each[:-1] == parts[:-1]]
    return [shown(each) for each in (same or beside)[:1000]]
