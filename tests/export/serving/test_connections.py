"""Clients that are slow, or go away, hold nothing back."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from export.serving import protocol, server
from tests.support.serving import GENERATE, Client, gated, until, with_latent


@pytest.fixture
def listening(
    exported: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[float], tuple[Client, int]]]:
    """Starts a server with a time limit; gives its application, gated, and its port."""
    running = []
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 8)

    def start(timeout: float) -> tuple[Client, int]:
        client = gated(exported, timeout=timeout)
        settings = server.settings(timeout)
        config = uvicorn.Config(client.application, port=0, log_config=None, **settings)
        client.server = uvicorn.Server(config)
        thread = threading.Thread(target=client.server.run)
        thread.start()
        running.append((client, thread))
        until(lambda: client.server.started)
        return client, client.server.servers[0].sockets[0].getsockname()[1]

    with caplog.at_level("INFO"):
        yield start
        for client, thread in running:
            client.gate.opened.set()
            client.server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()
        records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
        assert records, "nothing was logged"
        assert not [record for record in records if record.levelname == "ERROR" or record.exc_info]


def _call(port: int, sent: bytes) -> bytes:
    """All that comes back until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            found += part
    return found


HEALTH = b"GET /v2/health/live HTTP/1.1\r\nHost: zoo\r\nConnection: close\r\n\r\n"
HEAD = f"POST {GENERATE} HTTP/1.1\r\nHost: zoo\r\nContent-Length: ".encode()


def test_slow_clients_are_cut_off(listening: Any) -> None:
    _, port = listening(0.5)
    twice = HEALTH.replace(b"Connection: close\r\n", b"") + b"GET /v2"
    slow = [b"", HEAD, HEAD + b"100\r\n\r\n{", twice]
    connections = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in slow]
    for connection, sent in zip(connections, slow, strict=True):
        connection.sendall(sent)
    nothing, half_a_head, half_a_body, another = map(_rest, connections)
    assert nothing == half_a_head == b""
    assert half_a_body.startswith(b"HTTP/1.1 408")
    assert another.endswith(b'{"live":true}')
    assert b"200 OK" in _call(port, HEALTH)


@pytest.mark.parametrize(("timeout", "taken"), [(0.5, False), (10.0, True)])
def test_who_does_not_take_the_answer_is_cut_off(
    listening: Any, timeout: float, *, taken: bool
) -> None:
    client, port = listening(timeout)
    size = 2**24  # more than the system buffers
    client.application.add_route("/large", lambda _: protocol._Answer("x" * size))
    connections = client.server.server_state.connections
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: zoo\r\nConnection: close\r\n\r\n")
        if not taken:
            until(lambda: connections)
            until(lambda: not connections)
        assert (len(_rest(connection)) > size) == taken


def test_who_waits_for_an_answer_is_not_cut_off(listening: Any) -> None:
    """Nor if both requests came at once, and the second is read as the first is answered."""
    client, port = listening(0.3)
    client.application.state.timeout = 10.0
    body = json.dumps(with_latent()).encode()
    whole = HEAD + f"{len(body)}\r\n\r\n".encode() + body
    held = [client.gate.opened, threading.Event()]
    run, left = client.gate.run, iter(held)

    def in_turn(names: Any, feeds: Any) -> Any:
        client.gate.opened = next(left)
        return run(names, feeds)

    client.gate.run = in_turn
    held[0].clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(whole + whole)
        for event in held:
            time.sleep(0.45)
            event.set()
        assert _rest(connection).count(b"HTTP/1.1 200 OK") == 2


def test_who_goes_away_leaves_no_trace(listening: Any) -> None:
    """While the request is read, computed, or answered; the fixture looks at the log."""
    client, port = listening(5.0)
    body = json.dumps(with_latent()).encode()
    whole = HEAD + f"{len(body)}\r\n\r\n".encode() + body
    for sent, abrupt in ((whole[:-9], False), (whole[:-9], True), (whole, False), (whole, True)):
        client.gate.opened.clear()
        client.gate.started.clear()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            if abrupt:  # with a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(sent)
            if sent == whole:
                assert client.gate.started.wait(10)
        client.gate.opened.set()
    for _ in range(2):
        assert b"200 OK" in _call(port, HEALTH)
    assert client.gate.sizes == [2, 2]


def test_connections_are_bounded(listening: Any) -> None:
    _, port = listening(5.0)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(7)]
    try:
        assert _call(port, HEALTH).startswith(b"HTTP/1.1 503")
    finally:
        for connection in idle:
            connection.close()
    until(lambda: b"200 OK" in _call(port, HEALTH))


def test_what_is_under_way_is_answered_at_the_end(listening: Any) -> None:
    client, port = listening(5.0)
    body = json.dumps(with_latent()).encode()
    client.gate.opened.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(HEAD + f"{len(body)}\r\n\r\n".encode() + body)
        assert client.gate.started.wait(10)
        client.server.should_exit = True
        until(lambda: not client.server.servers[0].sockets)  # listens no more
        client.gate.opened.set()
        assert _rest(connection).startswith(b"HTTP/1.1 200 OK")
