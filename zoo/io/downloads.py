"""Files from the web: resumed, bounded, and checked by their hash."""

from __future__ import annotations

import time
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from filelock import FileLock
from urllib3.exceptions import HTTPError

from zoo.io.cache import home
from zoo.io.files import sha256 as sha256_of
from zoo.io.names import as_path

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPTS = 5
REDIRECTS = 10
TIMEOUT = 30  # seconds without an answer
GRACE = 60  # seconds; each SLOWEST bytes that come add one, so that no download drips for ever
SLOWEST = 20_000  # bytes per second
CHUNK = 1 << 14  # bytes at a time, at most
MAX_BYTES = 4 << 30
LOCAL = ("127.0.0.1", "localhost", "::1")  # this machine may serve without TLS


def fetch_file(url: str, path: Path, sha256: str, token: str | None = None) -> Path:
    """Downloads a file once, by one process. A file that is there is taken as it is.

    Args:
        url: `https://` address.
        path: The file to be.
        sha256: Its hash, 64 hexadecimal digits.
        token: What the server knows the user by, if it asks; no other server gets it.

    Returns:
        `path`.

    Raises:
        ValueError: As `download`.
        ConnectionError: As `download`.
        OSError: As `download`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            part = path.with_name(f"{path.name}.part")
            download(url, part, sha256, token)
            part.replace(path)
    return path


def published_weights(
    url: str, sha256: str, given: str | Path | None, *, network: str, remedy: str
) -> Path:
    """The file of a network's published weights, whose hash has been checked.

    Args:
        url: `https://` address of the file.
        sha256: Its hash, 64 hexadecimal digits.
        given: The file, if the user has it. Else it is downloaded once, into ZOO_HOME/weights.
        network: Name of the network, for errors.
        remedy: The sentence that says, where it cannot be downloaded, how the file is given.

    Raises:
        ValueError: If the file is not the published one.
        ConnectionError: If it cannot be downloaded.
        OSError: If it cannot be read or written.
    """
    path = (
        home() / "weights" / url.rpartition("/")[2] if given is None else as_path(given, "weights")
    )
    if given is None:
        try:
            fetch_file(url, path, sha256)
        except ConnectionError as error:
            msg = (
                f"The weights of {network} cannot be downloaded: {error} Connect to the network. "
                f"Or fetch {url} on another machine, and save it as {path}. {remedy}"
            )
            raise ConnectionError(msg) from error
    if (digest := sha256_of(path)) != sha256:
        remove = "Remove it: it is then downloaded again. Or take" if given is None else "Take"
        msg = (
            f"{path} has sha256 {digest}; the published weights of {network} have {sha256}. "
            f"{remove} the file from {url}"
        )
        raise ValueError(msg)
    return path


def download(url: str, part: Path, sha256: str, token: str | None = None) -> None:
    """Downloads a file to `part`, on from the bytes of it that are there.

    Raises:
        ValueError: If the address is not `https://`, or the file has another hash. Nothing of it is
            kept.
        ConnectionError: If the server cannot be reached, breaks off or is too slow. The bytes that
            came are kept, and the next call continues from there.
        OSError: If `part` cannot be written. Nothing is kept.
    """
    check_address(url)
    try:
        if not part.exists() or sha256_of(part) != sha256:
            _download(url, part, token)
        _check_hash(url, part, sha256)
    except requests.RequestException as error:
        come = part.stat().st_size if part.exists() else 0
        kept = f"{come:,} bytes are here; the next call goes on from there."
        msg = f"{url}: {error}. {kept if come else 'Nothing has come yet.'}"
        raise ConnectionError(msg) from error
    except (OSError, ValueError):
        part.unlink(missing_ok=True)
        raise


def _check_hash(url: str, part: Path, sha256: str) -> None:
    if (digest := sha256_of(part)) != sha256:
        msg = f"{url} has the sha256 {digest}; expected {sha256}. It is not what was asked for."
        raise ValueError(msg)


def check_address(url: str) -> None:
    """Raises ValueError if an address is neither `https://` nor on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        msg = f"{url}: expected an address that starts with https:// (or hf://)."
        raise ValueError(msg)


def _check_redirect(url: str, to: str) -> None:
    """Checks an address before it is contacted; only this machine leads to this machine."""
    check_address(to)
    if urlsplit(to).hostname in LOCAL and urlsplit(url).hostname not in LOCAL:
        msg = f"{url} leads to {to}, on this machine. Do not use it."
        raise ValueError(msg)


def _download(url: str, part: Path, token: str | None) -> None:
    """Appends to `part` until all is there; tries again as long as an attempt brings bytes."""
    for attempt in range(ATTEMPTS):
        before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(url, part, before, token)
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            after = part.stat().st_size if part.exists() else 0
            if attempt == ATTEMPTS - 1 or after <= before:
                raise
        else:
            return


def _attempt(url: str, part: Path, start: int, token: str | None) -> None:
    # Bytes as they lie on the server: a resumed compressed transfer could not be put together.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    begun = time.monotonic()
    with closing(_opened(url, headers)) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is longer than the file: it belongs to something else
            _attempt(url, part, 0, token)
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
        if urlsplit(to).netloc != urlsplit(url).netloc:
            headers = {key: text for key, text in headers.items() if key != "Authorization"}
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
