"""Taking a preset out of an archive that nobody vouches for."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from zoo.files import replacing
from zoo.training.presets import FILES, is_preset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_MEMBERS = 1000
MAX_BYTES = 4 << 30  # unpacked, in all
CHUNK = 1 << 20


class _Member(NamedTuple):
    name: str
    is_folder: bool
    is_file: bool
    open: Callable[[], Any]


def extract(archive: Path, folder: Path) -> None:
    """Writes the preset in an archive to a new folder, whole or not at all.

    Only a preset's files are taken, wherever in the archive they lie; others are passed over.

    Args:
        archive: A .zip or .tar.gz file.
        folder: The new folder.

    Raises:
        ValueError: If the archive is damaged, has no preset or two, is too large, or has a member
            that would lie outside of a folder, is a link or a device.
    """
    try:
        with replacing(folder) as temporary:
            temporary.mkdir()
            _take(archive, temporary)
            if not is_preset(temporary):
                msg = f"{archive} holds no preset: expected its {FILES[0]} and {FILES[1]}."
                raise ValueError(msg)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        msg = f"{archive} is no whole .zip or .tar.gz, or is encrypted: {error}"
        raise ValueError(msg) from error


def _take(archive: Path, folder: Path) -> None:
    left = MAX_BYTES
    for count, member in enumerate(_members(archive)):
        if count >= MAX_MEMBERS:
            msg = f"{archive} has more than {MAX_MEMBERS} members; expected those of a preset."
            raise ValueError(msg)
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
            msg = f"{archive} has the member {member.name!r}, outside of it. Do not use it."
            raise ValueError(msg)
        if not (member.is_folder or member.is_file):
            msg = f"{archive}: {member.name!r} is a link or a device. Do not use it."
            raise ValueError(msg)
        if member.is_folder or path.name not in FILES:
            continue
        target = folder / path.name
        if target.exists():
            msg = f"{archive} has two files {path.name}; expected one preset."
            raise ValueError(msg)
        with member.open() as source, target.open("wb") as sink:
            left = _copy(source, sink, left, archive)


def _copy(source: IO[bytes], sink: IO[bytes], left: int, archive: Path) -> int:
    """Copies, and returns how many bytes are still allowed; a header's size is not trusted."""
    while chunk := source.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            msg = f"{archive} unpacks to more than {MAX_BYTES >> 30} GB. Do not use it."
            raise ValueError(msg)
        sink.write(chunk)
    return left


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if not made on Unix
                folder, regular = info.is_dir(), kind in (0, stat.S_IFREG)
                yield _Member(info.filename, folder, regular, partial(file.open, info))
        return
    with tarfile.open(archive, "r:gz") as tar:
        for each in tar:
            opened = partial(tar.extractfile, each)
            yield _Member(each.name, each.isdir(), each.isreg(), opened)
