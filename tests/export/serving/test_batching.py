"""Requests at the same time are computed together, where they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from export.serving import server
from tests.cases import IMAGE_SHAPE
from tests.support.scalars import write_scalars, write_toy
from tests.support.serving import (
    GENERATE,
    LABELS,
    Client,
    Gate,
    array_of,
    gated,
    request_for,
    tensor_of,
    together,
    with_latent,
)


def test_others_are_answered_while_a_model_computes(served: Client) -> None:
    async def both() -> tuple[Any, Any]:
        served.gate.opened.clear()
        slow = asyncio.ensure_future(served.request("POST", GENERATE, json=with_latent()))
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
    bodies = [request_for(n, i, id=f"no. {i}") for i, n in enumerate(sizes)]
    found = together(served, bodies)
    assert served.gate.sizes == [1, 8, 2]
    alone = [served.post(GENERATE, json=body) for body in bodies]
    for i, (answer, wanted) in enumerate(zip(found, alone, strict=True)):
        assert answer.json()["id"] == f"no. {i}"
        assert array_of(answer).shape == (sizes[i], *IMAGE_SHAPE)
        np.testing.assert_allclose(array_of(answer), array_of(wanted), atol=1e-6)


def test_a_joined_answer_is_no_longer_than_one(exported: Path) -> None:
    client = gated(exported, max_values=3 * 64)
    found = together(client, [request_for(1, i) for i in range(6)])
    assert [answer.status_code for answer in found] == [200] * 6
    assert client.gate.sizes == [1, 3, 2]


def test_other_outputs_are_computed_apart(exported: Path) -> None:
    client = gated(exported, "encode")
    images = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    inputs = [tensor_of("image", images), tensor_of("label", LABELS)]
    mean, all_of_them = [{"name": "mean"}], [{"name": "mean"}, {"name": "log_variance"}]
    outputs = [mean, mean, mean, all_of_them, mean]
    bodies = [{"inputs": inputs, "outputs": each} for each in outputs]
    found = together(client, bodies, "/v2/models/encode/infer")
    assert client.gate.sizes == [2, 4, 2, 2]
    for answer, each in zip(found, outputs, strict=True):
        assert [{"name": output["name"]} for output in answer.json()["outputs"]] == each
        np.testing.assert_allclose(array_of(answer), array_of(found[0]), atol=1e-6)


def test_a_wrong_request_fails_alone(served: Client) -> None:
    run = served.gate.run

    def refuse(names: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        if (feeds["latent"] > 50).any():
            raise InvalidArgument("indices element out of data bounds")
        return run(names, feeds)

    served.gate.run = refuse
    bad = request_for(1, 2)
    bad["inputs"][0]["data"] = [[99.0, 0.0, 0.0]]  # found out as it is computed
    bodies = [request_for(1, 0), request_for(1, 1), bad, {"inputs": []}, request_for(1, 4)]
    found = together(served, bodies)
    assert [answer.status_code for answer in found] == [200, 200, 400, 400, 200]
    assert "generate cannot compute this: indices" in found[2].json()["error"]
    assert "inputs none" in found[3].json()["error"]
    for i in (0, 1, 4):
        wanted = array_of(served.post(GENERATE, json=bodies[i]))
        np.testing.assert_allclose(array_of(found[i]), wanted, atol=1e-6)


def test_a_fault_in_a_batch_leaves_the_server_well(served: Client) -> None:
    served.gate.changes = lambda _: 1 / 0
    found = together(served, [request_for(1, i) for i in range(3)])
    assert [answer.status_code for answer in found] == [500] * 3
    served.gate.changes = lambda array: array
    assert served.post(GENERATE, json=with_latent()).status_code == 200


def test_numbers_for_the_whole_batch_are_computed_alone(tmp_path: Path) -> None:
    client = Client(server.app(write_scalars(tmp_path / "toy"), max_batch=8))
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
    found = together(client, bodies, "/v2/models/sample/infer")
    assert sizes == [1, 2, 3]
    for n, answer in enumerate(found, start=1):
        np.testing.assert_allclose(array_of(answer), np.full((n, 2, 2, 1), n / 10), atol=1e-6)


def test_images_that_depend_on_others_are_computed_alone(tmp_path: Path) -> None:
    """As of a network that compares the images of a batch."""
    client = gated(write_toy(tmp_path / "toy", "mean = ReduceMean (x, axis) y = Sub (x, mean)"))
    inputs = [[{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [i, i]}] for i in (1, 9)]
    found = together(client, [{"inputs": each} for each in (*inputs, *inputs)])
    assert client.gate.sizes == [1] * 4
    for answer in found:
        np.testing.assert_array_equal(array_of(answer), [[0.0, 0.0]])
    other = gated(write_toy(tmp_path / "other", "y = Neg (x)"))
    together(other, [{"inputs": each} for each in (*inputs, *inputs)])
    assert other.gate.sizes == [1, 3]
