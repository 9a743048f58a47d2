"""Answers are what the model computes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from export import read_export
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.serving import (
    GENERATE,
    LABELS,
    LATENTS,
    Client,
    array_of,
    tensor_of,
    with_latent,
)


def test_generate_answers_what_the_model_draws(client: Client, model: keras.Model) -> None:
    wanted = model.generate_from(LATENTS, LABELS)
    flat = with_latent(data=LATENTS.ravel().tolist(), parameters={"content_type": "np"})
    for body in (with_latent(), flat):
        for place in ("generate", "generate/versions/1"):
            answer = client.post(f"/v2/models/{place}/infer", json=body)
            np.testing.assert_allclose(array_of(answer), wanted, atol=1e-5)
    facts = answer.json()
    assert (facts["model_name"], facts["model_version"]) == ("generate", "1")
    assert "id" not in facts


def test_id_and_outputs_of_the_callers_choice(client: Client, model: keras.Model) -> None:
    images = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    body = {"inputs": [tensor_of("image", images), tensor_of("label", LABELS)]}
    wanted = dict(zip(("mean", "log_variance"), model.encode(images, LABELS), strict=True))
    both = client.post("/v2/models/encode/infer", json=body)
    assert [output["name"] for output in both.json()["outputs"]] == [*wanted]
    body |= {"id": "a 7", "outputs": [{"name": "log_variance"}]}
    one = client.post("/v2/models/encode/infer", json=body)
    assert one.json()["id"] == "a 7"
    assert len(one.json()["outputs"]) == 1
    np.testing.assert_allclose(array_of(one), wanted["log_variance"], atol=1e-5)
    np.testing.assert_allclose(array_of(both, 0), wanted["mean"], atol=1e-5)


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
    np.testing.assert_allclose(array_of(answer), np.full((3, 2, 2, 1), 0.25))
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
    answer = served.post(GENERATE, json=with_latent())
    assert answer.status_code == 400
    assert "image is not finite for these inputs" in answer.json()["error"]


def test_every_float32_is_answered_exactly(served: Client) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 2 * 64 * 50, np.uint32)
    numbers = np.array([0.1, -0.0, 1e-45, 3.4028235e38, 8.41e21, 2**24 + 2.0, 1 / 3], np.float32)
    bits[: len(numbers)] = numbers.view(np.uint32)
    found = bits.view(np.float32)
    for part in np.where(np.isfinite(found), found, 0).reshape(50, 2, *IMAGE_SHAPE):
        served.gate.changes = lambda _, part=part: part
        answer = array_of(served.post(GENERATE, json=with_latent()))
        np.testing.assert_array_equal(answer.view(np.uint32), part.view(np.uint32))
