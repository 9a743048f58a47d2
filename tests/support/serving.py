"""Requests to an application of `zoo serve`, without a socket, and a gate in its model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from export.serving import server
from tests.cases import LATENT_DIM


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


def tensor_of(name: str, array: np.ndarray, /, **changes: Any) -> dict[str, Any]:
    """A tensor of a request, with entries changed."""
    datatype = "INT32" if array.dtype == np.int32 else "FP32"
    facts = {"name": name, "shape": [*array.shape], "datatype": datatype, "data": array.tolist()}
    return {**facts, **changes}


LATENTS = np.random.default_rng(0).normal(size=(2, LATENT_DIM)).astype(np.float32)
LABELS = np.array([0, 2], np.int32)


def with_latent(**changes: Any) -> dict[str, Any]:
    """Inputs, of which the latents are changed so."""
    return {"inputs": [tensor_of("latent", LATENTS, **changes), tensor_of("label", LABELS)]}


def with_label(**changes: Any) -> dict[str, Any]:
    """Inputs, of which the labels are changed so."""
    return {"inputs": [tensor_of("latent", LATENTS), tensor_of("label", LABELS, **changes)]}


def array_of(answer: Any, i: int = 0) -> np.ndarray:
    """The i-th output of an answer."""
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][i]
    assert output["datatype"] == "FP32"
    return np.array(output["data"], np.float32).reshape(output["shape"])


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


def gated(exported: Path, name: str = "generate", **limits: Any) -> Client:
    client = Client(server.app(exported, **{"max_batch": 8, **limits}))
    model = client.application.state.models[name]
    client.gate = model._session = Gate(model._session)
    return client


GENERATE = "/v2/models/generate/infer"


def request_for(n: int, seed: int, **entries: Any) -> dict[str, Any]:
    """A valid one of n images, unlike others."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(n, LATENT_DIM)).astype(np.float32)
    labels = rng.integers(0, 3, n, np.int32)
    return {"inputs": [tensor_of("latent", latents), tensor_of("label", labels)], **entries}


def together(client: Client, bodies: list[Any], url: str = GENERATE) -> list[Any]:
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


def until(condition: Callable[[], Any]) -> None:
    """Waits for what happens in a thread, at most 10 seconds or so."""
    for _ in range(10_000):
        if condition():
            return
        time.sleep(0.001)
    pytest.fail("nothing happened in 10 seconds")
