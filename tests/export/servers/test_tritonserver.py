"""Triton itself reads the model repository and answers as `zoo serve` does.

The Triton that comes from PyPI, inside nvidia-pytriton, lacks the ONNX Runtime backend. Its Python
backend stands in: one word of each configuration is another, and model.py computes model.onnx.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import zoo
from export import export_model, read_export
from export.serving import server
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.export.servers.comparison import assert_same_outputs, request_of
from tests.export.servers.processes import environment, free_ports, running
from tests.support.serving import Client

pytestmark = pytest.mark.slow

PACKAGES = ("nvidia-pytriton==0.7.0", "onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(model repository, ONNX files) of one model."""
    folder = tmp_path_factory.mktemp("exported")
    model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3)
    formats = ("triton", "onnx")
    repository, plain = (export_model(model, folder / each, format=each) for each in formats)
    return repository, plain


@pytest.fixture(scope="module")
def tritonserver(
    exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("tritonserver")
    programs = environment(folder / "venv", *PACKAGES)
    (package,) = (folder / "venv" / "lib").glob("python*/site-packages")
    server = package / "pytriton" / "tritonserver"
    version = sysconfig.get_python_version()
    backends = shutil.copytree(server / "backends", folder / "backends")
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, backends / "python")
    models = shutil.copytree(exported[0], folder / "models")
    for config in models.glob("*/config.pbtxt"):
        text = config.read_text().replace('backend: "onnxruntime"', 'backend: "python"')
        config.write_text(text)
        shutil.copy(Path(__file__).parent / "triton_model.py", config.parent / "1" / "model.py")
    (port,) = free_ports(1)
    command = [
        server / "bin" / "tritonserver",
        f"--model-repository={models}",
        f"--backend-directory={backends}",
        f"--http-port={port}",
        "--http-address=127.0.0.1",
        "--allow-grpc=false",
        "--allow-metrics=false",
        "--disable-auto-complete-config",  # the configuration says all, or Triton refuses it
    ]
    libraries = [package / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
    variables = {
        "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries),
        "PATH": f"{programs}:/usr/bin:/bin",
    }
    with running(command, port, folder / "log", variables) as client:
        yield client


def _for_triton(body: dict[str, Any]) -> dict[str, Any]:
    """What has no dimension beside the batch, or none at all, has one more there."""

    def shape(tensor: dict[str, Any]) -> list[int]:
        own = tensor["shape"]
        return [*own, 1] if len(own) < 2 else own

    return {**body, "inputs": [{**tensor, "shape": shape(tensor)} for tensor in body["inputs"]]}


def test_triton_answers_as_zoo_serve_does(
    tritonserver: httpx.Client, exported: tuple[Path, Path]
) -> None:
    ours = Client(server.app(exported[1]))
    for name, tensors in read_export(exported[1])["endpoints"].items():
        body = request_of(tensors["inputs"])
        own = ours.post(f"/v2/models/{name}/infer", json=body)
        theirs = tritonserver.post(f"/v2/models/cvae_{name}/infer", json=_for_triton(body))
        assert (own.status_code, theirs.status_code) == (200, 200), theirs.text
        assert_same_outputs(own.json(), theirs.json())


def test_triton_took_the_configuration(
    tritonserver: httpx.Client, exported: tuple[Path, Path]
) -> None:
    for name, tensors in read_export(exported[0])["endpoints"].items():
        found = tritonserver.get(f"/v2/models/cvae_{name}/config").json()
        batched = all(tensor["shape"] for tensor in tensors["inputs"].values())
        assert found["max_batch_size"] == (256 if batched else 0)
        assert ("dynamic_batching" in found) == batched
        if batched:
            assert found["dynamic_batching"]["preferred_batch_size"] == [8, 32, 128]
        assert [group["count"] for group in found["instance_group"]] == [1]


def test_triton_keeps_to_the_largest_batch(tritonserver: httpx.Client) -> None:
    for size, status in ((256, 200), (257, 400)):
        shapes = {"latent": [size, LATENT_DIM], "label": [size, 1]}
        inputs = [
            {
                "name": name,
                "shape": shape,
                "datatype": "FP32" if name == "latent" else "INT32",
                "data": np.zeros(shape, int).reshape(-1).tolist(),
            }
            for name, shape in shapes.items()
        ]
        answer = tritonserver.post("/v2/models/cvae_generate/infer", json={"inputs": inputs})
        assert answer.status_code == status, answer.text
