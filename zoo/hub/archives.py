"""Unpacks a preset from an archive that nobody vouches for."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from zoo.io.files import replacing
from zoo.presets import FILES, is_preset, load_preset
from zoo.presets.files import WEIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_MEMBERS = 1000
MAX_BYTES = 4 << 30  # of all files, unpacked
MAX_OTHER = 256 << 20  # of each file other than the weights
MAX_RATIO = 100  # unpacked size over packed size, above FREE bytes; weights hardly shrink
FREE = 64 << 20
CHUNK = 1 << 20


class _Member(NamedTuple):
    name: str
    size: int  # as its header says
    is_folder: bool
    is_file: bool
    open: Callable[[], Any]


def extract(archive: Path, folder: Path) -> None:
    """Writes the preset in an archive to a new folder, whole and loadable or not at all.

    It takes only a preset's files, wherever in the archive they lie. The unpacked size is bounded
    twice: by the sizes that the archive states, before anything is written, and by the bytes that
    come.

    Args:
        archive: A .zip or .tar.gz file.
        folder: The new folder.

    Raises:
        ValueError: If the archive is damaged or too large, holds no preset or two, has a member
            that is a link, a device or outside of its folder; or as `load_preset`.
    """
    try:
        with replacing(folder) as temporary:
            temporary.mkdir()
            _take(archive, temporary)
            if not is_preset(temporary):
                msg = f"{archive} holds no preset: expected a {FILES[0]} and a {FILES[1]}."
                raise ValueError(msg)
            load_preset(temporary)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError) as error:
        msg = f"{archive} is no whole .zip or .tar.gz, or is encrypted: {error}"
        raise ValueError(msg) from error


def _take(archive: Path, folder: Path) -> None:
    limit = left = _limit(archive)
    stated = 0
    for count, member in enumerate(_members(archive)):
        if count >= MAX_MEMBERS:
            msg = f"{archive} has more than {MAX_MEMBERS} members; expected those of a preset."
            raise ValueError(msg)
        stated += member.size  # of every member, for a .tar.gz unpacks those it skips too
        _check_size(archive, stated, limit)
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
            msg = f"{archive} has the member {member.name!r}, outside of it. Do not use it."
            raise ValueError(msg)
        if not (member.is_folder or member.is_file):
            msg = f"{archive}: {member.name!r} is a link or a device. Do not use it."
            raise ValueError(msg)
        if member.is_folder or path.name not in FILES:
            continue
        if path.name != WEIGHTS and member.size > MAX_OTHER:
            msg = f"{archive}: {path.name} has {member.size:,} bytes; expected up to {MAX_OTHER:,}."
            raise ValueError(msg)
        target = folder / path.name
        if target.exists():
            msg = f"{archive} has two files {path.name}; expected one preset."
            raise ValueError(msg)
        with member.open() as source, target.open("wb") as sink:
            left -= _copy(source, sink, archive, left)


def _copy(source: IO[bytes], sink: IO[bytes], archive: Path, limit: int) -> int:
    """Copies, and returns the number of bytes; the size in a header is not trusted."""
    come = 0
    while chunk := source.read(CHUNK):
        come += len(chunk)
        _check_size(archive, come, limit)
        sink.write(chunk)
    return come


def _limit(archive: Path) -> int:
    """The number of bytes that an archive may unpack to."""
    return min(MAX_BYTES, max(FREE, MAX_RATIO * archive.stat().st_size))


def _check_size(archive: Path, size: int, limit: int) -> None:
    if size > limit:
        packed = archive.stat().st_size
        msg = (
            f"{archive}, {packed:,} bytes, unpacks to more than {_limit(archive):,}, which no "
            "preset of its size does. Do not use it."
        )
        raise ValueError(msg)


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            infos = file.infolist()
            _check_size(archive, sum(info.file_size for info in infos), _limit(archive))
            for info in infos:
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if not made on Unix
                folder, regular = info.is_dir(), kind in (0, stat.S_IFREG)
                opened: Callable[[], Any] = partial(file.open, info)
                yield _Member(info.filename, info.file_size, folder, regular, opened)
        return
    with tarfile.open(archive, "r:gz") as tar:
        for each in tar:
            opened = partial(tar.extractfile, each)
            yield _Member(each.name, each.size, each.isdir(), each.isreg(), opened)
