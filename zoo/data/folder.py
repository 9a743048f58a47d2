"""Image files in folders: their splits, classes and labels."""

from __future__ import annotations

import functools
import hashlib
import heapq
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.checked import checked_labels, count_classes
from zoo.data.contents import (
    SPLIT_NAMES,
    VERIFY,
    Contents,
    Shape,
    counted,
    held_out,
    known_size,
    remedy_for_shards,
    shortened,
    shown,
    split_to_read,
    unlabelled_note,
)
from zoo.data.image_files import (
    DEEP_SUFFIXES,
    SUFFIXES,
    Header,
    Summary,
    read_file,
    read_header,
    summary,
)
from zoo.data.labels import LabelFile, Parts, natural_order, read_labels
from zoo.data.records import GivenLabels, Records, stacked
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zoo.data.trees import Tree

SAMPLED, START = 256, 64 << 10  # files whose first bytes tell them from others of the same size
MOST_READ = 8  # sets of files of which it is kept what their heads say

_heads_read: dict[tuple[str, int, Any], Summary | None] = {}


@dataclass(frozen=True)
class Listing:
    """The image files of a split.

    Attributes:
        tree: Where they are.
        files: The files of the split, in order.
        root: Parts of the split's folder, whose folders are classes; empty if splits have none.
        classes: The names of the classes of all splits, in the order of their numbers; none where
            they are only numbered.
        notes: What was skipped and why, and how splits were made, in sentences.
        given: The file of labels, which then count, and not the class folders.
    """

    tree: Tree
    files: list[Parts]
    root: Parts
    classes: list[str]
    notes: list[str]
    given: LabelFile | None = None

    def labels(self) -> tuple[np.ndarray | None, str]:
        """(class numbers [n] or None, why there are none although there are classes)."""
        if self.given is not None:
            return self.given.of(self.files)
        level = len(self.root)
        beside = [file for file in self.files if len(file) == level + 1]
        if len(beside) == len(self.files):
            return None, ""
        if beside:
            msg = (
                f"{self.tree.name}: {counted(len(beside), 'image')} beside the class "
                f"folders, such as {shown(beside[0])}, without a class. Move each into a class "
                "folder, or remove it."
            )
            return None, msg
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[file[level]] for file in self.files], np.int32), ""


class FileRecords(Records):
    """The images of a split, with labels if classes are folders; files are decoded when read."""

    def __init__(self, tree: Tree, split: str, shape: Shape | None) -> None:
        """Lists the files, and reads the headers of those that may have 16 bits per channel.

        Without a shape it reads those of the others too.
        """
        listing = find(tree, split)
        labels, unlabelled = listing.labels()
        dtype: Any = None
        if shape is None:
            heads = _summary(tree)
            shape, dtype = known_size(heads.shape, tree.name), heads.dtype
        what = listing.given.name if listing.given else "The labels"
        super().__init__(
            len(listing.files),
            shape,
            dtype or _dtype(tree),
            GivenLabels(labels, what, unlabelled),
            _names(listing) or None,
            what=listing.tree.name,
            notes=listing.notes,
        )
        self._listing = listing

    def take(self, indices: Any) -> np.ndarray:
        """The images of these numbers, in the order asked."""
        tree, files = self._listing.tree, self._listing.files

        def read(index: int) -> np.ndarray:
            file = files[index]
            return read_file(
                tree.file(file), self.shape, self.dtype, name=functools.partial(tree.shown, file)
            )

        return stacked(read, indices, self.shape, self.dtype)

    def image_name(self, number: int) -> str:
        """The file, relative to the tree."""
        return shown(self._listing.files[number])

    def index(self) -> str:
        """SHA-256 of the names of the files, relative to the tree, and their sizes."""
        digest = hashlib.sha256()
        for file in self._listing.files:
            name, size = os.fsencode(Path(*file)), self._listing.tree.size(file)
            digest.update(b"%s\0%d\0" % (name, size))
        return digest.hexdigest()

    def sampled(self) -> str:
        """SHA-256 of the first 64 KiB of 256 files, chosen by a hash of their names."""
        files = {os.fsencode(Path(*file)): file for file in self._listing.files}
        digest = hashlib.sha256()
        for name in heapq.nsmallest(SAMPLED, files, lambda name: hashlib.sha256(name).digest()):
            with suppress(OSError, ValueError):  # it is named once it is read
                digest.update(_start(self._listing.tree.file(files[name])))
        return digest.hexdigest()


def _start(file: str | bytes) -> bytes:
    """The first bytes of a file, given its path or what it holds."""
    if isinstance(file, bytes):
        return file[:START]
    with open(file, "rb") as opened:  # noqa: PTH123  (a path may be no UTF-8)
        return opened.read(START)


def contents(tree: Tree, split: str) -> Contents:
    """What `FileRecords` would hold, from the names and headers of the files."""
    listing = find(tree, split)
    labels, unlabelled = listing.labels()
    heads = _summary(tree)
    notes = [*listing.notes, *heads.notes, *([unlabelled_note(unlabelled)] if unlabelled else [])]
    if labels is None:
        return Contents(len(listing.files), heads.shape, notes=notes)
    try:
        classes = _count(listing, labels)
    except ValueError as error:
        return Contents(len(listing.files), heads.shape, notes=[*notes, unlabelled_note(error)])
    counts = np.bincount(labels, minlength=classes)
    names = _names(listing) or None
    return Contents(len(listing.files), heads.shape, classes, names, counts, notes)


def number_of_classes(tree: Tree) -> int:
    """The number of class folders, of all splits; 0 if the training split has no labels.

    Raises:
        ValueError: If some images of the training split are in none; and as `find`.
    """
    listing = find(tree, "train")
    labels, unlabelled = listing.labels()
    if unlabelled:
        raise ValueError(unlabelled)
    return 0 if labels is None else _count(listing, labels)


def class_names(tree: Tree) -> list[str]:
    """The names of the classes of all splits, in the order of their numbers."""
    files, roots, _ = _survey(tree)
    classes, _, _ = _classes(tree, files, [(name,) for name in roots.values()] or [()])
    return [printable(name) for name in classes]


def splits(tree: Tree) -> list[str]:
    """The names of the splits, as `find` takes them."""
    return list(_survey(tree)[1]) or ["train", "test"]


def shape(tree: Tree) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of the images of all splits; None where they differ.

    Files that cannot be read do not count: they are found when they are read, and may be skipped.
    """
    return _summary(tree).shape


def find(tree: Tree, split: str) -> Listing:
    """The files of a split, as `zoo.data.read` describes folders.

    Raises:
        FileNotFoundError: If there is no such tree.
        ValueError: If it has no images, or no such split.
    """
    files, roots, notes = _survey(tree)
    wanted = next((name for name, known in SPLIT_NAMES.items() if split in known), None)
    if not roots:
        chosen, note = _cut(tree, files, split, wanted)
        classes, given, more = _classes(tree, files, [()])
        return Listing(tree, chosen, (), classes, [*notes, *more, note], given)
    there, _ = split_to_read(wanted or split, roots)
    if there not in roots:
        within = tree.shown((roots["train"],)) if wanted == "test" else ""
        cut = (
            f", or give {within} itself, of which a tenth is then the test split" if within else ""
        )
        msg = (
            f"{tree.name} has no split {split!r}, only {_folders(roots.values())}. Add a "
            f"folder {wanted or split}/{cut}."
        )
        raise ValueError(msg)
    if "test" not in roots and "validation" in roots:
        name = _folders([roots["validation"]])
        notes.append(f"There is no folder test/: {name} is the test split.")
    chosen = [file for file in files if file[0] == roots[there]]
    classes, given, more = _classes(tree, files, [(name,) for name in roots.values()])
    return Listing(tree, chosen, (roots[there],), classes, [*notes, *more], given)


def _survey(tree: Tree) -> tuple[list[Parts], dict[str, str], list[str]]:
    """(its images, the folder of each split if there are any, notes)."""
    files, notes = tree.walk()
    if not files:
        msg = f"{tree.name} holds no images ({', '.join(SUFFIXES)})."
        said = " ".join(notes)
        raise ValueError(f"{msg} {said}".strip() + remedy_for_shards(said))
    roots = _split_roots(tree, files)
    if not roots:
        named = sorted({file[0] for file in files if len(file) > 1 and _split_named(file[0])})
        if named:
            notes.append(f"{_folders(named)}: a class, as there are other folders beside it.")
        return files, roots, notes
    outside = [file for file in files if file[0] not in roots.values()]
    if outside:
        notes.append(
            f"Skipped {counted(len(outside), 'image')} outside of {_folders(roots.values())}, such "
            f"as {shown(outside[0])}."
        )
    return [file for file in files if file[0] in roots.values()], roots, notes


def _split_named(name: str) -> str | None:
    """The split that a folder is called after."""
    return next((split for split, known in SPLIT_NAMES.items() if name.lower() in known), None)


def _split_roots(tree: Tree, files: list[Parts]) -> dict[str, str]:
    """The folder of each split; none if the folders within are classes.

    They are splits if no other folder has images, or if there are both train and a split to test
    on: else what is called train may be a class beside others.
    """
    folders = {file[0] for file in files if len(file) > 1}
    roots: dict[str, str] = {}
    for name in sorted(folders):
        split = _split_named(name)
        if split in roots:
            msg = (
                f"{tree.name} has {_folders([roots[split], name])} for the split {split}. "
                "Join them, or rename one."
            )
            raise ValueError(msg)
        if split is not None:
            roots[split] = name
    whole = "train" in roots and len(roots) > 1
    return roots if whole or len(roots) == len(folders) else {}


def _cut(tree: Tree, files: list[Parts], split: str, wanted: str | None) -> tuple[list[Parts], str]:
    """The files of one of the two splits into which a folder without any is cut; and a note."""
    if wanted not in ("train", "test"):
        msg = f"{tree.name} has no split {split!r}; it has train and test."
        raise ValueError(msg)
    held, note = held_out([os.fsencode(Path(*file)) for file in files], tree.name)
    chosen = [file for file, test in zip(files, held, strict=True) if test == (wanted == "test")]
    return chosen, f"The folder has no splits: {note}"


def _classes(
    tree: Tree, files: list[Parts], roots: list[Parts]
) -> tuple[list[str], LabelFile | None, list[str]]:
    """The classes that have images in any split, what names them but folders; and notes."""
    given = read_labels(tree.label_files(), files, tree.name)
    if given is not None:
        said = [] if given.fault else [f"The labels are those of {Path(given.name).name}."]
        return given.class_names or [], given, said
    level = len(roots[0])
    classes = {file[level] for file in files if len(file) > level + 1}
    empty: set[str] = set()
    for root in roots if classes else ():
        empty |= tree.folders(root) - classes
    note = f"No class, for lack of images: {_folders(sorted(empty))}."
    return sorted(classes, key=natural_order), None, [note] if empty else []


def _count(listing: Listing, labels: np.ndarray) -> int:
    """The number of classes of labelled images."""
    given = listing.given
    if given is None or given.class_names is not None:
        return len(listing.classes)
    return count_classes(checked_labels(labels, None, given.name), given.name)


def _names(listing: Listing) -> list[str]:
    return [printable(name) for name in listing.classes]


def _folders(names: Iterable[str]) -> str:
    return shortened([f"{printable(name)}/" for name in names])


def _summary(tree: Tree) -> Summary:
    """What the heads of the files of all splits say, of those that can be read."""
    files, _, _ = _survey(tree)
    heads = _of_heads(tree, files)
    if heads is None:
        name = functools.partial(tree.shown, files[0])
        return summary({read_header(tree.file(files[0]), name=name): 1})  # which raises
    return heads


def _dtype(tree: Tree) -> Any:
    """uint8, or float32 if a file has 16 bits per channel: only those that may are opened."""
    files, _, _ = _survey(tree)
    deep = [file for file in files if Path(file[-1]).suffix.lower() in DEEP_SUFFIXES]
    heads = _of_heads(tree, deep)
    return np.uint8 if heads is None else heads.dtype


def _of_heads(tree: Tree, files: list[Parts]) -> Summary | None:
    """What the heads of files say, or None if none can be read.

    A command asks several times: heads are read once for as long as no file changes.
    """
    key = (tree.name, len(files), tree.state(files))
    if key in _heads_read:
        return _heads_read[key]
    heads: Counter[Header] = Counter()  # a million files have few
    unreadable: list[Parts] = []
    for file in files:
        head = _head(tree, file)
        if head is None:
            unreadable.append(file)
        else:
            heads[head] += 1
    said = summary(heads) if heads else None
    if said and unreadable:
        count = counted(len(unreadable), "file")
        said.notes.append(f"{count} cannot be read, such as {shown(unreadable[0])}. {VERIFY}")
    if len(_heads_read) == MOST_READ:
        _heads_read.pop(next(iter(_heads_read)))
    _heads_read[key] = said
    return said


def _head(tree: Tree, file: Parts) -> Header | None:
    """What the head of a file says, or None: that it cannot be read is raised once it is."""
    try:
        return read_header(tree.file(file), name=functools.partial(tree.shown, file))
    except ValueError:
        return None
