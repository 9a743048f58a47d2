"""`zoo serve`: answers are the model's, and whatever is wrong with a request is explained."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import pytest
import uvicorn
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from typer.testing import CliRunner

import zoo
from export import export_model, read_export
from export.metadata import write_metadata
from export.serving import protocol, serve
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case
from tests.support.scalars import ENTRIES, write_scalars, write_toy
from zoo.cli import app
from zoo.training.runs import save_run


class Client:
    """Calls an application without a socket."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self._transport = httpx.ASGITransport(application, raise_app_exceptions=False)

    async def request(self, method: str, url: str, **options: Any) -> Any:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://zoo") as client:
            return await client.request(method, url, **options)

    def get(self, url: str) -> Any:
        return asyncio.run(self.request("GET", url))

    def post(self, url: str, **options: Any) -> Any:
        return asyncio.run(self.request("POST", url, **options))

    def get_raw(self, path: bytes, method: str = "GET") -> int:
        """The status of a path that is sent as it is."""
        url = httpx.URL("http://zoo", raw_path=path)
        return asyncio.run(self.request(method, url)).status_code


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)


@pytest.fixture(scope="module")
def exported(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "onnx"
    return export_model(model, path, format="onnx", functions=("generate", "encode"))


@pytest.fixture(scope="module")
def client(exported: Path) -> Client:
    return Client(serve.app(exported, max_batch=8, max_bytes=20_000))


@pytest.fixture
def scalars(tmp_path: Path) -> Client:
    return Client(serve.app(write_scalars(tmp_path / "toy"), max_batch=8))


def _tensor(name: str, array: np.ndarray, /, **changes: Any) -> dict[str, Any]:
    datatype = "INT32" if array.dtype == np.int32 else "FP32"
    facts = {"name": name, "shape": [*array.shape], "datatype": datatype, "data": array.tolist()}
    return {**facts, **changes}


LATENTS = np.random.default_rng(0).normal(size=(2, LATENT_DIM)).astype(np.float32)
LABELS = np.array([0, 2], np.int32)


def _latent(**changes: Any) -> dict[str, Any]:
    """Inputs, of which the latents are changed so."""
    return {"inputs": [_tensor("latent", LATENTS, **changes), _tensor("label", LABELS)]}


def _label(**changes: Any) -> dict[str, Any]:
    return {"inputs": [_tensor("latent", LATENTS), _tensor("label", LABELS, **changes)]}


def _array(answer: Any, i: int = 0) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][i]
    assert output["datatype"] == "FP32"
    return np.array(output["data"], np.float32).reshape(output["shape"])


# Answers


def test_generate_answers_what_the_model_draws(client: Client, model: keras.Model) -> None:
    wanted = model.generate_from(LATENTS, LABELS)
    flat = _latent(data=LATENTS.ravel().tolist(), parameters={"content_type": "np"})
    for body in (_latent(), flat):
        for place in ("generate", "generate/versions/1"):
            answer = client.post(f"/v2/models/{place}/infer", json=body)
            np.testing.assert_allclose(_array(answer), wanted, atol=1e-5)
    facts = answer.json()
    assert (facts["model_name"], facts["model_version"]) == ("generate", "1")
    assert "id" not in facts


def test_id_and_outputs_of_the_callers_choice(client: Client, model: keras.Model) -> None:
    images = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    body = {"inputs": [_tensor("image", images), _tensor("label", LABELS)]}
    wanted = dict(zip(("mean", "log_variance"), model.encode(images, LABELS), strict=True))
    both = client.post("/v2/models/encode/infer", json=body)
    assert [output["name"] for output in both.json()["outputs"]] == [*wanted]
    body |= {"id": "a 7", "outputs": [{"name": "log_variance"}]}
    one = client.post("/v2/models/encode/infer", json=body)
    assert one.json()["id"] == "a 7"
    assert len(one.json()["outputs"]) == 1
    np.testing.assert_allclose(_array(one), wanted["log_variance"], atol=1e-5)
    np.testing.assert_allclose(_array(both, 0), wanted["mean"], atol=1e-5)


def test_metadata_and_health(client: Client, exported: Path) -> None:
    server = client.get("/v2").json()
    assert server == {
        "name": "vaegan-zoo",
        "version": read_export(exported)["versions"]["vaegan-zoo"],
        "extensions": [],
    }
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/encode/ready").json() == {"name": "encode", "ready": True}
    found = client.get("/v2/models/generate/versions/1").json()
    assert found == client.get("/v2/models/generate").json()
    assert found == {
        "name": "generate",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "latent", "datatype": "FP32", "shape": [-1, LATENT_DIM]},
            {"name": "label", "datatype": "INT32", "shape": [-1]},
        ],
        "outputs": [{"name": "image", "datatype": "FP32", "shape": [-1, *IMAGE_SHAPE]}],
    }


@pytest.mark.parametrize("shape", [[], [1]])  # the latter as Triton has it
def test_numbers_for_the_whole_batch(scalars: Client, shape: list[int]) -> None:
    numbers = {"n": 3, "seed": 25}
    inputs = [
        {"name": name, "shape": shape, "datatype": "INT32", "data": [value]}
        for name, value in numbers.items()
    ]
    answer = scalars.post("/v2/models/sample/infer", json={"inputs": inputs})
    np.testing.assert_allclose(_array(answer), np.full((3, 2, 2, 1), 0.25))
    for name, value, message in (
        ("n", 9, "n has the value 9: expected 1 to 8"),
        ("n", 0, "expected 1 to 8"),
        ("seed", -1, "seed has the value -1"),
        ("seed", 2**24, "seed has the value 16777216"),
    ):
        wrong = [{**t, "data": [value]} if t["name"] == name else t for t in inputs]
        answer = scalars.post("/v2/models/sample/infer", json={"inputs": wrong})
        assert answer.status_code == 400
        assert message in answer.json()["error"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_json_cannot_say_is_no_answer(served: Client, value: float) -> None:
    served.gate.changes = lambda array: np.full_like(array, value)
    answer = served.post(GENERATE, json=_latent())
    assert answer.status_code == 400
    assert "image is not finite for these inputs" in answer.json()["error"]


def test_every_float32_is_answered_exactly(served: Client) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 2 * 64 * 50, np.uint32)
    numbers = np.array([0.1, -0.0, 1e-45, 3.4028235e38, 8.41e21, 2**24 + 2.0, 1 / 3], np.float32)
    bits[: len(numbers)] = numbers.view(np.uint32)
    found = bits.view(np.float32)
    for part in np.where(np.isfinite(found), found, 0).reshape(50, 2, *IMAGE_SHAPE):
        served.gate.changes = lambda _, part=part: part
        answer = _array(served.post(GENERATE, json=_latent()))
        np.testing.assert_array_equal(answer.view(np.uint32), part.view(np.uint32))


# Requests at the same time


class Gate:
    """A session that computes once it is told to.

    Attributes:
        sizes: Of the batches that were asked for, in turn.
        changes: What becomes of an output.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.sizes: list[int] = []
        self.changes = lambda array: array
        self.started, self.opened = threading.Event(), threading.Event()
        self.opened.set()

    def run(self, names: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(len(next(iter(feeds.values()))))
        self.started.set()
        assert self.opened.wait(10)
        return [self.changes(array) for array in self._session.run(names, feeds)]

    async def reached(self) -> None:
        """When a batch is being computed."""
        while not self.started.is_set():
            await asyncio.sleep(0.001)


def _gated(exported: Path, name: str = "generate", **limits: Any) -> Client:
    client = Client(serve.app(exported, **{"max_batch": 8, **limits}))
    model = client.application.state.models[name]
    client.gate = model._session = Gate(model._session)
    return client


@pytest.fixture
def served(exported: Path) -> Client:
    return _gated(exported)


GENERATE = "/v2/models/generate/infer"


def _request(n: int, seed: int, **entries: Any) -> dict[str, Any]:
    """A valid one of n images, unlike others."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(n, LATENT_DIM)).astype(np.float32)
    labels = rng.integers(0, 3, n, np.int32)
    return {"inputs": [_tensor("latent", latents), _tensor("label", labels)], **entries}


def _together(client: Client, bodies: list[Any], url: str = GENERATE) -> list[Any]:
    """The answers to the first request, and to others that come while it is computed, in turn."""

    async def all_of_them() -> list[Any]:
        client.gate.opened.clear()
        first = asyncio.ensure_future(client.request("POST", url, json=bodies[0]))
        await client.gate.reached()
        others = []
        for i, body in enumerate(bodies[1:], start=1):
            others.append(asyncio.ensure_future(client.request("POST", url, json=body)))
            while len(client.application.state.batches[url.split("/")[3]]._arrived) < i:
                await asyncio.sleep(0.001)
        client.gate.opened.set()
        return await asyncio.gather(first, *others)

    return asyncio.run(all_of_them())


def test_others_are_answered_while_a_model_computes(served: Client) -> None:
    async def both() -> tuple[Any, Any]:
        served.gate.opened.clear()
        slow = asyncio.ensure_future(served.request("POST", GENERATE, json=_latent()))
        await served.gate.reached()
        others = [
            await served.request("GET", url)
            for url in ("/v2/health/live", "/v2/health/ready", "/v2/models/generate")
        ]
        assert not slow.done()
        served.gate.opened.set()
        return others, await slow

    others, slow = asyncio.run(both())
    assert [answer.status_code for answer in (*others, slow)] == [200] * 4


def test_what_waits_is_computed_together(served: Client) -> None:
    sizes = [1, 1, 2, 1, 3, 1, 2]  # for the last there is no room among 8
    bodies = [_request(n, i, id=f"no. {i}") for i, n in enumerate(sizes)]
    found = _together(served, bodies)
    assert served.gate.sizes == [1, 8, 2]
    alone = [served.post(GENERATE, json=body) for body in bodies]
    for i, (answer, wanted) in enumerate(zip(found, alone, strict=True)):
        assert answer.json()["id"] == f"no. {i}"
        assert _array(answer).shape == (sizes[i], *IMAGE_SHAPE)
        np.testing.assert_allclose(_array(answer), _array(wanted), atol=1e-6)


def test_a_joined_answer_is_no_longer_than_one(exported: Path) -> None:
    client = _gated(exported, max_values=3 * 64)
    found = _together(client, [_request(1, i) for i in range(6)])
    assert [answer.status_code for answer in found] == [200] * 6
    assert client.gate.sizes == [1, 3, 2]


def test_other_outputs_are_computed_apart(exported: Path) -> None:
    client = _gated(exported, "encode")
    images = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    inputs = [_tensor("image", images), _tensor("label", LABELS)]
    mean, all_of_them = [{"name": "mean"}], [{"name": "mean"}, {"name": "log_variance"}]
    outputs = [mean, mean, mean, all_of_them, mean]
    bodies = [{"inputs": inputs, "outputs": each} for each in outputs]
    found = _together(client, bodies, "/v2/models/encode/infer")
    assert client.gate.sizes == [2, 4, 2, 2]
    for answer, each in zip(found, outputs, strict=True):
        assert [{"name": output["name"]} for output in answer.json()["outputs"]] == each
        np.testing.assert_allclose(_array(answer), _array(found[0]), atol=1e-6)


def test_a_wrong_request_fails_alone(served: Client) -> None:
    run = served.gate.run

    def refuse(names: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        if (feeds["latent"] > 50).any():
            raise InvalidArgument("indices element out of data bounds")
        return run(names, feeds)

    served.gate.run = refuse
    bad = _request(1, 2)
    bad["inputs"][0]["data"] = [[99.0, 0.0, 0.0]]  # found out as it is computed
    bodies = [_request(1, 0), _request(1, 1), bad, {"inputs": []}, _request(1, 4)]
    found = _together(served, bodies)
    assert [answer.status_code for answer in found] == [200, 200, 400, 400, 200]
    assert "generate cannot compute this: indices" in found[2].json()["error"]
    assert "inputs none" in found[3].json()["error"]
    for i in (0, 1, 4):
        wanted = _array(served.post(GENERATE, json=bodies[i]))
        np.testing.assert_allclose(_array(found[i]), wanted, atol=1e-6)


def test_a_fault_in_a_batch_leaves_the_server_well(served: Client) -> None:
    served.gate.changes = lambda _: 1 / 0
    found = _together(served, [_request(1, i) for i in range(3)])
    assert [answer.status_code for answer in found] == [500] * 3
    served.gate.changes = lambda array: array
    assert served.post(GENERATE, json=_latent()).status_code == 200


def test_numbers_for_the_whole_batch_are_computed_alone(tmp_path: Path) -> None:
    client = Client(serve.app(write_scalars(tmp_path / "toy"), max_batch=8))
    model = client.application.state.models["sample"]
    sizes, session = [], model._session

    def run(names: Any, feeds: Any) -> Any:
        sizes.append(int(feeds["n"]))
        client.gate.started.set()
        assert client.gate.opened.wait(10)
        return session.run(names, feeds)

    client.gate = Gate(session)
    client.gate.run = run
    model._session = client.gate
    bodies = [
        {
            "inputs": [
                {"name": "n", "shape": [], "datatype": "INT32", "data": [n]},
                {"name": "seed", "shape": [], "datatype": "INT32", "data": [10 * n]},
            ]
        }
        for n in (1, 2, 3)
    ]
    found = _together(client, bodies, "/v2/models/sample/infer")
    assert sizes == [1, 2, 3]
    for n, answer in enumerate(found, start=1):
        np.testing.assert_allclose(_array(answer), np.full((n, 2, 2, 1), n / 10), atol=1e-6)


def test_images_that_depend_on_others_are_computed_alone(tmp_path: Path) -> None:
    """As of a network that compares the images of a batch."""
    client = _gated(write_toy(tmp_path / "toy", "mean = ReduceMean (x, axis) y = Sub (x, mean)"))
    inputs = [[{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [i, i]}] for i in (1, 9)]
    found = _together(client, [{"inputs": each} for each in (*inputs, *inputs)])
    assert client.gate.sizes == [1] * 4
    for answer in found:
        np.testing.assert_array_equal(_array(answer), [[0.0, 0.0]])
    other = _gated(write_toy(tmp_path / "other", "y = Neg (x)"))
    _together(other, [{"inputs": each} for each in (*inputs, *inputs)])
    assert other.gate.sizes == [1, 3]


# Limits


def test_no_more_requests_at_once_than_there_is_room_for(exported: Path) -> None:
    client = _gated(exported, max_requests=2)

    async def three() -> list[Any]:
        client.gate.opened.clear()
        two = [
            asyncio.ensure_future(client.request("POST", GENERATE, json=_latent()))
            for _ in range(2)
        ]
        await client.gate.reached()
        third = await client.request("POST", GENERATE, json=_latent())
        health = await client.request("GET", "/v2/health/live")
        client.gate.opened.set()
        return [third, health, *await asyncio.gather(*two)]

    third, *others = asyncio.run(three())
    assert third.status_code == 503
    assert third.json() == {"error": "The server is at work on 2 requests. Try again later."}
    assert [answer.status_code for answer in others] == [200] * 3
    for _ in range(3):  # the places are free again, after answers and after refusals
        assert client.post(GENERATE, json=_latent()).status_code == 200
        assert client.post(GENERATE, json={}).status_code == 400


def test_an_answer_that_takes_too_long(exported: Path) -> None:
    client = _gated(exported)
    state = client.application.state

    async def two() -> list[Any]:
        client.gate.opened.clear()
        first = asyncio.ensure_future(client.request("POST", GENERATE, json=_latent()))
        await client.gate.reached()
        state.timeout = 0.05
        second = await client.request("POST", GENERATE, json=_latent())
        client.gate.opened.set()
        return [await first, second]

    first, second = asyncio.run(two())
    assert first.status_code == 200
    assert second.status_code == 503
    assert "generate did not answer within 0.05 seconds" in second.json()["error"]
    state.timeout = 10
    assert client.post(GENERATE, json=_latent()).status_code == 200
    assert client.gate.sizes == [2, 2]  # nothing was computed for the one that had given up
    state.timeout = 0.05
    client.gate.opened.clear()  # nor can one wait for ever that is being computed
    assert client.post(GENERATE, json=_latent()).status_code == 503
    client.gate.opened.set()


def test_a_body_that_drips(exported: Path) -> None:
    client = Client(serve.app(exported, timeout=0.05))

    async def parts() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    answer = client.post(GENERATE, content=parts())
    assert answer.status_code == 408
    assert answer.json() == {"error": "The request did not arrive within 0.05 seconds."}


def test_large_answers(exported: Path, tmp_path: Path) -> None:
    client = _gated(exported, max_values=3 * 64)
    assert client.post(GENERATE, json=_request(3, 0)).status_code == 200
    answer = client.post(GENERATE, json=_request(4, 0))
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        "The answer to a batch of 4 would have 256 numbers: expected at most 192. Take a batch of "
        "3 or less, or start the server with a larger --max-values."
    )
    assert client.gate.sizes == [3]
    samples = Client(serve.app(write_scalars(tmp_path / "toy"), max_batch=8, max_values=8))
    for n, status in ((2, 200), (3, 400)):
        inputs = [
            {"name": name, "shape": [], "datatype": "INT32", "data": [value]}
            for name, value in (("n", n), ("seed", 0))
        ]
        answer = samples.post("/v2/models/sample/infer", json={"inputs": inputs})
        assert answer.status_code == status


def test_an_error_is_short_whatever_it_quotes(client: Client, exported: Path) -> None:
    body = {"inputs": [_tensor("x" * 15_000, LATENTS)]}
    answer = client.post(GENERATE, json=body)
    assert answer.status_code == 400
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"inputs": [1] * 1000}, "inputs.0: Input should be an object"),
        ({"inputs": [_tensor("latent", LATENTS)] * 65}, "inputs: List should have at most 64"),
        ({**_latent(), "outputs": [1] * 1000}, "outputs.0: Input should be an object"),
        (_latent(shape=["1"] * 1000), "inputs.0.shape.0: Input should be a valid integer"),
        (_latent(shape=[1] * 1000), "inputs.0.shape: List should have at most 8 items"),
    ],
)
def test_the_first_of_many_faults_is_all_that_is_looked_for(
    exported: Path, body: Any, place: str
) -> None:
    """All of a body's 16 MiB took minutes and gigabytes."""
    model = serve.app(exported).state.models["generate"]
    with pytest.raises(ValueError, match=re.escape(place)) as caught:
        model.prepare(json.dumps(body).encode())
    assert caught.value.__cause__.error_count() == 1


def test_no_more_lists_than_data_can_need(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.serving.inference.MOST_BRACKETS", 100)
    monkeypatch.setattr("export.serving.inference.from_json", lambda _: 1 / 0)  # is not asked
    answer = client.post(GENERATE, json=_latent(data=[[]] * 100))
    assert answer.status_code == 400
    assert (
        answer.json()["error"] == "The request has more than 100 lists and objects. Send data flat."
    )


# Connections


@pytest.fixture
def listening(
    exported: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[float], tuple[Client, int]]]:
    """Starts a server with a time limit; gives its application, gated, and its port."""
    running = []
    monkeypatch.setattr(serve, "MAX_CONNECTIONS", 8)

    def start(timeout: float) -> tuple[Client, int]:
        client = _gated(exported, timeout=timeout)
        settings = serve.settings(timeout)
        config = uvicorn.Config(client.application, port=0, log_config=None, **settings)
        client.server = uvicorn.Server(config)
        thread = threading.Thread(target=client.server.run)
        thread.start()
        running.append((client, thread))
        _until(lambda: client.server.started)
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


def _until(condition: Callable[[], Any]) -> None:
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    pytest.fail("nothing happened in 10 seconds")


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
            _until(lambda: connections)
            _until(lambda: not connections)
        assert (len(_rest(connection)) > size) == taken


def test_who_waits_for_an_answer_is_not_cut_off(listening: Any) -> None:
    """Nor if both requests came at once, and the second is read as the first is answered."""
    client, port = listening(0.3)
    client.application.state.timeout = 10.0
    body = json.dumps(_latent()).encode()
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
    body = json.dumps(_latent()).encode()
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
    _until(lambda: b"200 OK" in _call(port, HEALTH))


def test_what_is_under_way_is_answered_at_the_end(listening: Any) -> None:
    client, port = listening(5.0)
    body = json.dumps(_latent()).encode()
    client.gate.opened.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(HEAD + f"{len(body)}\r\n\r\n".encode() + body)
        assert client.gate.started.wait(10)
        client.server.should_exit = True
        _until(lambda: not client.server.servers[0].sockets)  # listens no more
        client.gate.opened.set()
        assert _rest(connection).startswith(b"HTTP/1.1 200 OK")


# Requests that are wrong

WRONG = {
    "an output that is not there": ({**_latent(), "outputs": [{"name": "x"}]}, "'x': generate has"),
    "an output twice": (
        {**_latent(), "outputs": [{"name": "image"}] * 60},
        "output 'image' is named more than once. Name each once.",
    ),
    "no inputs": ({"inputs": []}, "inputs none: generate takes latent, label"),
    "one input": ({"inputs": [_tensor("latent", LATENTS)]}, "takes latent, label"),
    "an input twice": ({"inputs": [_tensor("latent", LATENTS)] * 2}, "takes latent, label"),
    "another input": (_latent(name="z"), "inputs z, label: generate takes latent, label"),
    "no list": ({"inputs": {}}, "inputs: "),
    "no shape": ({"inputs": [{"name": "latent"}]}, "inputs.0.shape: "),
    "a shape of text": (_latent(shape="2, 3"), "inputs.0.shape: "),
    "an id that is no text": ({**_latent(), "id": 7}, "id: "),
    "an array": ([], "object"),
    "rank 0": (_latent(shape=[], data=[0.0]), r"shape []: expected [batch, 3]"),
    "rank 1": (_latent(shape=[6]), "shape [6]: expected [batch, 3]"),
    "rank 3": (_latent(shape=[1, 2, 3]), "expected [batch, 3]"),
    "another size": (_latent(shape=[2, 4]), "shape [2, 4]: expected [batch, 3]"),
    "a negative size": (_latent(shape=[-2, 3]), "expected [-2, 3], or flat"),
    "too few data": (_latent(data=[0.0] * 5), "data of shape [5]: expected [2, 3], or flat"),
    "turned data": (_latent(data=[[0.0] * 2] * 3), "data of shape [3, 2]"),
    "ragged data": (_latent(data=[[0.0] * 3, [0.0] * 2]), "numbers that are FP32"),
    "data of text": (_latent(data=["0"] * 6), "numbers that are FP32"),
    "data with a truth": (_latent(data=[True] + [0.0] * 5), "numbers that are FP32"),
    "data with null": (_latent(data=[None] + [0.0] * 5), "numbers that are FP32"),
    "a number beyond float32": (_latent(data=[1e39] + [0.0] * 5), "too large for FP32"),
    "a number beyond float64": (_latent(data=[10**400] + [0.0] * 5), "too large for FP32"),
    "doubles": (_latent(datatype="FP64"), "latent is FP64: expected FP32"),
    "labels as floats": (_label(datatype="FP32"), "label is FP32: expected INT32"),
    "a broken label": (_label(data=[0.5, 1]), "numbers that are INT32"),
    "a label beyond int32": (_label(data=[2**40, 0]), "too large for INT32"),
    "no class": (_label(data=[0, 3]), "label has the value 3: expected 0 to 2"),
    "a negative class": (_label(data=[-1, 0]), "label has the value -1"),
    "two batch sizes": (_label(shape=[1], data=[0]), "'latent': 2, 'label': 1"),
    "an empty batch": (
        {"inputs": [_tensor("latent", LATENTS[:0]), _tensor("label", LABELS[:0])]},
        "batch of 0: expected 1 to 8",
    ),
    "a large batch": (
        {"inputs": [_tensor("latent", np.zeros((9, 3), np.float32)), _tensor("label", LABELS)]},
        "'latent': 9",
    ),
    "the largest batch and one": (
        {
            "inputs": [
                _tensor("latent", np.zeros((9, 3), np.float32)),
                _tensor("label", np.zeros(9, np.int32)),
            ]
        },
        "batch of 9: expected 1 to 8",
    ),
    "a binary input": (_latent(parameters={"binary_data_size": 24}), "Binary tensors are not"),
    "a binary output": (
        {**_latent(), "outputs": [{"name": "image", "parameters": {"binary_data": True}}]},
        "Binary tensors are not",
    ),
}


@pytest.mark.parametrize(("body", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_explained(client: Client, body: Any, message: str) -> None:
    answer = client.post("/v2/models/generate/infer", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 5000, b'{"inputs": \xff}', json.dumps(_latent()).encode()[:-2]]
)
def test_what_is_no_json(client: Client, body: bytes) -> None:
    answer = client.post("/v2/models/generate/infer", content=body)
    assert answer.status_code == 400
    assert "Invalid JSON" in answer.json()["error"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none(client: Client, number: str) -> None:
    body = json.dumps(_latent(data=["HERE", *[0.0] * 5])).replace('"HERE"', number)
    answer = client.post("/v2/models/generate/infer", content=body)
    assert answer.status_code == 400
    assert "NaN, or too large for FP32" in answer.json()["error"]


def test_images_of_another_range(client: Client) -> None:
    images = np.full((2, *IMAGE_SHAPE), 255.0, np.float32)
    body = {"inputs": [_tensor("image", images), _tensor("label", LABELS)]}
    answer = client.post("/v2/models/encode/infer", json=body)
    assert answer.status_code == 400
    assert "image has the value 255.0: expected 0.0 to 1.0" in answer.json()["error"]


def test_what_is_not_there(client: Client) -> None:
    for url, message in (
        ("/v2/models/paint", "no model 'paint': there are generate, encode"),
        ("/v2/models/paint/ready", "no model 'paint'"),
        ("/v2/models/generate/versions/2", "no version '2'"),
        ("/v2/models", "Not Found"),
        ("/", "Not Found"),
    ):
        answer = client.get(url)
        assert answer.status_code == 404
        assert message in answer.json()["error"]
    assert client.post("/v2/models/paint/infer", json=_latent()).status_code == 404
    answer = client.post("/v2/models/generate", json=_latent())
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


def test_large_requests_and_binary_ones(client: Client) -> None:
    async def parts() -> Any:  # a body without a length
        for _ in range(30):
            yield b" " * 1000

    for content in (b" " * 20_001, parts()):
        answer = client.post("/v2/models/generate/infer", content=content)
        assert answer.status_code == 413
        assert "more than 20000 bytes" in answer.json()["error"]
    headers = {"Inference-Header-Content-Length": "10"}
    answer = client.post("/v2/models/generate/infer", json=_latent(), headers=headers)
    assert answer.status_code == 400
    assert "Binary" in answer.json()["error"]


def test_a_fault_of_the_server_is_json_too(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.serving.inference.Served.prepare", lambda *_: 1 / 0)
    answer = Client(serve.app(exported)).post("/v2/models/generate/infer", json=_latent())
    assert answer.status_code == 500
    assert answer.json() == {"error": "ZeroDivisionError: division by zero"}


# What is served


@pytest.fixture
def web(exported: Path, tmp_path: Path) -> Path:
    """A playground with a page of its own."""
    web = tmp_path / "web"
    shutil.copytree(exported, web / "models")
    (web / "index.html").write_text("<title>zoo</title>")
    found = read_export(exported)
    entries = {k: v for k, v in found.items() if k not in ("format", "run", "files", "folder")}
    write_metadata(web, web, "web", None, entries)
    return web


def test_the_playground_is_at_the_root(exported: Path, web: Path) -> None:
    client = Client(serve.app(web))
    assert client.get("/").text == "<title>zoo</title>"
    assert client.get("/models/generate.onnx").content == (exported / "generate.onnx").read_bytes()
    assert client.get("/v2/models/generate").json()["name"] == "generate"
    assert client.post("/v2/models/generate/infer", json=_latent()).status_code == 200


def test_paths_stay_inside_the_folder(web: Path, tmp_path: Path) -> None:
    client = Client(serve.app(web))
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "web-secret").write_text("secret")  # whose path begins as the folder's does
    (web / "link").symlink_to(tmp_path / "secret")
    (web / "folder").symlink_to(tmp_path)
    (web / "inside").symlink_to("index.html")
    for method in ("GET", "HEAD"):
        assert client.get_raw(b"/index.html", method) == 200
        assert client.get_raw(b"/inside", method) == 200
        for path in OUTSIDE:
            assert client.get_raw(path, method) == 404, path
    assert client.get_raw(b"/index.html", "POST") == 405


OUTSIDE = (
    b"/../secret",
    b"/models/../../secret",
    b"/%2e%2e/secret",
    b"/%2E%2E%2Fsecret",
    b"/..%2fsecret",
    b"/..%5csecret",
    b"/%252e%252e/secret",
    b"/../web-secret",
    b"/link",
    b"/folder/secret",
    b"/folder/../secret",
    b"//etc/passwd",
    b"/%2fetc%2fpasswd",
    b"/etc/passwd",
    b"/index.html%00",
    b"/%00",
    b"/%ff",
    b"/index.html/x",
    b"/models",
    b"/" + b"a" * 5000,
    b"/" + b"a/" * 3000,
)


def test_what_cannot_be_served(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="not an export"):
        serve.app(tmp_path)
    changed = tmp_path / "changed"
    shutil.copytree(exported, changed)
    (changed / "encode.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match="encode.onnx is missing, or not what was exported"):
        serve.app(changed)
    saved = tmp_path / "saved"
    saved.mkdir()
    write_metadata(saved, saved, "saved_model", None, ENTRIES)
    with pytest.raises(ValueError, match="saved_model: expected an export of format web or onnx"):
        serve.app(saved)


def test_a_run_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a playground, or where that fails as plain ONNX."""
    formats: list[str] = []

    def export(_: None, path: Path, format: str, run: Path) -> Path:  # noqa: A002
        formats.append(format)
        if format == "web" and len(formats) == 1:
            raise FileNotFoundError("there is no npm")
        path.mkdir(parents=True)
        (path / "zoo_export.json").touch()
        return path

    monkeypatch.setattr(serve, "load_run", lambda _: None)
    monkeypatch.setattr(serve, "export_model", export)
    run, lines = tmp_path / "run", []
    run.mkdir()
    (run / "config.json").touch()
    (run / "model.keras").touch()
    web, plain = run / "export" / "web", run / "export" / "onnx"
    assert serve.export_of(run, lines.append) == plain
    assert lines[0].startswith(f"Exporting {run} to {web}")
    assert lines[1:] == ["No playground: there is no npm"]
    assert serve.export_of(run, lines.append) == web
    assert serve.export_of(run, lines.append) == web
    assert formats == ["web", "onnx", "web"]
    assert serve.export_of(plain, lines.append) == plain
    assert len(lines) == 3
    os.utime(web / "zoo_export.json", (0, 0))
    assert serve.export_of(run, lines.append) == web
    assert "older than the run's model" in lines[3]


def test_the_runtime_in_the_docs_is_the_tested_one() -> None:
    root = Path(__file__).parent
    runtime = (root / "servers" / "mlserver_onnx.py").read_text().split("\n\n", 1)[1]
    assert runtime in (root.parents[1] / "docs" / "serving.md").read_text()


@pytest.mark.slow
def test_a_run_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM)
    model.compile()
    save_run(model, tmp_path / "run", {"data": "x", "epochs": 0, "batch_size": 8, "seed": 0})
    lines: list[str] = []
    path = serve.export_of(tmp_path / "run", lines.append)
    assert path == tmp_path / "run" / "export" / "onnx"
    assert "npm" in lines[1]
    body = {"inputs": [_tensor("latent", LATENTS)]}
    answer = Client(serve.app(path)).post("/v2/models/generate/infer", json=body)
    np.testing.assert_allclose(_array(answer), model.generate_from(LATENTS), atol=1e-5)
    assert read_export(path)["run"] == tmp_path / "run"


def test_the_commands_limits_are_the_servers(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, Any] = {}

    def run(application: Any, **settings: Any) -> None:
        served.update(settings, application=application)

    monkeypatch.setattr(serve.uvicorn, "run", run)
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    options = ["--port", "0", "--max-batch", "3", "--max-values", "128", "--timeout", "2.5"]
    assert CliRunner().invoke(app, ["serve", str(exported), *options]).exit_code == 0
    client = Client(served["application"])
    for n, message in ((4, "expected 1 to 3"), (3, "expected at most 128"), (2, None)):
        answer = client.post(GENERATE, json=_request(n, 0))
        assert answer.status_code == (400 if message else 200)
        assert not message or message in answer.json()["error"]
    assert client.application.state.timeout == 2.5
    assert served["http"].keywords == {"seconds": 2.5}


def test_a_request_that_the_servers_end_cuts_off() -> None:
    """It is dropped, for uvicorn would log a traceback."""

    async def cut_off(*_: object) -> None:
        raise asyncio.CancelledError

    at_once = protocol._AtOnce(cut_off, most=1)
    asyncio.run(at_once({"type": "http", "method": "POST"}, None, None))  # type: ignore[arg-type]
    assert at_once._held == 0


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.core], ids=lambda case: case.id)
def test_every_model_may_be_batched(case: Case, tmp_path: Path) -> None:
    path = export_model(case.create(), tmp_path / "onnx", format="onnx")
    models = serve.app(path).state.models
    for name, model in models.items():
        assert model._joins == (name != "sample"), name


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_as_it_should(
    exported: Path, model: keras.Model, sent: signal.Signals
) -> None:
    command = [sys.executable, "-m", "zoo", "serve", str(exported), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            url = None
            while url is None:
                line = server.stderr.readline()
                assert line, "the server ended"
                url = re.search(r"http://127\.0\.0\.1:\d+", line)
            answer = httpx.post(f"{url[0]}/v2/models/generate/infer", json=_latent(), timeout=30)
            wanted = model.generate_from(LATENTS, LABELS)
            np.testing.assert_allclose(_array(answer), wanted, atol=1e-5)
            server.send_signal(sent)
            assert server.wait(30) == 0
            assert "Traceback" not in server.stderr.read()
        finally:
            server.kill()
