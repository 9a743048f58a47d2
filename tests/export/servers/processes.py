"""Servers of others, each in an environment of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def environment(folder: Path, *requirements: str) -> Path:
    """Installs packages into a new environment; skips the test if they cannot be had.

    Returns:
        Its folder of programs.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    try:
        done = subprocess.run(
            [*pip, "--disable-pip-version-check", *requirements],
            check=False, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"{requirements[0]} could not be installed in 15 minutes")
    if done.returncode:
        pytest.skip(f"{requirements[0]} cannot be installed: {done.stderr.strip()[-300:]}")
    return folder / "bin"


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(
    command: list[str | Path], port: int, log: Path, variables: dict[str, str]
) -> Iterator[httpx.Client]:
    """A client of a server of the Open Inference Protocol, which is ready."""
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=log.parent, env={**os.environ, **variables}
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                for _ in range(600):
                    assert server.poll() is None, log.read_text()[-3000:]
                    try:
                        if client.get("/v2/health/ready").status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    time.sleep(0.1)
                else:
                    pytest.fail(f"not ready after a minute: {log.read_text()[-3000:]}")
                yield client
        finally:
            server.terminate()
            server.wait(60)
