"""A folder of image files."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.data.image_files import SUFFIXES, opened, read_file, read_headers, size_of_all
from zoo.data.images import (
    SPLIT_NAMES,
    Contents,
    Images,
    Shape,
    counted,
    known_size,
    printable,
    shortened,
    split_to_read,
    unlabelled_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

# What systems leave in folders, beside whatever begins with a dot.
SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
SYSTEM |= {"thumbs.db", "ehthumbs.db", "desktop.ini"}

# Folders, from the top downwards, that are read without an image before the rest is given up.
WITHOUT_IMAGES = 1000

Parts = tuple[str, ...]  # of a path relative to the folder


@dataclass(frozen=True)
class Listing:
    """The image files of a split.

    Attributes:
        folder: The folder.
        files: The files of the split, in order.
        root: Parts of the split's folder, whose folders are classes; empty if splits have none.
        classes: The names of the class folders of all splits, in the order of their numbers.
        notes: What was skipped and why, and how splits were made, in sentences.
    """

    folder: Path
    files: list[Parts]
    root: Parts
    classes: list[str]
    notes: list[str]

    def paths(self) -> list[Path]:
        """The paths of the files, in order."""
        return [self.folder.joinpath(*file) for file in self.files]

    def labels(self) -> tuple[np.ndarray | None, str]:
        """(int32 [n] or None, why there are none although there are class folders)."""
        level = len(self.root)
        beside = [file for file in self.files if len(file) == level + 1]
        if len(beside) == len(self.files):
            return None, ""
        if beside:
            msg = (
                f"{printable(self.folder)}: {counted(len(beside), 'image')} beside the class "
                f"folders, such as {_shown(beside[0])}, without a class. Move each into a class "
                "folder, or remove it."
            )
            return None, msg
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[file[level]] for file in self.files], np.int32), ""


def read(folder: Path, split: str, shape: Shape | None) -> Images:
    """The images of a split, with labels if classes are folders.

    Every file is decoded here, so that a corrupt one is found before training begins.
    """
    listing = find(folder, split)
    wanted = shape or _common_shape(listing)
    pixels = np.stack([read_file(path, wanted) for path in listing.paths()])
    labels, unlabelled = listing.labels()
    return Images(
        pixels,
        labels,
        _names(listing) or None,
        what=printable(listing.folder),
        notes=listing.notes,
        unlabelled=unlabelled,
    )


def contents(folder: Path, split: str) -> Contents:
    """What `read` would find, from the names and headers of the files."""
    listing = find(folder, split)
    labels, unlabelled = listing.labels()
    folder, files, _, _ = _survey(folder)
    shape, more = read_headers([folder.joinpath(*file) for file in files])
    notes = [*listing.notes, *more, *([unlabelled_note(unlabelled)] if unlabelled else [])]
    if labels is None:
        return Contents(len(listing.files), shape, notes=notes)
    names = _names(listing)
    counts = np.bincount(labels, minlength=len(names))
    return Contents(len(listing.files), shape, len(names), names, counts, notes)


def number_of_classes(folder: Path) -> int:
    """The number of class folders, of all splits; 0 if the training split has no labels.

    Raises:
        ValueError: If some images of the training split are in none; and as `find`.
    """
    listing = find(folder, "train")
    labels, unlabelled = listing.labels()
    if unlabelled:
        raise ValueError(unlabelled)
    return 0 if labels is None else len(listing.classes)


def class_names(folder: Path) -> list[str]:
    """The names of the class folders of all splits, in the order of their numbers."""
    folder, files, roots, _ = _survey(folder)
    classes, _ = _classes(folder, files, [(name,) for name in roots.values()] or [()])
    return [printable(name) for name in classes]


def shape(folder: Path) -> tuple[int | None, int | None, int]:
    """(height, width, channels) of the images of all splits; None where they differ."""
    folder, files, _, _ = _survey(folder)
    sizes, modes = set(), set()
    for file in files:
        with opened(folder.joinpath(*file)) as image:
            sizes.add(image.size)
            modes.add(image.mode)
    return size_of_all(sizes, modes)


def find(folder: Path, split: str) -> Listing:
    """The files of a split, as `zoo.data.read` describes folders.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it has no images, or no such split.
    """
    folder, files, roots, notes = _survey(folder)
    wanted = next((name for name, known in SPLIT_NAMES.items() if split in known), None)
    if not roots:
        chosen, note = _cut(folder, files, split, wanted)
        classes, empty = _classes(folder, files, [()])
        return Listing(folder, chosen, (), classes, [*notes, *empty, note])
    there, _ = split_to_read(wanted or split, roots)
    if there not in roots:
        within = printable(folder / roots["train"]) if wanted == "test" else ""
        cut = (
            f", or give {within} itself, of which a tenth is then the test split" if within else ""
        )
        msg = (
            f"{printable(folder)} has no split {split!r}, only {_folders(roots.values())}. Add a "
            f"folder {wanted or split}/{cut}."
        )
        raise ValueError(msg)
    if "test" not in roots and "validation" in roots:
        name = _folders([roots["validation"]])
        notes.append(f"There is no folder test/: {name} is the test split.")
    chosen = [file for file in files if file[0] == roots[there]]
    classes, empty = _classes(folder, files, [(name,) for name in roots.values()])
    return Listing(folder, chosen, (roots[there],), classes, [*notes, *empty])


def natural_order(name: str) -> tuple[list[tuple[int, int]], str]:
    """Sorts names as text does, but runs of digits by their value: 2 before 10."""
    runs = re.findall("[0-9]+|[^0-9]", name, re.DOTALL)
    # A run of digits stands where text has its first digit.
    key = [(ord("0"), int(run)) if run[0] in "0123456789" else (ord(run), 0) for run in runs]
    return key, name


def _existing(folder: Path) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        msg = f"The folder {printable(folder)} does not exist."
        raise FileNotFoundError(msg)
    return folder


def _survey(folder: Path) -> tuple[Path, list[Parts], dict[str, str], list[str]]:
    """(the folder, its images, the folder of each split if there are any, notes)."""
    folder = _existing(folder)
    files, notes = _walk(folder)
    if not files:
        msg = f"{printable(folder)} holds no images ({', '.join(SUFFIXES)})."
        raise ValueError(" ".join([msg, *notes]))
    roots = _split_roots(folder, files)
    if not roots:
        named = sorted({file[0] for file in files if len(file) > 1 and _split_named(file[0])})
        if named:
            notes.append(f"{_folders(named)}: a class, as there are other folders beside it.")
        return folder, files, roots, notes
    outside = [file for file in files if file[0] not in roots.values()]
    if outside:
        notes.append(
            f"Skipped {counted(len(outside), 'image')} outside of {_folders(roots.values())}, such "
            f"as {_shown(outside[0])}."
        )
    return folder, [file for file in files if file[0] in roots.values()], roots, notes


def _walk(folder: Path) -> tuple[list[Parts], list[str]]:
    """All image files, sorted, links followed; and what was skipped, in sentences."""
    files: list[Parts] = []
    system: list[Parts] = []
    broken: list[Parts] = []
    special: list[Parts] = []
    loops: list[Parts] = []
    others: Counter[str] = Counter()
    waiting: deque[tuple[Parts, frozenset[str]]] = deque([((), frozenset())])
    visited = 0
    while waiting:
        within, above = waiting.popleft()  # level by level
        visited += 1
        if not files:
            _check_near(folder, visited)
        path = folder.joinpath(*within)
        here = os.path.realpath(path)
        if here in above:
            loops.append(within)
            continue
        with os.scandir(path) as entries:
            for entry in entries:
                parts = (*within, entry.name)
                target = _target(entry)
                if _is_system(entry.name):
                    system.append(parts)
                elif target.is_dir():
                    waiting.append((parts, above | {here}))
                elif not target.is_file():
                    (broken if entry.is_symlink() else special).append(parts)
                elif (suffix := Path(entry.name).suffix.lower()) in SUFFIXES:
                    files.append(parts)
                else:
                    others[printable(suffix) or "without a suffix"] += 1
    notes = [
        f"Skipped {counted(len(skipped), noun)}, such as {_shown(min(skipped))}."
        for noun, skipped in (
            ("hidden or system entry", system),
            ("broken link", broken),
            ("special file", special),
            ("looping link", loops),
        )
        if skipped
    ]
    if others:
        kinds = [f"{n} {suffix}" for suffix, n in sorted(others.items())]
        notes.append(f"Skipped files of other formats: {shortened(kinds)}.")
    return sorted(files), notes


def _check_near(folder: Path, visited: int) -> None:
    """Refuses what is no folder of images before all of a disk has been read."""
    if folder.resolve() == Path(folder.resolve().anchor):
        msg = f"{printable(folder)} is a whole file system. Give the folder that holds the images."
        raise ValueError(msg)
    if visited > WITHOUT_IMAGES:
        msg = (
            f"{printable(folder)}: the {WITHOUT_IMAGES} folders nearest to its top hold no images "
            f"({', '.join(SUFFIXES)}). Give the folder that holds them."
        )
        raise ValueError(msg)


def _target(entry: os.DirEntry[str]) -> Path | os.DirEntry[str]:
    """What an entry links to, or the entry: only Path's methods bear a link to itself."""
    return Path(entry) if entry.is_symlink() else entry


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM


def _split_named(name: str) -> str | None:
    """The split that a folder is called after."""
    return next((split for split, known in SPLIT_NAMES.items() if name.lower() in known), None)


def _split_roots(folder: Path, files: list[Parts]) -> dict[str, str]:
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
                f"{printable(folder)} has {_folders([roots[split], name])} for the split {split}. "
                "Join them, or rename one."
            )
            raise ValueError(msg)
        if split is not None:
            roots[split] = name
    whole = "train" in roots and len(roots) > 1
    return roots if whole or len(roots) == len(folders) else {}


def _cut(
    folder: Path, files: list[Parts], split: str, wanted: str | None
) -> tuple[list[Parts], str]:
    """The files of one of the two splits into which a folder without any is cut; and a note."""
    if wanted not in ("train", "test"):
        msg = f"{printable(folder)} has no split {split!r}; it has train and test."
        raise ValueError(msg)
    if len(files) < 2:
        msg = (
            f"{printable(folder)} has {len(files)} image; expected at least 2, to hold one out as "
            "test."
        )
        raise ValueError(msg)
    ranked = sorted(files, key=lambda f: hashlib.sha256(os.fsencode(Path(*f))).digest())
    held_out = set(ranked[: max(1, len(files) // 10)])
    note = (
        f"The folder has no splits: {counted(len(held_out), 'image')}, a tenth, chosen by a hash "
        f"of the names, {'is' if len(held_out) == 1 else 'are'} the test split."
    )
    return [file for file in files if (file in held_out) == (wanted == "test")], note


def _classes(folder: Path, files: list[Parts], roots: list[Parts]) -> tuple[list[str], list[str]]:
    """The class folders that have images in any split; and a note on those that have none."""
    level = len(roots[0])
    classes = {file[level] for file in files if len(file) > level + 1}
    empty: set[str] = set()
    for root in roots if classes else ():
        with os.scandir(folder.joinpath(*root)) as entries:
            visible = [entry for entry in entries if not _is_system(entry.name)]
            empty |= {entry.name for entry in visible if _target(entry).is_dir()} - classes
    note = f"No class, for lack of images: {_folders(sorted(empty))}."
    return sorted(classes, key=natural_order), [note] if empty else []


def _names(listing: Listing) -> list[str]:
    return [printable(name) for name in listing.classes]


def _shown(file: Parts) -> str:
    return printable(Path(*file))


def _folders(names: Iterable[str]) -> str:
    return shortened([f"{printable(name)}/" for name in names])


def _common_shape(listing: Listing) -> Shape:
    return known_size(shape(listing.folder), printable(listing.folder))
