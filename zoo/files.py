"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRATCH = ".scratch-"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, with the same suffix, that becomes `path` if all goes well.

    The temporary file or folder lies beside `path`, so that the rename is atomic. On an error it
    is removed and `path` is as it was. A file is on the disk before it is renamed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}{SCRATCH}", dir=path.parent))
    try:
        yield scratch / path.name
        if (scratch / path.name).is_file():
            with (scratch / path.name).open("rb+") as file:
                os.fsync(file.fileno())
        (scratch / path.name).replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_scratch(folder: str | Path) -> None:
    """Removes from a folder and those in it what processes killed within `replacing` left."""
    for left in (*Path(folder).glob(f".*{SCRATCH}*"), *Path(folder).glob(f"*/.*{SCRATCH}*")):
        shutil.rmtree(left, ignore_errors=True)


def link(path: Path, to: Path) -> None:
    """Gives a file a second name; where the file system has no hard links, a copy."""
    with replacing(to) as temporary:
        try:
            temporary.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, temporary)


def sha256(path: str | Path) -> str:
    """Of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not JSON; the file is named.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{path} is not valid JSON ({error}). Was it edited, or cut short by a full disk?"
        raise ValueError(msg) from error
