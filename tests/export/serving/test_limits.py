"""Requests that are too many, too large or too slow are answered at once."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from export.serving import server
from tests.support.scalars import write_scalars
from tests.support.serving import (
    GENERATE,
    LATENTS,
    Client,
    gated,
    request_for,
    tensor_of,
    with_latent,
)


def test_no_more_requests_at_once_than_there_is_room_for(exported: Path) -> None:
    client = gated(exported, max_requests=2)

    async def three() -> list[Any]:
        client.gate.opened.clear()
        two = [
            asyncio.ensure_future(client.request("POST", GENERATE, json=with_latent()))
            for _ in range(2)
        ]
        await client.gate.reached()
        third = await client.request("POST", GENERATE, json=with_latent())
        health = await client.request("GET", "/v2/health/live")
        client.gate.opened.set()
        return [third, health, *await asyncio.gather(*two)]

    third, *others = asyncio.run(three())
    assert third.status_code == 503
    assert third.json() == {"error": "The server is at work on 2 requests. Try again later."}
    assert [answer.status_code for answer in others] == [200] * 3
    for _ in range(3):  # the places are free again, after answers and after refusals
        assert client.post(GENERATE, json=with_latent()).status_code == 200
        assert client.post(GENERATE, json={}).status_code == 400


def test_an_answer_that_takes_too_long(exported: Path) -> None:
    client = gated(exported)
    state = client.application.state

    async def two() -> list[Any]:
        client.gate.opened.clear()
        first = asyncio.ensure_future(client.request("POST", GENERATE, json=with_latent()))
        await client.gate.reached()
        state.timeout = 0.05
        second = await client.request("POST", GENERATE, json=with_latent())
        client.gate.opened.set()
        return [await first, second]

    first, second = asyncio.run(two())
    assert first.status_code == 200
    assert second.status_code == 503
    assert "generate did not answer within 0.05 seconds" in second.json()["error"]
    state.timeout = 10
    assert client.post(GENERATE, json=with_latent()).status_code == 200
    assert client.gate.sizes == [2, 2]  # nothing was computed for the one that had given up
    state.timeout = 0.05
    client.gate.opened.clear()  # nor can one wait for ever that is being computed
    assert client.post(GENERATE, json=with_latent()).status_code == 503
    client.gate.opened.set()


def test_a_body_that_drips(exported: Path) -> None:
    client = Client(server.app(exported, timeout=0.05))

    async def parts() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    answer = client.post(GENERATE, content=parts())
    assert answer.status_code == 408
    assert answer.json() == {"error": "The request did not arrive within 0.05 seconds."}


def test_large_answers(exported: Path, tmp_path: Path) -> None:
    client = gated(exported, max_values=3 * 64)
    assert client.post(GENERATE, json=request_for(3, 0)).status_code == 200
    answer = client.post(GENERATE, json=request_for(4, 0))
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        "The answer to a batch of 4 would have 256 numbers: expected at most 192. Take a batch of "
        "3 or less, or start the server with a larger --max-values."
    )
    assert client.gate.sizes == [3]
    samples = Client(server.app(write_scalars(tmp_path / "toy"), max_batch=8, max_values=8))
    for n, status in ((2, 200), (3, 400)):
        inputs = [
            {"name": name, "shape": [], "datatype": "INT32", "data": [value]}
            for name, value in (("n", n), ("seed", 0))
        ]
        answer = samples.post("/v2/models/sample/infer", json={"inputs": inputs})
        assert answer.status_code == status


def test_an_error_is_short_whatever_it_quotes(client: Client, exported: Path) -> None:
    body = {"inputs": [tensor_of("x" * 15_000, LATENTS)]}
    answer = client.post(GENERATE, json=body)
    assert answer.status_code == 400
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"inputs": [1] * 1000}, "inputs.0: Input should be an object"),
        ({"inputs": [tensor_of("latent", LATENTS)] * 65}, "inputs: List should have at most 64"),
        ({**with_latent(), "outputs": [1] * 1000}, "outputs.0: Input should be an object"),
        (with_latent(shape=["1"] * 1000), "inputs.0.shape.0: Input should be a valid integer"),
        (with_latent(shape=[1] * 1000), "inputs.0.shape: List should have at most 8 items"),
    ],
)
def test_the_first_of_many_faults_is_all_that_is_looked_for(
    exported: Path, body: Any, place: str
) -> None:
    """All of a body's 16 MiB took minutes and gigabytes."""
    model = server.app(exported).state.models["generate"]
    with pytest.raises(ValueError, match=re.escape(place)) as caught:
        model.prepare(json.dumps(body).encode())
    assert caught.value.__cause__.error_count() == 1


def test_no_more_lists_than_data_can_need(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.serving.inference.MOST_BRACKETS", 100)
    monkeypatch.setattr("export.serving.inference.from_json", lambda _: 1 / 0)  # is not asked
    answer = client.post(GENERATE, json=with_latent(data=[[]] * 100))
    assert answer.status_code == 400
    assert (
        answer.json()["error"] == "The request has more than 100 lists and objects. Send data flat."
    )
