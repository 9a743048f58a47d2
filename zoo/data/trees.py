"""Trees of files, in which images lie in folders: on a disk, or in a store of objects."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter, deque
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.data.contents import counted, shortened, shown
from zoo.data.image_files import SUFFIXES
from zoo.data.labels import FILES, Parts
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# What systems leave in folders, beside whatever begins with a dot.
SYSTEM = {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
SYSTEM |= {"thumbs.db", "ehthumbs.db", "desktop.ini"}

# Folders, from the top downwards, that are read without an image before the rest is given up.
WITHOUT_IMAGES = 1000

PRECISION = 3_000_000_000  # nanoseconds; some file systems count the time in steps of two seconds

_walks: dict[str, Walk] = {}  # the last one, by the path of its top

LISTED_FOR = 60.0  # seconds for which the list of a store is used again: each costs many requests

_listed: dict[str, tuple[float, list[Parts]]] = {}  # the last one, by address: (when, the files)


class Tree:
    """Files in folders, of which `zoo.data.folder` makes splits and classes.

    Attributes:
        name: The tree's path, as errors show it.
    """

    name: str

    def walk(self) -> tuple[list[Parts], list[str]]:
        """All image files, sorted; and what was skipped, in sentences.

        Raises:
            FileNotFoundError: If the tree does not exist.
        """
        raise NotImplementedError

    def folders(self, within: Parts) -> set[str]:
        """The names of the folders in a folder, empty ones too, but those of systems."""
        raise NotImplementedError

    def file(self, parts: Parts) -> str | bytes:
        """A file of the tree, as `zoo.data.image_files.read_file` takes it."""
        raise NotImplementedError

    def size(self, parts: Parts) -> int:
        """The bytes of a file."""
        raise NotImplementedError

    def state(self, files: Iterable[Parts]) -> Any:
        """What changes if one of these files does, as far as little cost can tell."""
        raise NotImplementedError

    def label_files(self) -> dict[str, bytes]:
        """What each of `zoo.data.labels.FILES` at the top holds, of those that are there."""
        raise NotImplementedError

    def shown(self, parts: Parts) -> str:
        """A file or a folder of the tree, for errors."""
        return f"{self.name}/{shown(parts)}"


class Walk(NamedTuple):
    """What a walk through a folder found.

    Attributes:
        files: All image files, sorted.
        notes: What was skipped, in sentences.
        folders: What `_mark` says of each folder; none if the walk may not be used again.
    """

    files: list[Parts]
    notes: list[str]
    folders: dict[str, tuple[int, ...]]


class LocalTree(Tree):
    """A folder on a disk; links are followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder.expanduser()
        self.name = printable(self.path)

    def walk(self) -> tuple[list[Parts], list[str]]:
        """All image files, sorted; and what was skipped, in sentences.

        A command walks several times: once is enough while no folder changes.
        """
        if not self.path.is_dir():
            msg = f"The folder {self.name} does not exist."
            raise FileNotFoundError(msg)
        top = os.path.abspath(self.path)  # noqa: PTH100  (a link may be turned to another folder)
        walk = _walks.get(top)
        if walk is None or not walk.folders or not _unchanged(walk.folders):
            walk = self._walk()
            _walks.clear()  # one list of files is as much as a command needs
            _walks[top] = walk
        return walk.files, list(walk.notes)

    def _walk(self) -> Walk:
        files: list[Parts] = []
        skipped = Skipped()
        waiting: deque[tuple[Parts, frozenset[str]]] = deque([((), frozenset())])
        folders: dict[str, tuple[int, ...]] = {}
        begun, linked = time.time_ns(), False
        while waiting:
            within, above = waiting.popleft()  # level by level
            if not files:
                _check_near(self.path, len(folders) + 1)
            path = self.path.joinpath(*within)
            here = os.path.realpath(path)
            folders[str(path.absolute())] = _mark(path)
            if here in above:
                skipped.add("looping link", within)
                continue
            with os.scandir(path) as entries:
                for entry in entries:
                    parts = (*within, entry.name)
                    target = _target(entry)
                    linked |= target is not entry
                    if is_system(entry.name):
                        skipped.add("hidden or system entry", parts)
                    elif target.is_dir():
                        waiting.append((parts, above | {here}))
                    elif not target.is_file():
                        skipped.add("broken link" if entry.is_symlink() else "special file", parts)
                    elif skipped.is_image(parts):
                        files.append(parts)
        # What a link leads to may change where no folder does. So may a folder that has just been
        # written, within the precision of its time.
        recent = any(begun - mark[-1] < PRECISION for mark in folders.values())
        return Walk(sorted(files), skipped.notes(), {} if linked or recent else folders)

    def folders(self, within: Parts) -> set[str]:
        """The names of the folders in a folder, empty ones too."""
        with os.scandir(self.path.joinpath(*within)) as entries:
            visible = [entry for entry in entries if not is_system(entry.name)]
            return {entry.name for entry in visible if _target(entry).is_dir()}

    def file(self, parts: Parts) -> str:
        """The path of a file."""
        return os.path.join(self.path, *parts)  # noqa: PTH118  (it is called for every image)

    def size(self, parts: Parts) -> int:
        """The bytes of a file."""
        return Path(self.file(parts)).stat().st_size

    def state(self, files: Iterable[Parts]) -> bytes:
        """A hash of the names, sizes and times of the files."""
        digest = hashlib.sha256(os.fsencode(self.path.absolute()))
        for parts in files:
            path = self.file(parts)
            with suppress(OSError):  # it is named once it is read
                status = os.stat(path)  # noqa: PTH116  (Path.stat costs several times as much)
                mark = (path, status.st_ino, status.st_size, status.st_mtime_ns)
                digest.update(repr(mark).encode("utf-8", "backslashreplace"))
        return digest.digest()

    def label_files(self) -> dict[str, bytes]:
        """What each of `zoo.data.labels.FILES` at the top holds."""
        there = {name: self.path / name for name in FILES}
        return {name: path.read_bytes() for name, path in there.items() if path.is_file()}


class RemoteTree(Tree):
    """A folder in a store that TensorFlow's file system reads, such as `gs://bucket/images`."""

    def __init__(self, address: str) -> None:
        self.name = address.rstrip("/")
        self._sizes: dict[Parts, int] = {}

    def walk(self) -> tuple[list[Parts], list[str]]:
        """All image files, sorted; and what was skipped, in sentences."""
        when, files = _listed.get(self.name, (0.0, []))
        if not files or time.monotonic() - when > LISTED_FOR:
            files = self._list()
            _listed.clear()
            _listed[self.name] = time.monotonic(), files
        return sift(files)

    def _list(self) -> list[Parts]:
        import tensorflow as tf  # noqa: PLC0415  (local files do without)

        files: list[Parts] = []
        with named_store(self.name):
            if not tf.io.gfile.isdir(self.name):
                msg = f"The folder {self.name} does not exist."
                raise FileNotFoundError(msg)
            for path, _, names in tf.io.gfile.walk(self.name):
                within = tuple(part for part in path[len(self.name) :].split("/") if part)
                files += [(*within, name) for name in names]
        return files

    def folders(self, within: Parts) -> set[str]:
        """The names of the folders in a folder."""
        import tensorflow as tf  # noqa: PLC0415

        path = "/".join([self.name, *within])
        names = {name.rstrip("/") for name in tf.io.gfile.listdir(path)}
        visible = [name for name in names if not is_system(name)]
        return {name for name in visible if tf.io.gfile.isdir(f"{path}/{name}")}

    def file(self, parts: Parts) -> bytes:
        """What a file holds."""
        return read_remote("/".join([self.name, *parts]))

    def size(self, parts: Parts) -> int:
        """The bytes of a file."""
        import tensorflow as tf  # noqa: PLC0415

        address = "/".join([self.name, *parts])
        with named_store(address):
            return tf.io.gfile.stat(address).length

    def state(self, files: Iterable[Parts]) -> bytes:
        """A hash of the names alone: the time of each file would cost a request."""
        return hashlib.sha256(repr([*files]).encode("utf-8", "backslashreplace")).digest()

    def label_files(self) -> dict[str, bytes]:
        """What each of `zoo.data.labels.FILES` at the top holds."""
        import tensorflow as tf  # noqa: PLC0415

        there = {name: f"{self.name}/{name}" for name in FILES}
        return {name: read_remote(p) for name, p in there.items() if tf.io.gfile.exists(p)}


class Skipped:
    """What a walk leaves out, counted for a description."""

    def __init__(self) -> None:
        self._entries: dict[str, set[Parts]] = {}
        self._others: Counter[str] = Counter()

    def add(self, noun: str, parts: Parts) -> None:
        """Counts an entry, such as a "broken link"."""
        self._entries.setdefault(noun, set()).add(parts)

    def is_image(self, parts: Parts) -> bool:
        """Whether a file has an image's suffix; others are counted, but not files of labels."""
        suffix = Path(parts[-1]).suffix.lower()
        if suffix in SUFFIXES:
            return True
        if len(parts) > 1 or parts[0] not in FILES:
            self._others[printable(suffix) or "without a suffix"] += 1
        return False

    def notes(self) -> list[str]:
        """A sentence on each kind of entry."""
        nouns = ("hidden or system entry", "broken link", "special file", "looping link")
        notes = [
            f"Skipped {counted(len(entries), noun)}, such as {shown(min(entries))}."
            for noun in nouns
            if (entries := self._entries.get(noun))
        ]
        kinds = [f"{n} {suffix}" for suffix, n in sorted(self._others.items())]
        return [
            *notes,
            *([f"Skipped files of other formats: {shortened(kinds)}."] if kinds else []),
        ]


def sift(files: Iterable[Parts]) -> tuple[list[Parts], list[str]]:
    """The image files among those of a tree without links, sorted; and what was skipped."""
    skipped, images = Skipped(), []
    for parts in files:
        system = next((i for i, part in enumerate(parts) if is_system(part)), None)
        if system is not None:
            skipped.add("hidden or system entry", parts[: system + 1])
        elif skipped.is_image(parts):
            images.append(parts)
    return sorted(images), skipped.notes()


def is_remote(source: Any) -> bool:
    """Whether a source is an address in a store, such as `gs://bucket/images`."""
    return isinstance(source, str) and "://" in source


def read_remote(address: str) -> bytes:
    """What a file in a store holds.

    Raises:
        FileNotFoundError: If it cannot be read.
    """
    import tensorflow as tf  # noqa: PLC0415

    with named_store(address), tf.io.gfile.GFile(address, "rb") as file:
        return file.read()


@contextmanager
def named_store(address: str) -> Iterator[None]:
    """Makes errors of a store name the address.

    Raises:
        FileNotFoundError: In place of any error of TensorFlow's file system.
    """
    import tensorflow as tf  # noqa: PLC0415

    try:
        yield
    except tf.errors.OpError as error:
        msg = (
            f"{address} cannot be read ({error.message}). Check the address, and your rights there;"
            " or copy what it holds to a disk, and give the copy."
        )
        raise FileNotFoundError(msg) from error


def is_system(name: str) -> bool:
    """Whether a name is one that systems leave in folders."""
    return name.startswith(".") or name.lower() in SYSTEM


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


def _mark(folder: str | Path) -> tuple[int, ...]:
    """What changes if an entry of a folder comes, goes or gets another name."""
    status = os.stat(folder)  # noqa: PTH116  (as above)
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _unchanged(folders: dict[str, tuple[int, ...]]) -> bool:
    try:
        return all(_mark(folder) == mark for folder, mark in folders.items())
    except OSError:  # it is gone
        return False


def _target(entry: os.DirEntry[str]) -> Path | os.DirEntry[str]:
    """What an entry links to, or the entry: only Path's methods bear a link to itself."""
    return Path(entry) if entry.is_symlink() else entry
