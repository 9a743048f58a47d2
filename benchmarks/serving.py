"""How many images a second `zoo serve` answers one client with, and several at once.

    python benchmarks/serving.py [RUN]

A server process on this machine and clients in this one, over loopback. Each client sends a request
of one latent to `generate`, reads the answer, and sends the next. One client and several take
turns, for a fixed time each, so that both see the same machine. Prints medians and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.bench.run import processor

if TYPE_CHECKING:
    from collections.abc import Iterator

# Python looks here first, and would take export.py for the package `export`.
sys.path.remove(str(Path(__file__).resolve().parent))

ROOT = Path(__file__).resolve().parent.parent
MOST = 20_000  # requests of one client in one turn


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "run", nargs="?", default=str(ROOT / "saved_models/dcgan_conditional_fashion_mnist")
    )
    parser.add_argument("--clients", type=int, default=8, help="How many at once, beside one.")
    parser.add_argument("--seconds", type=float, default=3.0, help="Of a turn.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(exported(args.run, folder)) as port:
        request = request_of(port)
        turn(port, request, args.clients, 1.0)  # warms up
        speeds_of: dict[int, list[float]] = {1: [], args.clients: []}
        for _ in range(args.rounds):
            for clients, speeds in speeds_of.items():
                speeds.append(turn(port, request, clients, args.seconds))
    load = os.getloadavg()[0]
    print(f"{processor()}, {len(os.sched_getaffinity(0))} cores, load {load:.1f}")
    for clients, speeds in speeds_of.items():
        listed = ", ".join(f"{speed:.0f}" for speed in speeds)
        print(f"{clients} at once: {statistics.median(speeds):.0f} images/s ({listed})")
    one, several = (statistics.median(speeds) for speeds in speeds_of.values())
    print(f"{args.clients} clients get {several / one:.2f} times what one gets")


def exported(run: str, folder: str) -> Path:
    """An ONNX export of the run's `generate`."""
    from export import export_model  # noqa: PLC0415  (TensorFlow, once arguments are right)
    from zoo.training.runs import load_run  # noqa: PLC0415

    path = Path(folder) / "onnx"
    return export_model(load_run(run), path, format="onnx", functions=("generate",))


@contextmanager
def serving(path: Path) -> Iterator[int]:
    """The port of a server of the export."""
    command = [sys.executable, "-m", "zoo", "serve", str(path), "--port", "0"]
    with (path.parent / "log").open("w+") as log:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            for _ in range(1200):
                text = (path.parent / "log").read_text()
                if match := re.search(r"http://127\.0\.0\.1:(\d+)", text):
                    yield int(match[1])
                    return
                if server.poll() is not None:
                    break
                time.sleep(0.1)
            raise RuntimeError(f"The server did not start: {text[-2000:]}")
        finally:
            server.terminate()
            server.wait(30)


def request_of(port: int) -> bytes:
    """A request for one image, as the server's metadata has it, with headers."""
    facts = json.loads(call(port, b"GET /v2/models/generate HTTP/1.1\r\nHost: zoo\r\n\r\n"))
    rng, inputs = np.random.default_rng(0), []
    for tensor in facts["inputs"]:
        shape = [1, *tensor["shape"][1:]]
        data = rng.normal(size=shape).astype(np.float32).ravel().tolist()
        data = data if tensor["datatype"] == "FP32" else [0]
        inputs.append({**tensor, "shape": shape, "data": data})
    body = json.dumps({"inputs": inputs}).encode()
    head = f"POST /v2/models/generate/infer HTTP/1.1\r\nHost: zoo\r\nContent-Length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    call(port, request)
    return request


def call(port: int, request: bytes) -> bytes:
    """The body of the answer to one request."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        return answer_from(connection)


def answer_from(connection: socket.socket) -> bytes:
    """The body of the next answer.

    Raises:
        RuntimeError: If it is not a success.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(2**18)
        if not part:
            raise RuntimeError("The server closed the connection.")
        received += part
    head, body = received.split(b"\r\n\r\n", 1)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{head!r} {body!r}")
    length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
    while len(body) < length:
        body += connection.recv(2**18)
    return body


def turn(port: int, request: bytes, clients: int, seconds: float) -> float:
    """Images a second that so many clients get together."""
    counts = [0] * clients
    start = time.perf_counter()

    def client(i: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() - start < seconds and counts[i] < MOST:
                connection.sendall(request)
                answer_from(connection)
                counts[i] += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
