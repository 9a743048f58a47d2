"""Archives of presets from the web: resumed, checked, and unpacked once by one process."""

from __future__ import annotations

import re
import time
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin, urlsplit

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from zoo.hub.archives import MAX_BYTES, extract
from zoo.hub.cache import home
from zoo.io.files import sha256 as sha256_of

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPTS = 5
REDIRECTS = 10
TIMEOUT = 30  # seconds without an answer
GRACE = 60  # seconds; each SLOWEST bytes that come add one, so that no download drips for ever
SLOWEST = 20_000  # bytes per second
CHUNK = 1 << 14  # bytes at a time, at most
LOCAL = ("127.0.0.1", "localhost", "::1")  # this machine may serve without TLS


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
    if (digest := sha256_of(part)) != sha256:
        msg = f"{url} has the sha256 {digest}; expected {sha256}. It is not what was asked for."
        raise ValueError(msg)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        msg = f"{url}: expected an address that starts with https:// (or hf://)."
        raise ValueError(msg)


def _check_redirect(url: str, to: str) -> None:
    """Checks an address before it is contacted; only this machine leads to this machine."""
    _check_address(to)
    if urlsplit(to).hostname in LOCAL and urlsplit(url).hostname not in LOCAL:
        msg = f"{url} leads to {to}, on this machine. Do not use it."
        raise ValueError(msg)


def _download(url: str, part: Path) -> None:
    """Appends to `part` until all is there; tries again as long as an attempt brings bytes."""
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
    begun = time.monotonic()
    with closing(_opened(url, headers)) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is longer than the file: it belongs to something else
            _attempt(url, part, 0)
            return
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        with part.open("ab" if start and resumed else "wb") as file:
            before = file.tell()
            while chunk := _next(response):
                if file.tell() + len(chunk) > MAX_BYTES:
                    msg = f"{url} is larger than {MAX_BYTES >> 30} GB. Do not use it."
                    raise ValueError(msg)
                file.write(chunk)
                if time.monotonic() - begun > GRACE + (file.tell() - before) / SLOWEST:
                    msg = f"fewer than {SLOWEST:,} bytes come per second"
                    raise requests.Timeout(msg)


def _next(response: requests.Response) -> bytes:
    """Bytes as soon as some have come; no bytes at the end."""
    try:
        return response.raw.read1(CHUNK)
    except HTTPError as error:
        raise requests.ConnectionError(error) from error


def _opened(url: str, headers: dict[str, str]) -> requests.Response:
    """The answer after all redirects. Each redirect is checked before it is followed."""
    for _ in range(REDIRECTS):
        response = _answer(url, headers)
        if not response.is_redirect:
            return response
        response.close()
        to = urljoin(url, response.headers["Location"])
        _check_redirect(url, to)
        url = to
    msg = f"more than {REDIRECTS} redirects"
    raise requests.TooManyRedirects(msg)


def _answer(url: str, headers: dict[str, str]) -> requests.Response:
    """Status and headers, within GRACE seconds: a socket's timeout begins anew with every byte."""
    answers: list[Any] = []

    def ask() -> None:
        options: dict[str, Any] = {"stream": True, "allow_redirects": False}
        try:
            answers.append(requests.get(url, headers=headers, timeout=TIMEOUT, **options))
        except Exception as error:  # noqa: BLE001  (raised below)
            answers.append(error)

    asking = Thread(target=ask, daemon=True)
    asking.start()
    asking.join(GRACE)
    if not answers:
        msg = f"no answer within {GRACE} s"
        raise requests.Timeout(msg)
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]
