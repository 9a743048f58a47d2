"""Presets from elsewhere: resumed, checked, taken out of hostile archives, one process at a time.

The servers are Python's own, on this machine; archives are made by `tarfile` and `zipfile`.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import itertools
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from huggingface_hub import HfApi, snapshot_download

import zoo
from tests.support.hub_server import hub_server
from zoo.hub import archives, downloads, huggingface, load_pretrained, push, resolve
from zoo.io import downloads as transfers
from zoo.io.cache import home

FROZEN = Path(__file__).parents[1] / "frozen_preset"
FILES = {path.name: path.read_bytes() for path in (FROZEN / "dcgan").iterdir()}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


def _zip(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return made.getvalue()


def _tar(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        for info in others:
            file.addfile(info)
    return made.getvalue()


ARCHIVE = _zip({f"dcgan/{name}": content for name, content in FILES.items()})
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()


class _Server(ThreadingHTTPServer):
    """Serves `content`; breaks off after `cut` bytes for the first `cuts` requests."""

    content = ARCHIVE
    cut, cuts = 0, 0
    ranges = True
    redirect = ""
    drip = b""  # what is sent before one byte after the other, without end

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []  # the Range of each request
        self.stopped = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/preset.zip"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        if server.drip:
            self.wfile.write(server.drip)
            with contextlib.suppress(OSError):  # the client leaves
                while not server.stopped.wait(0.01):
                    self.wfile.write(b"x")
            return
        if server.redirect and not self.path.endswith("elsewhere"):
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        start = int(asked[len("bytes=") : -1]) if asked and server.ranges else 0
        size = len(server.content)
        if start >= size:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        cut = len(server.asked) <= server.cuts
        self.wfile.write(server.content[start : start + server.cut if cut else size])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setattr(transfers, "CHUNK", 1000)  # whole ones are kept
    with _Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.stopped.set()
        made.shutdown()
        thread.join()


def _cached() -> list[str]:
    """What is in the cache, without locks."""
    folder = home() / "presets"
    return sorted(path.name for path in folder.glob("*") if path.suffix != ".lock")


def test_a_preset_from_the_web(server: _Server) -> None:
    model = load_pretrained(f"{server.url}#sha256={SHA256}")
    np.testing.assert_allclose(model.generate(4, seed=0), np.load(FROZEN / "dcgan.npy"), atol=1e-5)
    folder = resolve(server.url, sha256=SHA256.upper())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert server.asked == [None]  # the second time it was there
    assert _cached() == [SHA256]
    assert zoo.load(f"{server.url}#sha256={SHA256}").step == 9


def test_a_cut_connection_is_resumed(server: _Server) -> None:
    server.cut, server.cuts = 10_000, 2
    downloads.fetch(server.url, SHA256)
    assert server.asked == [None, "bytes=10000-", "bytes=20000-"]


def test_what_came_is_kept_for_the_next_call(server: _Server) -> None:
    server.cut, server.cuts = 5_000, 5
    with pytest.raises(ConnectionError, match="25,000 bytes are here; the next call goes on"):
        downloads.fetch(server.url, SHA256)
    assert _cached() == [f"{SHA256}.part"]
    assert downloads.fetch(server.url, SHA256).is_dir()
    assert server.asked[-1] == "bytes=25000-"


def test_a_server_that_brings_nothing_is_left(server: _Server) -> None:
    server.cut, server.cuts = 0, 9
    with pytest.raises(ConnectionError, match="Nothing has come yet"):
        downloads.fetch(server.url, SHA256)
    assert len(server.asked) == 1
    server.cuts = 0
    with pytest.raises(ConnectionError, match="refused"):
        downloads.fetch("http://127.0.0.1:9/x.zip", SHA256)


def test_a_server_without_ranges(server: _Server) -> None:
    server.cut, server.cuts, server.ranges = 10_000, 1, False
    assert downloads.fetch(server.url, SHA256).is_dir()
    assert server.asked == [None, "bytes=10000-"]


@pytest.mark.parametrize("left", [ARCHIVE, ARCHIVE + b"more"], ids=["whole", "too long"])
def test_what_a_killed_process_left(server: _Server, left: bytes) -> None:
    part = home() / "presets" / f"{SHA256}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert downloads.fetch(server.url, SHA256).is_dir()
    assert len(server.asked) == (0 if left == ARCHIVE else 2)


def test_nothing_is_kept_of_something_else(server: _Server) -> None:
    server.content = ARCHIVE[:-1] + b"x"
    with pytest.raises(ValueError, match=f"expected {SHA256}"):
        downloads.fetch(server.url, SHA256)
    assert not _cached()
    server.content = ARCHIVE
    assert downloads.fetch(server.url, SHA256).is_dir()


def test_a_full_disk(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for module, name in ((archives, "_copy"), (transfers, "_attempt")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            with pytest.raises(OSError, match="No space left"):
                downloads.fetch(server.url, SHA256)
        assert not _cached()


def test_addresses_and_hashes_are_checked(server: _Server) -> None:
    for url in ("http://example.org/x.zip", "ftp://127.0.0.1/x.zip", "file:///etc/passwd"):
        with pytest.raises(ValueError, match="expected an address that starts with https://"):
            resolve(url, sha256=SHA256)
    for hashes in ({}, {"sha256": "abc"}):
        with pytest.raises(ValueError, match="expected the archive's hash, 64 hexadecimal"):
            resolve("https://example.org/x.zip", **hashes)
    with pytest.raises(ValueError, match="expected the archive's hash"):
        resolve(f"https://example.org/x.zip#sha256={'0' * 64}", sha256=SHA256)
    server.redirect = f"http://0.0.0.0:{server.server_port}/elsewhere"  # this machine, unlisted
    with pytest.raises(ValueError, match="elsewhere: expected an address that starts with https"):
        downloads.fetch(server.url, SHA256)
    assert len(server.asked) == 1  # it was not contacted
    assert not _cached()


def test_redirects(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.redirect = "/elsewhere"
    assert downloads.fetch(server.url, SHA256).is_dir()
    assert server.asked == [None, None]
    server.redirect = server.url
    with pytest.raises(ConnectionError, match="more than 10 redirects"):
        downloads.fetch(server.url, "0" * 64)
    assert len(server.asked) == 2 + 10
    # No server elsewhere may have this machine ask itself.
    answer = SimpleNamespace(is_redirect=True, headers={"Location": server.url}, close=lambda: None)
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)
    with pytest.raises(ValueError, match=f"leads to {server.url}, on this machine"):
        downloads.fetch("https://example.org/x.zip", "0" * 64)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n", "fewer than .* bytes come"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "fewer than .* bytes come"),
        (b"HTTP/1.0 200 OK\r\nX-Slow: ", "no answer within"),
    ],
    ids=["content", "without end", "headers"],
)
def test_a_download_does_not_drip_for_ever(
    server: _Server, sent: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that runs ahead: however busy the machine is, an answer is no slow one by chance."""
    if message.startswith("no answer"):
        monkeypatch.setattr(transfers, "GRACE", 0.2)
    clock = itertools.count(0, 30)
    monkeypatch.setattr(transfers, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    server.drip = sent
    with pytest.raises(ConnectionError, match=message):
        downloads.fetch(server.url, SHA256)
    assert len(server.asked) == 1


def test_two_threads_download_once(server: _Server) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(downloads.fetch(server.url, SHA256)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(server.asked) == 1


@pytest.mark.slow
def test_two_processes_download_once(server: _Server) -> None:
    code = "import sys; from zoo.hub import resolve; resolve(sys.argv[1])"
    command = [sys.executable, "-c", code, f"{server.url}#sha256={SHA256}"]
    server.cut, server.cuts = 2 << 14, 1
    running = [subprocess.Popen(command, env=os.environ) for _ in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    assert server.asked == [None, "bytes=32768-"]


# Archives


def _link(kind: bytes, name: str = "model.weights.h5", target: str = "/etc/passwd") -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _zip_link() -> bytes:
    made = io.BytesIO(_zip(FILES))
    with zipfile.ZipFile(made, "a") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    return made.getvalue()


WITHOUT_WEIGHTS = {name: FILES[name] for name in FILES if name != "model.weights.h5"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_zip({**FILES, "../evil": b"x"}), "'../evil', outside of it"),
        (_zip({**FILES, "a/../../config.json": b"x"}), "outside of it"),
        (_zip({**FILES, "/etc/evil": b"x"}), "outside of it"),
        (_zip({**FILES, "..\\evil": b"x"}), "outside of it"),
        (_zip({**FILES, "C:evil": b"x"}), "outside of it"),
        (_tar({**FILES, "../evil": b"x"}), "outside of it"),
        (_tar({**FILES, "/etc/evil": b"x"}), "outside of it"),
        (_zip_link(), "'link' is a link or a device"),
        (_tar(WITHOUT_WEIGHTS, _link(tarfile.SYMTYPE)), "is a link or a device"),
        (_tar(WITHOUT_WEIGHTS, _link(tarfile.LNKTYPE, target="config.json")), "is a link or a"),
        (_tar(FILES, _link(tarfile.CHRTYPE, "null")), "is a link or a device"),
        (_tar(FILES, _link(tarfile.FIFOTYPE, "pipe")), "is a link or a device"),
        (_zip({**FILES, "b/config.json": b"{}"}), "has two files config.json"),
        (_zip(WITHOUT_WEIGHTS), "holds no preset"),
        (_zip({f"{i}": b"" for i in range(1001)}), "more than 1000 members"),
        (_zip({**FILES, "x/README.md": b"", "README.md": b""}), "has two files"),
        (ARCHIVE[: len(ARCHIVE) // 2], "is no whole .zip or .tar.gz"),
        (_tar(FILES)[:5000], "is no whole .zip or .tar.gz"),
        (b"", "is no whole .zip or .tar.gz"),
        (FILES["model.weights.h5"], "is no whole .zip or .tar.gz"),
    ],
)
def test_hostile_archives(content: bytes, message: str, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        archives.extract(archive, tmp_path / "to" / "here")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]
    assert not (tmp_path / "to").exists()


def test_an_archive_that_swells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever sizes its headers say."""
    monkeypatch.setattr(archives, "MAX_BYTES", 1 << 16)
    for content in (_tar({**FILES, "metrics.json": bytes(1 << 17)}), _tar(FILES)):
        (tmp_path / "archive").write_bytes(content)
        with pytest.raises(ValueError, match="unpacks to more than"):
            archives.extract(tmp_path / "archive", tmp_path / "here")
        monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    assert not (tmp_path / "here").exists()


def test_sizes_are_limited_before_anything_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros: a thousand times smaller than what they unpack to."""
    monkeypatch.setattr(archives, "FREE", 1 << 16)
    monkeypatch.setattr(archives, "_copy", lambda *_: pytest.fail("it is unpacked"))
    swollen = {"model.weights.h5": bytes(4 << 20)}
    archive = tmp_path / "archive"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", b"{}")
        file.writestr("model.weights.h5", swollen["model.weights.h5"])
    assert archive.stat().st_size < 10_000
    for content in (archive.read_bytes(), _tar(swollen), _tar({"passed_over": bytes(4 << 20)})):
        archive.write_bytes(content)
        with pytest.raises(ValueError, match="unpacks to more than .* which no preset of its size"):
            archives.extract(archive, tmp_path / "here")
    monkeypatch.setattr(archives, "MAX_OTHER", 10)
    archive.write_bytes(_zip({"metrics.json": bytes(11)}))
    with pytest.raises(ValueError, match=r"metrics\.json has 11 bytes; expected up to 10"):
        archives.extract(archive, tmp_path / "here")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("name", ["model.weights.h5", "metrics.json", "samples.png", "config.json"])
def test_nothing_is_kept_of_a_preset_that_fails_its_check(server: _Server, name: str) -> None:
    server.content = _zip({**FILES, name: FILES[name][:-2] + b"xx"})
    sha256 = hashlib.sha256(server.content).hexdigest()
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{name}.* (has the sha256|is not valid JSON)"):
            downloads.fetch(server.url, sha256)
        assert not _cached()


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(_tar({**FILES, "setup.py": b"1 / 0", ".git/x": b""}))
    archives.extract(tmp_path / "archive", tmp_path / "here")
    assert {path.name for path in (tmp_path / "here").iterdir()} == set(FILES)


# Hugging Face


class _Hub(SimpleNamespace):
    """Stands in for huggingface_hub: notes the calls, whose arguments the real one must take."""

    def __init__(self) -> None:
        super().__init__(calls=[], uploaded={})

    def snapshot_download(self, *args: Any, **kwargs: Any) -> str:
        self._note(snapshot_download, *args, **kwargs)
        return str(FROZEN / "dcgan")

    def HfApi(self) -> Any:  # noqa: N802  (its name)
        return SimpleNamespace(create_repo=self._create_repo, upload_folder=self._upload_folder)

    def _create_repo(self, *args: Any, **kwargs: Any) -> None:
        self._note(HfApi().create_repo, *args, **kwargs)

    def _upload_folder(self, *args: Any, **kwargs: Any) -> Any:
        self._note(HfApi().upload_folder, *args, **kwargs)
        self.uploaded = {path.name: path.read_bytes() for path in kwargs["folder_path"].iterdir()}
        return SimpleNamespace(commit_url="https://huggingface.co/me/x/commit/1")

    def _note(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        bound = inspect.signature(real).bind(*args, **kwargs).arguments
        self.calls.append((real.__name__, bound))


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> _Hub:
    fake = _Hub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_from_hugging_face(fake_hub: _Hub) -> None:
    assert load_pretrained("hf://me/x@v1").step == 9
    ((name, arguments),) = fake_hub.calls
    assert zoo.load("hf://me/x@v1").step == 9
    assert name == "snapshot_download"
    assert (arguments["repo_id"], arguments["revision"]) == ("me/x", "v1")
    assert set(FILES) - {"model.weights.h5"} < set(arguments["allow_patterns"])
    assert arguments["cache_dir"] == home() / "hub"
    for wrong in ("hf://x", "hf://me/x/../y", "hf://../x@", "hf://"):
        with pytest.raises(ValueError, match="expected hf://org/repo"):
            huggingface.download(wrong)
    with pytest.raises(ValueError, match="takes no sha256"):
        resolve("hf://me/x", sha256=SHA256)


def test_to_hugging_face(fake_hub: _Hub) -> None:
    address = push(FROZEN / "dcgan", "hf://me/x", private=True)
    assert address == "https://huggingface.co/me/x/commit/1"
    (created, first), (uploaded, second) = fake_hub.calls
    assert (created, first["repo_id"], first["private"]) == ("create_repo", "me/x", True)
    assert (uploaded, second["repo_id"]) == ("upload_folder", "me/x")
    assert fake_hub.uploaded == FILES
    push(load_pretrained(FROZEN / "dcgan"), "hf://me/copy")
    assert fake_hub.uploaded["model.weights.h5"] == FILES["model.weights.h5"]
    assert b"# copy\n" in fake_hub.uploaded["README.md"]
    for wrong, what in (("hf://me/x@v1", "a revision"), ("hf://me/x/vae", "a subfolder")):
        with pytest.raises(ValueError, match=f"{what} cannot be pushed to"):
            push(FROZEN / "dcgan", wrong)


def test_a_damaged_preset_is_not_published(fake_hub: _Hub, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match="not valid JSON|sha256"):
        push(tmp_path, "hf://me/x")
    assert not fake_hub.calls


def test_without_huggingface_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'vaegan-zoo\[hub\]'"):
        load_pretrained("hf://me/x")


@pytest.mark.slow
def test_the_real_client_downloads_and_then_needs_no_network() -> None:
    code = (
        "from zoo.hub import load_pretrained, resolve; "
        "print(sorted(path.name for path in resolve('hf://me/x').iterdir())); "
        "load_pretrained('hf://me/x@main').generate(1, seed=0)"
    )
    with hub_server({"me/x": {**FILES, "evil.py": b"1 / 0"}}) as server:
        env = {**os.environ, "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
        first = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    second = subprocess.check_output([sys.executable, "-c", code], env=env, text=True)
    assert first.strip() == second.strip() == str(sorted(FILES))


def test_a_file_is_fetched_once(server: _Server, tmp_path: Path) -> None:
    place = tmp_path / "weights" / "file.pth"
    assert transfers.fetch_file(server.url, place, SHA256).read_bytes() == ARCHIVE
    transfers.fetch_file(server.url, place, SHA256)
    assert len(server.asked) == 1
    with pytest.raises(ValueError, match=f"sha256 {SHA256}; expected {'0' * 64}"):
        transfers.fetch_file(server.url, tmp_path / "other.pth", "0" * 64)
    assert [path.name for path in place.parent.iterdir() if path.suffix != ".lock"] == ["file.pth"]
    assert not list(tmp_path.glob("other.pth*[!k]"))
