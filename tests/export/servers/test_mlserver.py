"""MLServer, an implementation of the Open Inference Protocol, beside `zoo serve`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import zoo
from export import export_model, read_export
from export.serving import server
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.export.servers.comparison import assert_same_outputs, request_of
from tests.export.servers.processes import environment, free_ports, running
from tests.support.serving import Client

pytestmark = pytest.mark.slow

PACKAGES = ("mlserver==1.7.1", "protobuf<7", "onnxruntime")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("mlserver") / "venv", *PACKAGES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)
    return export_model(model, tmp_path_factory.mktemp("exported") / "onnx", format="onnx")


@pytest.fixture(scope="module")
def mlserver(
    programs: Path, exported: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("models")
    ports = dict(zip(("http_port", "grpc_port", "metrics_port"), free_ports(3), strict=True))
    settings = {"host": "127.0.0.1", "parallel_workers": 0, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    for file in exported.glob("*.onnx"):
        (folder / file.stem).mkdir()
        facts = {
            "name": file.stem,
            "implementation": "mlserver_onnx.OnnxModel",
            "parameters": {"uri": str(file), "version": "1"},
        }
        (folder / file.stem / "model-settings.json").write_text(json.dumps(facts))
    command = [programs / "mlserver", "start", folder]
    variables = {"PYTHONPATH": str(Path(__file__).parent)}
    with running(command, ports["http_port"], folder / "log", variables) as client:
        yield client


def test_both_answer_alike(mlserver: httpx.Client, exported: Path) -> None:
    ours = Client(server.app(exported))
    for name, tensors in read_export(exported)["endpoints"].items():
        for place in (name, f"{name}/versions/1"):
            url, body = f"/v2/models/{place}/infer", request_of(tensors["inputs"])
            answers = [each.post(url, json=body) for each in (mlserver, ours)]
            assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
            theirs, own = (answer.json() for answer in answers)
            for key in ("model_name", "model_version", "id"):
                assert theirs[key] == own[key]
            assert_same_outputs(own, theirs)


def test_both_refuse_alike(mlserver: httpx.Client, exported: Path) -> None:
    ours = Client(server.app(exported))
    for url in ("/v2/models/paint", "/v2/models/paint/ready", "/v2/models/generate/versions/2"):
        assert mlserver.get(url).status_code == ours.get(url).status_code == 404
    body = {"inputs": "none"}
    answers = [each.post("/v2/models/generate/infer", json=body) for each in (mlserver, ours)]
    assert all(400 <= answer.status_code < 500 for answer in answers)


CHECK = """
import sys
from mlserver import types
for line in sys.stdin:
    name, answer = line.split(" ", 1)
    found = getattr(types, name).model_validate_json(answer)
    assert not found.__pydantic_extra__, found
"""


def test_our_answers_are_of_its_types(programs: Path, exported: Path) -> None:
    """MLServer's types are generated from the protocol's published schema."""
    ours = Client(server.app(exported))
    lines = [f"MetadataServerResponse {ours.get('/v2').text}"]
    for name, tensors in read_export(exported)["endpoints"].items():
        lines.append(f"MetadataModelResponse {ours.get(f'/v2/models/{name}').text}")
        url, body = f"/v2/models/{name}/infer", request_of(tensors["inputs"])
        lines.append(f"InferenceResponse {ours.post(url, json=body).text}")
        refusal = ours.post(url, json={**body, "inputs": []})
        lines.append(f"InferenceErrorResponse {refusal.text}")
    python = programs / "python"
    subprocess.run([python, "-c", CHECK], input="\n".join(lines), text=True, check=True)
