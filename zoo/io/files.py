"""Files that are either whole or absent, and JSON that is what its reader expects."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import socket
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.io.schemas import Kind

SCRATCH = ".scratch-"
LOCK = ".lock"
NOT_FINITE = "not_finite"
MAX_JSON_BYTES = 64 << 20
MAX_JSON_DEPTH = 200
MAX_DIGITS = 40  # those of 64 bits have 20; Python's own limit has an error of its own
_OWN_SCRATCH = re.compile(rf"\.(.+){re.escape(SCRATCH)}[^.]+")
# Half of a character, which no output takes; but not what stands for a byte of a file name.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, with the same suffix, that becomes `path` if all goes well.

    The temporary file or folder lies beside `path`, so that the rename is atomic. On an error it
    is removed and `path` is as it was. A file is on the disk before it is renamed. What killed
    processes left beside `path` is removed first.

    Raises:
        FileExistsError: If `path` is to be a folder, and another process wrote one meanwhile.
        OSError: If it cannot be written; a full disk is named as one.
    """
    path = Path(path)
    new_folders = [folder for folder in path.parents if not folder.exists()]
    done = False
    try:
        scratch, lock = _new_scratch(path)
        try:
            yield scratch / path.name
            if (scratch / path.name).is_file():
                with (scratch / path.name).open("rb+") as file:
                    os.fsync(file.fileno())
            _rename(scratch / path.name, path)
            done = True
        finally:
            lock.release()
            shutil.rmtree(scratch, ignore_errors=True)
    except Exception as error:
        number = full_disk(error)
        if number is None:
            raise
        msg = (
            f"{path} could not be written, and nothing of it was kept: {os.strerror(number)}. "
            "Free some space, or choose a folder on another disk."
        )
        raise _os_error(OSError, msg, number) from error
    finally:
        if not done:
            with suppress(OSError):  # not empty
                for folder in new_folders:
                    folder.rmdir()


def _new_scratch(path: Path) -> tuple[Path, FileLock]:
    """A new folder beside `path`, and the lock in it that tells others that its owner lives."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_scratch(path.parent)
        while True:
            scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}{SCRATCH}", dir=path.parent))
            lock = FileLock(scratch / f"{path.name}{LOCK}", timeout=0)
            try:
                lock.acquire()
            except (FileExistsError, FileNotFoundError, Timeout):
                continue  # until it is locked, another process may take it for one that was left
            except OSError:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
            return scratch, lock
    except OSError as error:
        if full_disk(error) is not None:
            raise
        raise _not_writable(path, error) from error


def _rename(scratch: Path, path: Path) -> None:
    try:
        scratch.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        msg = f"{path} was written by another process meanwhile; what it wrote was kept."
        raise _os_error(FileExistsError, msg, errno.EEXIST) from error


def full_disk(error: BaseException | None) -> int | None:
    """The system's number for a full disk, quota or file; None if an error does not mean that.

    The errors that it was raised from count too. TensorFlow and HDF5 give the system's text alone;
    NumPy says how much of an array it wrote.
    """
    while error is not None:
        for number in _NO_SPACE:
            if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                return number
        if _CUT_SHORT.fullmatch(str(error)):
            return errno.ENOSPC
        error = error.__cause__ or error.__context__
    return None


def _not_writable(path: Path, error: OSError) -> OSError:
    is_file = isinstance(error, (FileExistsError, NotADirectoryError))
    reason = "it or a folder of it is a file" if is_file else error.strerror or error
    msg = f"{path} cannot be written: {reason}. Choose another place."
    return _os_error(type(error), msg, error.errno)


def _os_error(kind: type[OSError], text: str, number: int | None) -> OSError:
    """An error whose text is shown as it is, without "[Errno 28]" before it."""
    error = kind(text)
    error.errno = number
    return error


def remove_scratch(folder: str | Path) -> None:
    """Removes from a folder what processes killed within `replacing` left, of no living process.

    A living one holds a lock, which the system frees however a process ends; its number would not
    do: numbers are given anew, and other machines may share the folder.
    """
    for left in Path(folder).glob(f".*{SCRATCH}*"):
        named = _OWN_SCRATCH.fullmatch(left.name)
        if named is None or left.is_symlink():
            continue
        lock = f"{named[1]}{LOCK}"
        with suppress(OSError, Timeout):
            found = os.listdir(left)  # noqa: PTH208  (names, at one moment)
            if lock in found:
                with FileLock(left / lock, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            elif found:  # of a version without locks: they are made first
                shutil.rmtree(left, ignore_errors=True)
            else:  # its owner finds out, if it lives
                left.rmdir()


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keeps other processes from writing into a folder, by a lock that no killed process leaves.

    Args:
        folder: The folder; made if absent.

    Raises:
        BlockingIOError: If another process has it; its number and machine are named.
        OSError: If the folder cannot be written.
    """
    folder = Path(folder)
    new_folders = [each for each in (folder, *folder.parents) if not each.exists()]
    place = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place, timeout=0)
        lock.acquire()
    except Timeout as error:
        msg = (
            f"{folder} is being written by {_owner(place) or 'another process'}. "
            "Wait for it to end, or choose another folder."
        )
        raise _os_error(BlockingIOError, msg, errno.EAGAIN) from error
    except OSError as error:
        raise _not_writable(folder, error) from error
    try:
        with suppress(OSError):  # a full disk: then it has no name
            command = " ".join(sys.argv)[:200]
            text = f"process {os.getpid()} on {socket.gethostname()} ({command})"
            place.write_text(text, encoding="utf-8", errors="replace")
        yield
    finally:
        with suppress(OSError):  # where an open file cannot be removed
            place.unlink()
        lock.release()
        with suppress(OSError):  # not empty
            for each in new_folders:
                each.rmdir()


def _owner(place: Path) -> str:
    with suppress(OSError):
        return place.read_text(encoding="utf-8", errors="replace")
    return ""


def link(path: Path, to: Path) -> None:
    """Gives a file a second name; where the file system has no hard links, a copy."""
    with replacing(to) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON that `read_json` gives back.

    JSON has no NaN and no infinities. Such a number is written as null, and the object that it is
    in, at the top or in a list at the top, gets an entry "not_finite" that says where it was and
    what: {"elbo": null, "not_finite": {"/elbo": "-inf"}}, a JSON pointer (RFC 6901) for each.

    Raises:
        ValueError: If a number that is not finite is in no object.
    """
    with replacing(path) as temporary:
        temporary.write_text(to_json(value, indent=2) + "\n", encoding="utf-8")


def to_json(value: Any, indent: int | None = None) -> str:
    """The text that `write_json` writes."""
    return json.dumps(_noted(value), indent=indent, allow_nan=False)


def read_json(path: str | Path, kind: Kind | None = None) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        kind: What it is expected to be, of `zoo.io.schemas`. Entries that a kind does not know are
            kept.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not JSON, or not of the kind; the file and the entry are named.
    """
    path = Path(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        msg = f"{path} has more than {MAX_JSON_BYTES >> 20} MB; expected less. What is it?"
        raise ValueError(msg)
    return parse_json(path.read_bytes(), path, kind)


def parse_json(content: bytes, where: str | Path, kind: Kind | None = None) -> Any:
    """As `read_json`, of what a file holds; `where` names it in errors."""
    try:
        value = json.loads(content.decode("utf-8"), parse_int=_integer)
    except RecursionError as error:
        raise _too_deep(where) from error
    except ValueError as error:  # of JSON, UTF-8, or a number of too many digits
        msg = f"{where} is not valid JSON ({error}). Was it edited, or cut short by a full disk?"
        raise ValueError(msg) from error
    _check_values(value, where)
    value = _restored(value, where)
    if kind is not None:
        _check(value, where, kind)
    return value


def known_entries(cls: Any, entries: dict[str, Any]) -> dict[str, Any]:
    """The entries that a dataclass has fields for; others were written by other versions."""
    return {field.name: entries[field.name] for field in fields(cls) if field.name in entries}


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        msg = f"a whole number of {len(text)} digits"
        raise ValueError(msg)
    return int(text)


def _too_deep(where: str | Path) -> ValueError:
    return ValueError(f"{where} is nested more than {MAX_JSON_DEPTH} levels deep. Was it edited?")


def _entries(value: Any) -> Iterator[tuple[Any, str]]:
    """What is directly within a value, each with its part of a JSON pointer."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield each, str(key).replace("~", "~0").replace("/", "~1")
    elif isinstance(value, (list, tuple)):
        for i, each in enumerate(value):
            yield each, str(i)


def _check_values(value: Any, where: str | Path) -> None:
    """Checks what other readers choke on: depth, integers beyond 64 bits, half characters."""
    level = [(value, "")]
    for _ in range(MAX_JSON_DEPTH):
        for each, place in level:
            if isinstance(each, int) and not -(2**63) <= each < 2**64:
                msg = f"{where}: {place[1:]} is a whole number beyond 64 bits. Was it edited?"
                raise ValueError(msg)
            texts = [each] if isinstance(each, str) else each if isinstance(each, dict) else ()
            if any(_HALF.search(text) for text in texts):
                msg = f"{where}: {place[1:]!r} has half of a character. Was it edited?"
                raise ValueError(msg)
        level = [
            (part, f"{place}/{name}") for each, place in level for part, name in _entries(each)
        ]
        if not level:
            return
    raise _too_deep(where)


def _not_finite(value: Any) -> dict[str, float]:
    """The numbers that are not finite, by JSON pointer."""
    found, stack = {}, [(value, "")]
    while stack:
        each, place = stack.pop()
        if isinstance(each, float) and not math.isfinite(each):
            found[place] = each
        stack += [(part, f"{place}/{name}") for part, name in _entries(each)]
    return found


def _noted(value: Any) -> Any:
    """The value with null for numbers that are not finite, and a note of them."""
    bad = _not_finite(value)
    if not bad:
        return value
    if isinstance(value, (list, tuple)):
        return [_noted(each) for each in value]
    if isinstance(value, dict):
        return {**_without(value), NOT_FINITE: {place: str(bad[place]) for place in sorted(bad)}}
    msg = f"{value!r}: JSON has no such number, and there is no object to note it in."
    raise ValueError(msg)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _restored(value: Any, where: str | Path) -> Any:
    """The value that `_noted` was given."""
    if isinstance(value, list):
        return [_restored(each, where) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict) or NOT_FINITE not in value:
        return value
    value = dict(value)
    try:
        for pointer, text in value.pop(NOT_FINITE).items():
            parent: Any = value
            *names, last = (
                name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]
            )
            for name in names:
                parent = parent[int(name) if isinstance(parent, list) else name]
            key = int(last) if isinstance(parent, list) else last
            if parent[key] is not None or text not in ("nan", "inf", "-inf"):
                raise ValueError(pointer)  # noqa: TRY301
            parent[key] = float(text)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        msg = f"{where}: {NOT_FINITE} names no null of the file ({error}). Was it edited?"
        raise ValueError(msg) from error
    return value


def _check(value: Any, where: str | Path, kind: Kind) -> None:
    from pydantic import ValidationError  # noqa: PLC0415  (0.1 s, for files that are checked)

    found = value.get("format") if isinstance(value, dict) else None
    if kind.format and isinstance(found, int) and found > kind.format:
        msg = (
            f"{where} is of format {found}, but this version reads up to {kind.format}. "
            "Upgrade it: pip install -U vaegan-zoo."
        )
        raise ValueError(msg)
    fault = None
    if not kind.figures and (bad := _not_finite(value)):
        place, number = min(bad.items())
        fault = f"{place[1:]} is {number}: expected a finite number"
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        fault = _explain(error)
    if fault is not None:
        msg = f"{where}: {fault}. The file should be {kind.what}. {kind.remedy}"
        raise ValueError(msg)


def _explain(error: Any) -> str:
    first = error.errors(include_url=False)[0]
    place = "/".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"{place} is missing"
    found = repr(first["input"])
    found = found if len(found) <= 60 else f"{found[:60]} …"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{place + ' is ' if place else ''}{found}: expected {expected}"


@lru_cache
def _adapter(kind: Kind) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415  (as above)

    return TypeAdapter(kind.schema)
