"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRATCH = ".scratch-"
LOCK = ".lock"
_OWN_SCRATCH = re.compile(rf"\.(.+){re.escape(SCRATCH)}[^.]+")
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, with the same suffix, that becomes `path` if all goes well.

    The temporary file or folder lies beside `path`, so that the rename is atomic. On an error it
    is removed and `path` is as it was. A file is on the disk before it gets its name. Scratch that
    killed processes left beside `path` is removed first.

    Raises:
        FileExistsError: If `path` is to be a folder, and another process wrote one meanwhile.
        OSError: If it cannot be written; a full disk is named as one.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # A rename would put a file in the place of /dev/null.
        msg = f"{path} is a device or a pipe; expected the name of a file to write."
        raise os_error(OSError, msg, errno.EINVAL)
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
        raise os_error(OSError, msg, number) from error
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
        raise not_writable(path, error) from error


def _rename(scratch: Path, path: Path) -> None:
    try:
        scratch.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        msg = f"{path} was written by another process meanwhile; what it wrote was kept."
        raise os_error(FileExistsError, msg, errno.EEXIST) from error


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


def not_writable(path: Path, error: OSError) -> OSError:
    """The error that says why a file or folder cannot be written, and what to do."""
    is_file = isinstance(error, (FileExistsError, NotADirectoryError))
    reason = "it or a folder of it is a file" if is_file else error.strerror or error
    msg = f"{path} cannot be written: {reason}. Choose another place."
    return os_error(type(error), msg, error.errno)


def os_error(kind: type[OSError], text: str, number: int | None) -> OSError:
    """An error whose text is shown as it is, without "[Errno 28]" before it."""
    error = kind(text)
    error.errno = number
    return error


def remove_scratch(folder: str | Path) -> None:
    """Removes from a folder what processes that were killed within `replacing` left there.

    A living process holds a lock, which the system frees however the process ends. The process's
    number would not do: numbers are given anew, and other machines may share the folder.
    """
    for left in Path(folder).glob(f".*{SCRATCH}*"):
        named = _OWN_SCRATCH.fullmatch(left.name)
        if named is None or left.is_symlink():
            continue
        lock = f"{named[1]}{LOCK}"
        with suppress(OSError, Timeout):
            names = os.listdir(left)  # noqa: PTH208  (at one moment)
            if lock in names:
                with FileLock(left / lock, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            elif names:  # of a version without locks: they are made first
                shutil.rmtree(left, ignore_errors=True)
            else:  # its owner finds out, if it lives
                left.rmdir()


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
