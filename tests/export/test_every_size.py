"""Functions that take images of every size, in every format: axes, values, and wrong sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

import zoo
from export import endpoints, export_model, read_export, verify
from export.example_inputs import other_sizes
from export.functions import axes_of
from export.onnx.phases import split_upsampled_convolutions
from export.serving.inference import Served
from export.triton import config_of
from tests.support.exports import shaken
from zoo.convert.building import build
from zoo.convert.reading import read

RNG = np.random.default_rng(0)
GRIDS = ["batch", "grid_height", "grid_width", 2]
IMAGES = ["batch", "height", "width", 1]
NAMES = ("encode", "decode", "reconstruct")


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(0)
    model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(4, 4, 8), groups=2)
    return shaken(model)


def test_the_axes_have_names(model: Any) -> None:
    given = {e.name: e for e in endpoints(model)}
    for name in NAMES:
        endpoint = given[name]
        for key, spec in {**endpoint.inputs, **endpoint.outputs}.items():
            wanted = IMAGES if key in ("image", "reconstruction") else GRIDS
            assert axes_of(key, spec) == wanted
    assert other_sizes(given["encode"]) == [(16, 16), (12, 20)]
    assert given["decode"].input_shape("latent", (12, 20)) == (3, 5, 2)
    assert given["decode"].input_shape("latent") == (2, 2, 2)
    assert axes_of("latent", given["generate"].inputs["latent"]) == ["batch", 8]
    assert not other_sizes(given["generate"])
    fixed = {e.name: e for e in endpoints(model, every_size=False)}
    assert fixed["encode"].outputs["mean"].shape.as_list() == [None, 2, 2, 2]


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("factor", [2, 3])
def test_an_upsampled_convolution_for_each_place(size: int, factor: int) -> None:
    """Against Keras's own two layers, with borders."""
    stack = [
        keras.Input((None, None, 3)),
        layers.UpSampling2D(factor),
        layers.Conv2D(4, size, padding="same", bias_initializer="normal"),
    ]
    wanted = keras.Sequential(stack)
    network = split_upsampled_convolutions(read(wanted))
    assert [block.kind for block in network] == ["InputLayer", "PhaseConv2D"]
    images = RNG.normal(size=(2, 5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(build(network)(images), wanted(images), atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_onnx(model: Any, tmp_path: Path, precision: str) -> None:
    path = export_model(model, tmp_path / "x", format="onnx", precision=precision)
    facts = read_export(path)
    assert facts["image_sizes"] == {"multiple_of": 4}
    assert facts["endpoints"]["encode"]["outputs"]["mean"]["shape"] == GRIDS
    proto = onnx.load(path / "reconstruct.onnx")
    for value in (*proto.graph.input, *proto.graph.output):
        dims = value.type.tensor_type.shape.dim
        assert [d.dim_param or d.dim_value for d in dims] == IMAGES
    decode = {node.op_type for node in onnx.load(path / "decode.onnx").graph.node}
    assert "DepthToSpace" in decode
    assert not decode & {"ConvTranspose", "Tile", "Resize"}
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert report.passed, report
    sizes = {row.function for row in report.rows}
    assert sizes >= {f"{name}{at}" for name in NAMES for at in ("", " at 16 × 16", " at 12 × 20")}
    if precision == "float32":
        images = RNG.random((3, 20, 28, 1), np.float32)
        session = onnxruntime.InferenceSession(path / "encode.onnx")
        found = session.run(["mean", "log_variance"], {"image": images})
        for values, wanted in zip(found, model.encode(images), strict=True):
            np.testing.assert_allclose(values, wanted, atol=2e-5)
    for name in ("encode", "reconstruct"):
        session = onnxruntime.InferenceSession(path / f"{name}.onnx")
        for sides in ((10, 8), (8, 11)):
            with pytest.raises(Exception, match=r"SpaceToDepth .*multiple|divisible"):
                session.run(None, {"image": np.zeros((1, *sides, 1), np.float32)})


@pytest.mark.slow
def test_saved_model(model: Any, tmp_path: Path) -> None:
    path = export_model(model, tmp_path / "x")
    report = verify(path, model)
    assert report.passed, report
    assert any(row.function == "reconstruct at 12 × 20" for row in report.rows)
    loaded = tf.saved_model.load(str(path))
    for name in ("encode", "reconstruct"):
        with pytest.raises(tf.errors.InvalidArgumentError, match="divisible by block_size"):
            loaded.signatures[name](image=tf.zeros([1, 10, 8, 1]))


@pytest.mark.slow
def test_one_size_on_request(model: Any, tmp_path: Path) -> None:
    options = {"format": "onnx", "functions": ["encode"], "every_size": False}
    path = export_model(model, tmp_path / "x", **options)
    facts = read_export(path)
    assert "image_sizes" not in facts
    assert facts["endpoints"]["encode"]["inputs"]["image"]["shape"] == ["batch", 8, 8, 1]
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert report.passed, report
    assert {row.function for row in report.rows} == {"generate", "encode"}


@pytest.mark.slow
def test_requests_of_every_size(model: Any, tmp_path: Path) -> None:
    options = {"format": "onnx", "functions": ["encode", "decode"], "verify": False}
    path = export_model(model, tmp_path / "x", **options)
    facts = read_export(path)

    def served(name: str) -> Served:
        return Served(path / f"{name}.onnx", name, facts, max_batch=8, max_values=700)

    def body(name: str, array: np.ndarray) -> bytes:
        tensor = {"name": name, "datatype": "FP32", "shape": list(array.shape)}
        return json.dumps({"inputs": [{**tensor, "data": array.ravel().tolist()}]}).encode()

    encode, decode = served("encode"), served("decode")
    assert encode.metadata()["inputs"][0]["shape"] == [-1, -1, -1, 1]
    requests = [
        encode.prepare(body("image", np.full((2, *sides, 1), 0.5))) for sides in ((8, 12), (4, 4))
    ]
    assert encode.may_join(requests[:1] * 2)
    assert not encode.may_join(requests)
    answer = json.loads(encode.answers(requests[:1])[0])
    assert [output["shape"] for output in answer["outputs"]] == [[2, 2, 3, 2]] * 2
    with pytest.raises(ValueError, match="image has a width of 10: expected a multiple of 4, such"):
        encode.prepare(body("image", np.zeros((1, 8, 10, 1))))
    with pytest.raises(ValueError, match=r"shape \[1, 0, 8, 1\]: expected \[batch, height, width"):
        encode.prepare(body("image", np.zeros((1, 0, 8, 1))))
    with pytest.raises(ValueError, match="would have 784 numbers: expected at most 700"):
        decode.prepare(body("latent", np.zeros((1, 7, 7, 2))))
    assert "dims: [-1, -1, 1]" in config_of("x", facts["endpoints"]["encode"])
