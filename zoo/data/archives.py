"""Archives of image files, `.zip` and `.tar`: listed once, and read at any place."""

from __future__ import annotations

import functools
import itertools
import tarfile
import threading
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo.data.contents import SPLIT_NAMES, counted, named_damage
from zoo.data.labels import FILES, Parts
from zoo.data.trees import Tree, is_remote, named_store, shown, sift
from zoo.io.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 1 << 30  # bytes of a file, once decompressed: a few bytes can be made to swell to any size
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, Zstandard

_numbers = itertools.count()


def is_archive(path: str | Path) -> bool:
    """Whether a file is a tar archive, or a zip archive without arrays (which an .npz file is)."""
    try:
        with _open(path) as file:
            if zipfile.is_zipfile(file):
                names = zipfile.ZipFile(file).namelist()
                return not any(name.endswith(".npy") for name in names)
            file.seek(0)
            start = file.read(512)
            return start[257:262] == b"ustar" or (
                start.startswith(COMPRESSED) and ".t" in Path(path).name.lower()
            )
    except Exception:  # noqa: BLE001  (zipfile and TensorFlow raise many kinds: it is none)
        return False


def tree_of(path: str | Path) -> ArchiveTree:
    """The files of an archive, which is listed once for as long as it does not change.

    Raises:
        ValueError: As `ArchiveTree`.
    """
    if is_remote(path):
        import tensorflow as tf  # noqa: PLC0415  (local files do without)

        with named_store(str(path)):
            status = tf.io.gfile.stat(path)
        return _listed(path, status.length, status.mtime_nsec)
    status = Path(path).stat()
    return _listed(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _listed(path: str | Path, *_: int) -> ArchiveTree:
    return ArchiveTree(path)


class ArchiveTree(Tree):
    """The files of an archive. A folder around all images, as archives often have, is left out."""

    def __init__(self, path: str | Path) -> None:
        """Lists the archive.

        Raises:
            ValueError: If it is damaged, or compressed as a whole.
        """
        self.name = str(path) if is_remote(path) else printable(path)
        self._lock = threading.Lock()
        self._number = next(_numbers)
        self._file = _open(path)
        with named_damage(self.name):
            start = self._file.read(8)
            self._file.seek(0)
        if start.startswith(COMPRESSED):
            msg = (
                f"{self.name} is compressed as a whole, so that no image can be read without those "
                "before it. Unpack it; or decompress it to a .tar file."
            )
            raise ValueError(msg)
        self._zip: zipfile.ZipFile | None = None
        self._links: list[Parts] = []  # of a tar archive, which are not followed
        # By the parts of their names: (where it begins, its size), or in a zip archive its entry.
        self._entries: dict[Parts, Any] = {}
        with named_damage(self.name):
            if start.startswith(b"PK"):
                self._zip = zipfile.ZipFile(self._file)
                listed: Any = [(i.filename, i) for i in self._zip.infolist() if not i.is_dir()]
            else:
                with tarfile.open(fileobj=self._file, mode="r:") as archive:
                    members = archive.getmembers()
                listed = [(m.name, (m.offset_data, m.size)) for m in members if m.isreg()]
                self._links = sorted(_parts(m.name) for m in members if m.islnk() or m.issym())
                _check_end(self._file)
        for name, entry in listed:
            if parts := _parts(name):  # "." and ".." name no file
                self._entries[parts] = entry
        top = _around(sift(self._entries)[0], self._entries)
        length = len(top)
        self._entries = {
            parts[length:]: entry for parts, entry in self._entries.items() if parts[:length] == top
        }

    def walk(self) -> tuple[list[Parts], list[str]]:
        """All image files, sorted; and what was skipped, in sentences."""
        images, notes = sift(self._entries)
        if self._links:
            count, first = counted(len(self._links), "link"), shown(self._links[0])
            notes.append(f"Skipped {count}, such as {first}: pack the archive with --dereference.")
        return images, notes

    def folders(self, within: Parts) -> set[str]:  # noqa: ARG002
        """None: archives hold files."""
        return set()

    def file(self, parts: Parts) -> bytes:
        """What a file holds."""
        entry = self._entries[parts]
        with named_damage(self.shown(parts)):
            if self._zip is not None:
                if entry.file_size > MOST:
                    msg = f"{entry.file_size:,} bytes once decompressed; expected at most {MOST:,}"
                    raise ValueError(msg)
                return self._zip.read(entry)
            start, size = entry
            with self._lock:
                self._file.seek(start)
                return self._file.read(size)

    def size(self, parts: Parts) -> int:
        """The bytes of a file."""
        entry = self._entries[parts]
        return entry.file_size if self._zip is not None else entry[1]

    def state(self, files: Iterable[Parts]) -> int:  # noqa: ARG002
        """This object: an archive that has changed is listed anew."""
        return self._number

    def label_files(self) -> dict[str, bytes]:
        """What each of `zoo.data.labels.FILES` at the top holds."""
        return {name: self.file((name,)) for name in FILES if (name,) in self._entries}


def _open(path: str | Path) -> Any:
    """The file, for reading bytes."""
    if is_remote(path):
        import tensorflow as tf  # noqa: PLC0415  (local files do without)

        return tf.io.gfile.GFile(path, "rb")
    return Path(path).open("rb")


def _check_end(file: Any) -> None:
    """Refuses a tar archive without zeros at its end: tarfile takes one cut short for whole."""
    file.seek(0, 2)
    file.seek(max(0, file.tell() - tarfile.BLOCKSIZE))
    if any(file.read(tarfile.BLOCKSIZE)):
        msg = "it has no end"
        raise ValueError(msg)


def _parts(name: str) -> Parts:
    return tuple(part for part in PurePosixPath(name).parts if part not in ("/", "..", "."))


def _around(images: list[Parts], entries: dict[Parts, Any]) -> Parts:
    """The folders around all images, from the top on, up to one that is called after a split."""
    splits = {name for known in SPLIT_NAMES.values() for name in known}
    top: Parts = ()
    while images and not any((*top, name) in entries for name in FILES):
        first = images[0][: len(top) + 1]
        alone = all(parts[: len(first)] == first and len(parts) > len(first) for parts in images)
        if not alone or first[-1].lower() in splits:
            break
        top = first
    return top
