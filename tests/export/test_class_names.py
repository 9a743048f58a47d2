"""Names of classes travel from a run to its preset, its exports and its server."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from export import export_model, read_export
from export.metadata import provenance
from export.serving import server
from export.triton import config_of
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.command import run_zoo
from tests.support.serving import LABELS, LATENTS, Client, array_of, tensor_of, with_label
from zoo.hub import save_run_as_preset
from zoo.training.runs import save_run

NAMES = ["10", "bag, small", 'é "boot"']


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model of three classes, whose data named them."""
    keras.utils.set_random_seed(0)
    model = zoo.create("cvae", IMAGE_SHAPE, LATENT_DIM, num_classes=3, network="mlp")
    model.compile()
    path = tmp_path_factory.mktemp("named") / "run"
    save_run(model, path, {"data": "fashion_mnist_sample", "class_names": NAMES})
    return path


@pytest.fixture(scope="module")
def preset(run: Path) -> Path:
    save_run_as_preset(run, run.parent / "preset", precision="float32")
    return run.parent / "preset"


def test_a_preset_has_the_names(run: Path, preset: Path) -> None:
    card = (preset / "README.md").read_text(encoding="utf-8")
    assert 'Class-conditional: 3 classes: 0 = 10, 1 = bag, small, 2 = é "boot".' in card
    assert "class_names" not in card
    assert provenance(preset)["class_names"] == provenance(run)["class_names"] == NAMES


@pytest.mark.parametrize("of", [pytest.param("run", marks=pytest.mark.slow), "preset"])
def test_samples_by_name(of: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    path, out = request.getfixturevalue(of), tmp_path / "x.npy"
    drawn = []
    for label in (NAMES[2], "2"):
        run_zoo("sample", path, "--n", 2, "--label", label, "--out", out)
        drawn.append(np.load(out))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    # As names come first, "10" is class 0.
    run_zoo("sample", path, "--n", 2, "--label", "10", "--out", out)
    assert np.abs(np.load(out) - drawn[0]).max() > 1e-4


@pytest.mark.slow
def test_requests_by_name(run: Path, tmp_path: Path) -> None:
    path = export_model(
        zoo.load(run), tmp_path / "onnx", format="onnx", run=run, functions=["decode"], verify=False
    )
    assert read_export(path)["class_names"] == NAMES
    client = Client(server.app(path))
    label = client.get("/v2/models/generate").json()["inputs"][1]
    assert label["parameters"] == {"class_names": NAMES}
    wanted = zoo.load(run).generate_from(LATENTS, LABELS)
    generate = "/v2/models/generate/infer"
    for changes in ({}, {"datatype": "BYTES", "data": [NAMES[i] for i in LABELS]}):
        answer = client.post(generate, json=with_label(**changes))
        np.testing.assert_allclose(array_of(answer), wanted, atol=1e-5)
    for data, message in (
        (["10", "bag, smal"], "label bag, smal: no such class. Did you mean bag, small?"),
        (["10", 2], "label: expected names of classes, such as"),
        (["10"], "label has data of shape [1]: expected [2]"),
        (["10", "7"], "label has the value 7: expected 0 to 2"),
    ):
        answer = client.post(generate, json=with_label(datatype="BYTES", data=data))
        assert answer.status_code == 400
        assert message in answer.json()["error"]
    latent = client.post("/v2/models/decode/infer", json={"inputs": [
        tensor_of("latent", LATENTS, datatype="BYTES", data=["a"]), tensor_of("label", LABELS)]
    })  # fmt: skip
    assert "latent is BYTES: expected FP32" in latent.json()["error"]


def test_triton_is_told_the_names() -> None:
    label = {"shape": ["batch"], "dtype": "int32"}
    tensors = {"inputs": {"label": label}, "outputs": {"image": {**label, "dtype": "float32"}}}
    text = config_of("generate", tensors, NAMES)
    line = next(line for line in text.splitlines() if line.startswith("parameters"))
    written = line.partition("string_value: ")[2].removesuffix(" } }")
    assert json.loads(json.loads(written)) == NAMES
    assert "parameters" not in config_of("generate", tensors)
    assert "parameters" not in config_of("generate", {**tensors, "inputs": {"x": label}}, NAMES)
