"""`verify` says what is wrong with an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
import tensorflow as tf

import zoo
from export import export_model, verify
from export.functions import endpoints
from export.metadata import NAME, hashes, place_of
from export.references import reference_of
from tests.cases import LATENT_DIM
from tests.support.exports import shaken_case
from zoo.convert import in_float64


def _rehash(folder: Path) -> None:
    """As if the changed files had been exported so: only the comparison can tell."""
    file = place_of(folder, NAME)
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "files": hashes(folder)}))


@pytest.mark.parametrize("rehash", [False, True])
def test_one_corrupt_onnx_weight_fails(tmp_path: Path, rehash: bool) -> None:
    model = shaken_case("vae")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["decode"], verify=False)
    proto = onnx.load(path / "decode.onnx")
    kernel = max(proto.graph.initializer, key=lambda t: int(np.prod(t.dims)))
    values = onnx.numpy_helper.to_array(kernel).copy()
    values.flat[values.size // 2] += 1e-2
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(proto, path / "decode.onnx")
    if rehash:
        _rehash(path)
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert not report.passed
    assert {row.function for row in report.rows if not row.passed} == {"decode"}
    assert any("decode.onnx" in problem for problem in report.problems) != rehash


@pytest.mark.parametrize("rehash", [pytest.param(False, marks=pytest.mark.slow), True])
def test_one_corrupt_saved_model_weight_fails(tmp_path: Path, rehash: bool) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", verify=False)
    wrong = shaken_case("dcgan")
    bias = wrong.generator.get_layer("logits").bias
    bias.assign(bias.numpy() + 1e-3)
    other = export_model(wrong, tmp_path / "wrong", verify=False)
    for file in (path / "variables").iterdir():
        file.write_bytes((other / "variables" / file.name).read_bytes())
    if rehash:
        _rehash(path)
    report = verify(path, model)
    assert not report.passed
    assert any("variables" in problem for problem in report.problems) != rehash
    assert not all(row.passed for row in report.rows)


def test_a_wrong_default_signature_fails(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", functions=["generate"], verify=False)
    loaded = tf.saved_model.load(str(path))
    generate = loaded.signatures["generate"]
    darker = tf.function(lambda latent: {"image": 0.99 * generate(latent=latent)["image"]})
    spec = tf.TensorSpec([None, LATENT_DIM], tf.float32, name="latent")
    signatures = {**loaded.signatures, "serving_default": darker.get_concrete_function(spec)}
    tf.saved_model.save(loaded, str(path), signatures=signatures)
    _rehash(path)
    report = verify(path, model)
    assert {row.function for row in report.rows if not row.passed} == {"serving_default"}


@pytest.mark.slow
def test_swapped_outputs_fail(tmp_path: Path) -> None:
    model = shaken_case("vae")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["encode"], verify=False)
    proto = onnx.load(path / "encode.onnx")
    other = {"mean": "log_variance", "log_variance": "mean"}
    for node in proto.graph.node:
        node.output[:] = [other.get(name, name) for name in node.output]
    onnx.save(proto, path / "encode.onnx")
    _rehash(path)
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert not report.problems
    wrong = {row.output for row in report.rows if not row.passed}
    assert wrong == {"mean", "log_variance"}


@pytest.mark.slow
def test_batch_norm_in_training_mode_fails(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", functions=["generate"], verify=False)

    def training(latent: Any) -> dict[str, Any]:
        return {"image": model.generator(latent, training=True)}

    spec = tf.TensorSpec([None, LATENT_DIM], tf.float32, name="latent")
    loaded = tf.saved_model.load(str(path))
    signatures = {**loaded.signatures, "generate": tf.function(training, input_signature=[spec])}
    loaded.generator = model.generator  # whose variables the function uses
    tf.saved_model.save(loaded, str(path), signatures=signatures)
    _rehash(path)
    report = verify(path, model)
    assert not report.problems
    assert {row.function for row in report.rows if not row.passed} == {"generate"}


@pytest.mark.parametrize(
    ("key", "value"), [("latent_dim", 4), ("prior", "uniform"), ("weights_sha256", "0" * 64)]
)
def test_changed_metadata_fail(tmp_path: Path, key: str, value: object) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"], verify=False)
    file = place_of(path, NAME)
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert report.problems == [f"{NAME}: {key} is not the model's"]
    assert not report.passed


def test_a_damaged_file_is_a_finding(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"], verify=False)
    file = path / "generate.onnx"
    file.write_bytes(file.read_bytes()[:100])
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert not report.passed
    assert any("generate.onnx: not what was exported" in p for p in report.problems)
    file.unlink()
    assert any("missing" in p for p in verify(path, model, runtimes=["ONNX Runtime"]).problems)


def test_a_renamed_tensor_and_a_fixed_batch_fail(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"], verify=False)
    good = onnx.load(path / "generate.onnx")
    fixed = onnx.ModelProto()
    fixed.CopyFrom(good)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(fixed, path / "generate.onnx")
    assert any(
        "(4, 3))}; expected" in p for p in verify(path, model, runtimes=["ONNX Runtime"]).problems
    )
    renamed = onnx.ModelProto()
    renamed.CopyFrom(good)
    renamed.graph.input[0].name = "z"
    for node in renamed.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = "z" if name == "latent" else name
    onnx.save(renamed, path / "generate.onnx")
    assert any(
        "expected {'latent'" in p for p in verify(path, model, runtimes=["ONNX Runtime"]).problems
    )


@pytest.mark.slow
def test_the_other_family_fails(tmp_path: Path) -> None:
    """A VAE's export has functions that a GAN has not, and the other way round."""
    vae, gan = shaken_case("vae"), shaken_case("dcgan")
    path = export_model(vae, tmp_path / "vae", format="onnx", functions=["encode"], verify=False)
    assert any(
        "encode: not a function of the model" in p
        for p in verify(path, gan, runtimes=["ONNX Runtime"]).problems
    )
    path = export_model(gan, tmp_path / "gan", format="onnx", functions=["generate"], verify=False)
    assert not verify(path, vae, runtimes=["ONNX Runtime"]).passed


def test_models_that_are_verified_one_after_the_other_trace_little(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TensorFlow warns where most calls of a function are its first, as if by mistake."""
    model = zoo.create("gan", (8, 8, 1), 2, network="mlp")
    inputs = {"latent": np.zeros((256, 2), np.float32)}
    exact = {e.name: e for e in endpoints(model, in_float64, ["sample"])}
    for _ in range(5):
        for endpoint in endpoints(model, functions=["sample"]):
            reference_of(endpoint, {}, exact, model, inputs)
    assert not [record for record in caplog.records if "retracing" in record.getMessage()]
