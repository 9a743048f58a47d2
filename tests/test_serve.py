"""`zoo serve`: answers are the model's, and whatever is wrong with a request is explained."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
import pytest

import zoo
from export import export_model, read_export, serve
from export.metadata import write_metadata
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.scalars import write_scalars
from zoo.runs import save_run


class Client:
    """Calls an application without a socket."""

    def __init__(self, application: Any) -> None:
        self._transport = httpx.ASGITransport(application, raise_app_exceptions=False)

    async def request(self, method: str, url: str, **options: Any) -> Any:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://zoo") as client:
            return await client.request(method, url, **options)

    def get(self, url: str) -> Any:
        return asyncio.run(self.request("GET", url))

    def post(self, url: str, **options: Any) -> Any:
        return asyncio.run(self.request("POST", url, **options))


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


def test_others_are_answered_while_a_model_computes(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()

    def answer(*_: object) -> bytes:
        started.set()
        assert go_on.wait(10)
        return b"{}"

    monkeypatch.setattr("export.inference.Served.answer", answer)
    client = Client(serve.app(exported))

    async def both() -> tuple[Any, Any]:
        slow = asyncio.ensure_future(client.request("POST", "/v2/models/generate/infer"))
        while not started.is_set():
            await asyncio.sleep(0.01)
        health = await client.request("GET", "/v2/health/live")
        assert not slow.done()
        go_on.set()
        return health, await slow

    health, slow = asyncio.run(both())
    assert (health.status_code, slow.status_code) == (200, 200)


# Requests that are wrong

WRONG = {
    "an output that is not there": ({**_latent(), "outputs": [{"name": "x"}]}, "'x': generate has"),
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
    monkeypatch.setattr("export.inference.Served.answer", lambda *_: 1 / 0)
    answer = Client(serve.app(exported)).post("/v2/models/generate/infer", json=_latent())
    assert answer.status_code == 500
    assert answer.json() == {"error": "ZeroDivisionError: division by zero"}


# What is served


def test_the_playground_is_at_the_root(exported: Path, tmp_path: Path) -> None:
    web = tmp_path / "web"
    shutil.copytree(exported, web / "models")
    (web / "index.html").write_text("<title>zoo</title>")
    found = read_export(exported)
    entries = {k: v for k, v in found.items() if k not in ("format", "run", "files", "folder")}
    write_metadata(web, web, "web", None, entries)
    client = Client(serve.app(web))
    assert client.get("/").text == "<title>zoo</title>"
    assert client.get("/models/generate.onnx").content == (exported / "generate.onnx").read_bytes()
    assert client.get("/../serve.py").status_code == 404
    assert client.get("/%2e%2e/onnx/generate.onnx").status_code == 404
    assert client.get("/v2/models/generate").json()["name"] == "generate"
    assert client.post("/v2/models/generate/infer", json=_latent()).status_code == 200


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
    write_metadata(saved, saved, "saved_model", None, {})
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
    assert lines == ["No playground: there is no npm"]
    assert serve.export_of(run, lines.append) == web
    assert serve.export_of(run, lines.append) == web
    assert formats == ["web", "onnx", "web"]
    assert serve.export_of(plain, lines.append) == plain
    assert len(lines) == 1
    os.utime(web / "zoo_export.json", (0, 0))
    assert serve.export_of(run, lines.append) == web
    assert "older than the run's model" in lines[1]


def test_the_runtime_in_the_docs_is_the_tested_one() -> None:
    root = Path(__file__).parent
    runtime = (root / "servers" / "mlserver_onnx.py").read_text().split("\n\n", 1)[1]
    assert runtime in (root.parent / "docs" / "serving.md").read_text()


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
    assert "npm" in lines[0]
    body = {"inputs": [_tensor("latent", LATENTS)]}
    answer = Client(serve.app(path)).post("/v2/models/generate/infer", json=body)
    np.testing.assert_allclose(_array(answer), model.generate_from(LATENTS), atol=1e-5)
    assert read_export(path)["run"] == tmp_path / "run"


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
