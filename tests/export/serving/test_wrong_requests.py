"""What is wrong with a request is said in its answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.serving import server
from tests.cases import IMAGE_SHAPE
from tests.support.serving import LABELS, LATENTS, Client, tensor_of, with_label, with_latent

WRONG = {
    "an output that is not there": (
        {**with_latent(), "outputs": [{"name": "x"}]},
        "'x': generate has",
    ),
    "an output twice": (
        {**with_latent(), "outputs": [{"name": "image"}] * 60},
        "output 'image' is named more than once. Name each once.",
    ),
    "no inputs": ({"inputs": []}, "inputs none: generate takes latent, label"),
    "one input": ({"inputs": [tensor_of("latent", LATENTS)]}, "takes latent, label"),
    "an input twice": ({"inputs": [tensor_of("latent", LATENTS)] * 2}, "takes latent, label"),
    "another input": (with_latent(name="z"), "inputs z, label: generate takes latent, label"),
    "no list": ({"inputs": {}}, "inputs: "),
    "no shape": ({"inputs": [{"name": "latent"}]}, "inputs.0.shape: "),
    "a shape of text": (with_latent(shape="2, 3"), "inputs.0.shape: "),
    "an id that is no text": ({**with_latent(), "id": 7}, "id: "),
    "an array": ([], "object"),
    "rank 0": (with_latent(shape=[], data=[0.0]), r"shape []: expected [batch, 3]"),
    "rank 1": (with_latent(shape=[6]), "shape [6]: expected [batch, 3]"),
    "rank 3": (with_latent(shape=[1, 2, 3]), "expected [batch, 3]"),
    "another size": (with_latent(shape=[2, 4]), "shape [2, 4]: expected [batch, 3]"),
    "a negative size": (with_latent(shape=[-2, 3]), "expected [-2, 3], or flat"),
    "too few data": (with_latent(data=[0.0] * 5), "data of shape [5]: expected [2, 3], or flat"),
    "turned data": (with_latent(data=[[0.0] * 2] * 3), "data of shape [3, 2]"),
    "ragged data": (with_latent(data=[[0.0] * 3, [0.0] * 2]), "numbers that are FP32"),
    "data of text": (with_latent(data=["0"] * 6), "numbers that are FP32"),
    "data with a truth": (with_latent(data=[True] + [0.0] * 5), "numbers that are FP32"),
    "data with null": (with_latent(data=[None] + [0.0] * 5), "numbers that are FP32"),
    "a number beyond float32": (with_latent(data=[1e39] + [0.0] * 5), "too large for FP32"),
    "a number beyond float64": (with_latent(data=[10**400] + [0.0] * 5), "too large for FP32"),
    "doubles": (with_latent(datatype="FP64"), "latent is FP64: expected FP32"),
    "labels as floats": (with_label(datatype="FP32"), "label is FP32: expected INT32"),
    "a broken label": (with_label(data=[0.5, 1]), "numbers that are INT32"),
    "a label beyond int32": (with_label(data=[2**40, 0]), "too large for INT32"),
    "no class": (with_label(data=[0, 3]), "label has the value 3: expected 0 to 2"),
    "a negative class": (with_label(data=[-1, 0]), "label has the value -1"),
    "two batch sizes": (with_label(shape=[1], data=[0]), "'latent': 2, 'label': 1"),
    "an empty batch": (
        {"inputs": [tensor_of("latent", LATENTS[:0]), tensor_of("label", LABELS[:0])]},
        "batch of 0: expected 1 to 8",
    ),
    "a large batch": (
        {"inputs": [tensor_of("latent", np.zeros((9, 3), np.float32)), tensor_of("label", LABELS)]},
        "'latent': 9",
    ),
    "the largest batch and one": (
        {
            "inputs": [
                tensor_of("latent", np.zeros((9, 3), np.float32)),
                tensor_of("label", np.zeros(9, np.int32)),
            ]
        },
        "batch of 9: expected 1 to 8",
    ),
    "a binary input": (with_latent(parameters={"binary_data_size": 24}), "Binary tensors are not"),
    "a binary output": (
        {**with_latent(), "outputs": [{"name": "image", "parameters": {"binary_data": True}}]},
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
    "body", [b"", b"{", b"[" * 5000, b'{"inputs": \xff}', json.dumps(with_latent()).encode()[:-2]]
)
def test_what_is_no_json(client: Client, body: bytes) -> None:
    answer = client.post("/v2/models/generate/infer", content=body)
    assert answer.status_code == 400
    assert "Invalid JSON" in answer.json()["error"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none(client: Client, number: str) -> None:
    body = json.dumps(with_latent(data=["HERE", *[0.0] * 5])).replace('"HERE"', number)
    answer = client.post("/v2/models/generate/infer", content=body)
    assert answer.status_code == 400
    assert "NaN, or too large for FP32" in answer.json()["error"]


def test_images_of_another_range(client: Client) -> None:
    images = np.full((2, *IMAGE_SHAPE), 255.0, np.float32)
    body = {"inputs": [tensor_of("image", images), tensor_of("label", LABELS)]}
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
    assert client.post("/v2/models/paint/infer", json=with_latent()).status_code == 404
    answer = client.post("/v2/models/generate", json=with_latent())
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
    answer = client.post("/v2/models/generate/infer", json=with_latent(), headers=headers)
    assert answer.status_code == 400
    assert "Binary" in answer.json()["error"]


def test_a_fault_of_the_server_is_json_too(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.serving.inference.Served.prepare", lambda *_: 1 / 0)
    answer = Client(server.app(exported)).post("/v2/models/generate/infer", json=with_latent())
    assert answer.status_code == 500
    assert answer.json() == {"error": "ZeroDivisionError: division by zero"}
