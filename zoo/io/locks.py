"""A lock that keeps other processes from writing into a folder."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from zoo.io.files import LOCK, not_writable, os_error

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        raise os_error(BlockingIOError, msg, errno.EAGAIN) from error
    except OSError as error:
        raise not_writable(folder, error) from error
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
