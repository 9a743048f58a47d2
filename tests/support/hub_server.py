"""As much of Hugging Face as its client and `zoo.hub` ask for, on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

COMMIT = "a" * 40


class HubServer(ThreadingHTTPServer):
    """Serves repositories: files by path, by the repository's name.

    Large files (`LARGE` in their name) are on another path, with their SHA-256 in the listing, as
    the real one has them. While `cuts` is above 0, a large file breaks off after `cut` bytes; a
    request with a `Range` then gets the status `refusal`, if that is set.
    """

    LARGE = ".safetensors"
    cut, cuts, refusal = 0, 0, 0

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        self.asked: list[tuple[str, str | None]] = []  # path and Range of the GETs of files
        self.tokens: set[tuple[str, str | None]] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"

    @property
    def downloaded(self) -> list[str]:
        """The files whose content was asked for, each once."""
        return sorted({path for path, _ in self.asked})


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4])
        elif parts[0] == "cdn":
            self._file("/".join(parts[1:3]), "/".join(parts[3:]))
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self.send_error(404)

    do_HEAD = do_GET  # noqa: N815  (its name)

    def do_POST(self) -> None:
        """The files of a repository among some paths."""
        parts = self.path.strip("/").split("/")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = parse_qs(body)["paths"]
        rows = [row for row in self._rows("/".join(parts[2:4])) if row["path"] in wanted]
        self._send(200, json.dumps(rows).encode())

    def _api(self, repo: str, what: str) -> None:
        if repo not in self.server.repositories:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif what == "revision":
            self._send(200, json.dumps({"id": repo, "sha": COMMIT, "siblings": []}).encode())
        else:
            self._send(200, json.dumps(self._rows(repo)).encode())

    def _rows(self, repo: str) -> list[dict[str, Any]]:
        rows = []
        for path, content in self.server.repositories[repo].items():
            row: dict[str, Any] = {"type": "file", "path": path, "oid": "0", "size": len(content)}
            if path.endswith(self.server.LARGE):
                digest = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
            rows.append(row)
        return rows

    def _resolve(self, repo: str, commit: str, path: str) -> None:
        if commit != COMMIT or path not in self.server.repositories[repo]:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        self.server.tokens.add((path, self.headers["Authorization"]))
        content = self.server.repositories[repo][path]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        if path.endswith(self.server.LARGE):
            place = f"http://localhost:{self.server.server_port}/cdn/{repo}/{path}"
            self._send(302, b"", {**headers, "Location": place})
        else:
            if self.command == "GET":
                self.server.asked.append((path, None))
            self._send(200, content, headers)

    def _file(self, repo: str, path: str) -> None:
        """A large file, from the byte on that is asked for."""
        server, asked = self.server, self.headers["Range"]
        content = server.repositories[repo][path]
        server.asked.append((path, asked))
        server.tokens.add((f"cdn/{path}", self.headers["Authorization"]))
        start = int(asked[len("bytes=") : -1]) if asked else 0
        if start and server.refusal:
            self._send(server.refusal, b"")
            return
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        cut = server.cut if server.cuts > 0 else len(content)
        server.cuts -= 1
        self._send(206 if start else 200, content[start:], headers if start else {}, cut)

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str] = {}, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def hub_server(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[HubServer]:
    """A server that runs while the block does."""
    with HubServer(repositories) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
