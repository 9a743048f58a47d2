"""Archives of presets from the web: resumed, checked, unpacked once, by one process at a time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

import requests
from filelock import FileLock

from zoo.files import sha256 as sha256_of
from zoo.pretrained.archives import MAX_BYTES, extract
from zoo.pretrained.cache import home

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPTS = 5
TIMEOUT = 30  # seconds without an answer
CHUNK = 1 << 14  # bytes, of which a cut connection loses less than one
LOCAL = ("127.0.0.1", "localhost", "::1")  # this machine may serve without TLS


def fetch(url: str, sha256: str | None = None) -> Path:
    """The folder of a preset's archive, in the cache under its hash.

    Args:
        url: `https://` address of a .zip or .tar.gz, which may end in `#sha256=…`.
        sha256: The archive's hash, if the address does not end in it.

    Raises:
        ValueError: If the address is not `https://`, the hash is missing or another, or the
            archive is unsafe or no preset. Nothing of it is kept.
        ConnectionError: If the server cannot be reached or breaks off. What came is kept: the next
            call goes on from there.
        OSError: If the cache cannot be written. Nothing is kept.
    """
    url, sha256 = _checked(url, sha256)
    cache = home() / "presets"
    cache.mkdir(parents=True, exist_ok=True)
    folder, part = cache / sha256, cache / f"{sha256}.part"
    with FileLock(cache / f"{sha256}.lock"):
        if folder.exists():
            return folder
        try:
            if not part.exists() or sha256_of(part) != sha256:
                _download(url, part)
            _check_hash(url, part, sha256)
            extract(part, folder)
        except requests.RequestException as error:
            come = part.stat().st_size if part.exists() else 0
            kept = f"{come:,} bytes are here; the next call goes on from there."
            msg = f"{url}: {error}. {kept if come else 'Nothing has come yet.'}"
            raise ConnectionError(msg) from error
        except (OSError, ValueError):
            part.unlink(missing_ok=True)
            raise
        part.unlink()
    return folder


def _checked(url: str, sha256: str | None) -> tuple[str, str]:
    url, fragment = urldefrag(url)
    _check_address(url)
    in_url = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None
    given = (sha256 or in_url or "").lower()
    if not re.fullmatch("[0-9a-f]{64}", given) or (in_url or given).lower() != given:
        msg = (
            f"{url}: sha256={sha256 or in_url}: expected the archive's hash, 64 hexadecimal digits:"
            " sha256=… or at the end of the address, #sha256=… Ask its publisher for it."
        )
        raise ValueError(msg)
    return url, given


def _check_hash(url: str, part: Path, sha256: str) -> None:
    if (found := sha256_of(part)) != sha256:
        msg = f"{url} has the sha256 {found}; expected {sha256}. It is not what was asked for."
        raise ValueError(msg)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        msg = f"{url}: expected an address that starts with https:// (or hf://)."
        raise ValueError(msg)


def _download(url: str, part: Path) -> None:
    """Appends to `part` until all is there; tries again as long as an attempt brings something."""
    for attempt in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part, before)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            after = part.stat().st_size if part.exists() else 0
            if attempt == ATTEMPTS - 1 or after <= before:
                raise
        else:
            return


def _attempt(url: str, part: Path, start: int) -> None:
    # Bytes as they lie on the server: a resumed compressed transfer could not be put together.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        _check_address(response.url)  # after redirects
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is longer than the file: of something else
            _attempt(url, part, 0)
            return
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        with part.open("ab" if start and resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                if file.tell() + len(chunk) > MAX_BYTES:
                    msg = f"{url} is larger than {MAX_BYTES >> 30} GB. Do not use it."
                    raise ValueError(msg)
                file.write(chunk)
