"""Archives of presets from the web: unpacked once by one process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

from filelock import FileLock

from zoo.hub.archives import extract
from zoo.io.cache import home
from zoo.io.downloads import check_address, download

if TYPE_CHECKING:
    from pathlib import Path


def fetch(url: str, sha256: str | None = None) -> Path:
    """Downloads a preset's archive once, and unpacks it into the cache, under its hash.

    Args:
        url: `https://` address of a .zip or .tar.gz, which may end in `#sha256=…`.
        sha256: The archive's hash, if the address does not end in it.

    Returns:
        The preset's folder.

    Raises:
        ValueError: If the address is not `https://`, the hash is missing or wrong, or the
            archive is unsafe or holds no preset. Nothing of it is kept.
        ConnectionError: If the server cannot be reached, breaks off or is too slow. The bytes that
            came are kept, and the next call continues from there.
        OSError: If the cache cannot be written. Nothing is kept.
    """
    url, sha256 = _checked(url, sha256)
    cache = home() / "presets"
    cache.mkdir(parents=True, exist_ok=True)
    folder, part = cache / sha256, cache / f"{sha256}.part"
    with FileLock(cache / f"{sha256}.lock"):
        if folder.exists():
            return folder
        download(url, part, sha256)
        try:
            extract(part, folder)
        except (OSError, ValueError):
            part.unlink(missing_ok=True)
            raise
        part.unlink()
    return folder


def _checked(url: str, sha256: str | None) -> tuple[str, str]:
    url, fragment = urldefrag(url)
    check_address(url)
    in_url = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    given = (sha256 or in_url or "").lower()
    if not re.fullmatch("[0-9a-f]{64}", given) or (in_url or given).lower() != given:
        msg = (
            f"{url}: sha256={sha256 or in_url}: expected the archive's hash, 64 hexadecimal digits:"
            " sha256=… or at the end of the address, #sha256=… Ask its publisher for it."
        )
        raise ValueError(msg)
    return url, given
