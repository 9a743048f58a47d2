"""What is exported computes what the model computes, and `verify` says so only then."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnx.reference
import onnxruntime
import PIL.Image
import pytest
import tensorflow as tf

import zoo
from export import Report, endpoints, export_model, read_export, verify
from export.endpoints import INTEGERS, names_of
from export.metadata import NAME, hashes, place_of
from export.verification import check_export
from tests.cases import CASES, IMAGE_SHAPE, LATENT_DIM, Case

FORMATS = ("saved_model", "onnx")


def _shaken(model: keras.Model) -> keras.Model:
    """Random values for every weight, so that biases and BatchNorm statistics count."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            low, high = (0.5, 1.5) if "variance" in weight.name else (-0.3, 0.3)
            weight.assign(rng.uniform(low, high, weight.shape))
    return model


def _case(name: str, **options: object) -> keras.Model:
    return _shaken(zoo.create(name, IMAGE_SHAPE, LATENT_DIM, **options))


# Every model


def test_every_model_is_exported_to_onnx(each: Case, tmp_path: Path) -> None:
    _check_onnx(each, case_functions(each), ["ONNX Runtime"], tmp_path)


def case_functions(case: Case) -> tuple[str, ...]:
    """All of the core ones; of the others, what differs between models: all is a slow test."""
    if case.core:
        return (*case.endpoints, "sample")
    return tuple(name for name in case.endpoints if name in ("generate", "encode"))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_function_runs_in_every_runtime(case: Case, tmp_path: Path) -> None:
    model = case.create()
    names = tuple(names_of(model))
    report = _check_onnx(case, names, ["ONNX Runtime", "ONNX reference", "OpenVINO"], tmp_path)
    # The loop of a PixelCNN is the one thing that a runtime cannot load.
    assert bool(report.notes) == (case.name == "vq_vae"), report.notes
    assert all(note.startswith("OpenVINO cannot load") for note in report.notes)
    check_export(tmp_path / "x", model)
    path = export_model(model, tmp_path / "saved_model", functions=names)
    assert verify(path, model).passed


def test_every_model_is_exported_to_saved_model(case: Case, tmp_path: Path) -> None:
    model = _shaken(case.create())
    path = export_model(model, tmp_path / "x", verify=False)
    found = (*case.endpoints, "sample", "interpolate", "generate_uint8", "generate_png")
    assert tuple(read_export(path)["endpoints"]) == found
    report = verify(path, model)
    assert report.passed, report.problems
    assert {row.function for row in report.rows} == {*found, "serving_default"}
    _check_report(report, path)


def _check_onnx(
    case: Case, functions: tuple[str, ...], runtimes: list[str], tmp_path: Path
) -> Report:
    model = _shaken(case.create())
    path = export_model(model, tmp_path / "x", format="onnx", functions=functions, verify=False)
    assert tuple(read_export(path)["endpoints"]) == functions
    report = verify(path, model, runtimes=runtimes)
    assert report.passed, report.problems
    assert {row.function for row in report.rows} == {*functions}
    _check_report(report, path)
    for endpoint in endpoints(model, functions=functions):
        proto = onnx.load(path / f"{endpoint.name}.onnx")
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
        _check_named(proto, endpoint)
    return report


def _check_report(report: Report, path: Path) -> None:
    floats = [r for r in report.rows if r.output not in INTEGERS and "_uint8" not in r.function]
    assert all(row.noise_floor > 0.0 for row in floats if row.output != "image_bytes")
    assert json.loads(place_of(path, "verification.json").read_text())["passed"]


def _check_named(proto: onnx.ModelProto, endpoint: object) -> None:
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 18
    assert {p.key: p.value for p in proto.metadata_props}["opset"] == "18"
    for values, wanted in (
        (proto.graph.input, endpoint.inputs),
        (proto.graph.output, endpoint.outputs),
    ):
        assert {v.name for v in values} == set(wanted)
        for value in values:
            dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            sizes = ["batch" if size is None else size for size in wanted[value.name].shape]
            assert dims == sizes, value.name


def test_folding_left_no_scale_and_shift(tmp_path: Path) -> None:
    """BatchNorm must be gone, not spelled as Mul and Add: only tanh's rescaling is left."""
    path = export_model(_case("dcgan"), tmp_path / "x", format="onnx", functions=["generate"])
    kinds = [node.op_type for node in onnx.load(path / "generate.onnx").graph.node]
    assert kinds.count("Mul") == 1, kinds
    assert kinds.count("Sub") == 0, kinds


def test_the_averaged_generator_is_exported(tmp_path: Path) -> None:
    model = _case("dcgan", ema=0.9)
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"])
    session = onnxruntime.InferenceSession(path / "generate.onnx")
    latents = model.sample_latents(5, seed=1)
    (found,) = session.run(None, {"latent": latents})
    averaged, raw = (
        np.asarray(g(latents, training=False)) for g in (model.ema_generator, model.generator)
    )
    np.testing.assert_allclose(found, averaged, atol=1e-5)
    assert np.abs(found - raw).max() > 1e-2


def test_onnx_reference_evaluator_agrees(tmp_path: Path) -> None:
    """The ONNX project's own interpreter, which shares no kernel with ONNX Runtime."""
    model = _case("vae")
    path = export_model(model, tmp_path / "x", format="onnx")
    images = np.random.default_rng(0).random((3, *IMAGE_SHAPE), np.float32)
    evaluator = onnx.reference.ReferenceEvaluator(str(path / "encode.onnx"))
    found = dict(zip(evaluator.output_names, evaluator.run(None, {"image": images}), strict=True))
    for name, wanted in zip(("mean", "log_variance"), model.encode(images), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=1e-4)


def test_another_opset(tmp_path: Path) -> None:
    model = _case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", opset=15, functions=["generate"])
    assert onnx.load(path / "generate.onnx").opset_import[0].version == 15
    assert verify(path, model, runtimes=["ONNX Runtime"]).passed


# SavedModel, for those who serve it

SERVE = """
import sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
assert "zoo" not in sys.modules
latents, images = np.load(sys.argv[2]).values()
default = loaded.signatures["serving_default"](latent=latents)["image"]
encoded = loaded.signatures["encode"](image=images)
np.savez(sys.argv[3], default=default, mean=encoded["mean"], log_variance=encoded["log_variance"])
"""


def test_a_process_without_the_zoo_serves_it(tmp_path: Path) -> None:
    model = _case("vae")
    path = export_model(model, tmp_path / "vae")
    assert path == tmp_path / "vae" / "1"
    latents = model.sample_latents(5, seed=0)
    images = np.random.default_rng(0).random((2, *IMAGE_SHAPE), np.float32)
    np.savez(tmp_path / "in.npz", latents=latents, images=images)
    files = [str(path), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", SERVE, *files], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "out.npz")
    mean, log_variance = model.encode(images)
    np.testing.assert_allclose(found["default"], model.generate_from(latents), atol=1e-5)
    np.testing.assert_allclose(found["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(found["log_variance"], log_variance, atol=1e-5)


@pytest.mark.slow
def test_saved_model_cli_samples_what_onnx_runtime_does(tmp_path: Path) -> None:
    """TensorFlow's own tool, in its own process: one seed, one image."""
    model = _case("dcgan")
    path = export_model(model, tmp_path / "x", functions=["sample"], warmup=False)
    tool = Path(sys.executable).parent / "saved_model_cli"
    values = "n=3;seed=12345"
    command = [tool, "run", "--dir", path, "--tag_set", "serve", "--signature_def", "sample"]
    command += ["--input_exprs", values, "--outdir", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    onnx_path = export_model(model, tmp_path / "onnx", format="onnx", functions=["sample"])
    session = onnxruntime.InferenceSession(onnx_path / "sample.onnx")
    feeds = {"n": np.array(3, np.int32), "seed": np.array(12345, np.int32)}
    (wanted,) = session.run(None, feeds)
    np.testing.assert_allclose(np.load(tmp_path / "image.npy"), wanted, atol=1e-6)
    feeds["seed"] += 1
    assert np.abs(session.run(None, feeds)[0] - wanted).max() > 1e-2


def test_png_of_a_saved_model_is_read_by_pillow(tmp_path: Path) -> None:
    model = _shaken(zoo.create("dcgan", (8, 8, 3), LATENT_DIM))
    path = export_model(model, tmp_path / "x", functions=["generate"], warmup=False)
    loaded = tf.saved_model.load(str(path))
    latents = model.sample_latents(3, seed=0)
    files = loaded.signatures["generate_png"](latent=latents)["image_bytes"].numpy()
    found = [np.asarray(PIL.Image.open(io.BytesIO(file))) for file in files]
    np.testing.assert_allclose(
        np.stack(found) / 255.0, model.generate_from(latents), atol=0.51 / 255
    )


def test_discriminate_on_request(tmp_path: Path) -> None:
    model = _shaken(
        zoo.create("projection_gan", IMAGE_SHAPE, LATENT_DIM, num_classes=3, network="mlp")
    )
    names = ["generate", "discriminate"]
    path = export_model(model, tmp_path / "x", format="onnx", functions=names)
    session = onnxruntime.InferenceSession(path / "discriminate.onnx")
    images = np.random.default_rng(0).random((3, *IMAGE_SHAPE), np.float32)
    labels = np.array([0, 1, 2], np.int32)
    (found,) = session.run(None, {"image": images, "label": labels})
    wanted = np.asarray(model.discriminator([images, labels], training=False))[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.ptp(wanted) > 1e-2
    assert verify(path, model, runtimes=["ONNX Runtime"]).passed


def test_a_keras_generator_of_the_users(tmp_path: Path) -> None:
    latents = keras.Input((5,))
    x = keras.layers.Dense(48, activation="tanh")(latents)
    signed = keras.Model(latents, keras.layers.Reshape((4, 4, 3))(x), name="mine")
    with pytest.raises(ValueError, match=r"generator ends in tanh .*Rescaling\(0.5, 0.5\)"):
        export_model(signed, tmp_path / "x", format="onnx")
    network = keras.Sequential([signed, keras.layers.Rescaling(0.5, 0.5)])
    for format_ in FORMATS:
        path = export_model(network, tmp_path / format_, format=format_)
        assert verify(path, network).passed
    with pytest.raises(ValueError, match="function 'encode': gan has generate, sample"):
        export_model(network, tmp_path / "x", format="onnx", functions=["encode"])


@pytest.mark.slow
def test_saved_model_cli_shows_the_signatures(tmp_path: Path) -> None:
    path = export_model(_case("vae"), tmp_path / "vae")
    tool = Path(sys.executable).parent / "saved_model_cli"
    shown = subprocess.run(
        [tool, "show", "--dir", path, "--all"], check=True, capture_output=True, text=True
    ).stdout
    for name in ("serving_default", "generate", "encode", "decode", "reconstruct"):
        assert f"signature_def['{name}']" in shown
    assert "inputs['latent'] tensor_info" in shown
    assert "shape: (-1, 8, 8, 1)" in shown
    assert "outputs['log_variance'] tensor_info" in shown


def test_weights_are_stored_once(tmp_path: Path) -> None:
    model = zoo.create("vae", (28, 28, 1), 16)
    weights = sum(
        weight.numpy().nbytes for n in (model.encoder, model.decoder) for weight in n.weights
    )
    path = export_model(model, tmp_path / "vae")
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert weights <= size < 1.1 * weights


def test_versions_count_up_and_are_never_overwritten(tmp_path: Path) -> None:
    model = _case("dcgan")
    first = export_model(model, tmp_path / "x")
    before = hashes(first)
    assert export_model(model, tmp_path / "x").name == "2"
    assert export_model(model, tmp_path / "x", version=7).name == "7"
    assert read_export(tmp_path / "x")["folder"].name == "7"
    with pytest.raises(FileExistsError, match="never overwritten"):
        export_model(model, tmp_path / "x", version=1)
    with pytest.raises(ValueError, match="version=0"):
        export_model(model, tmp_path / "x", version=0)
    assert hashes(first) == before


EXPORT = """
import sys
import keras
import zoo
from export import export_model
keras.utils.set_random_seed(0)
export_model(zoo.create("dcgan", (8, 8, 1), 3), sys.argv[1])
"""


@pytest.mark.slow
def test_two_processes_export_the_same_bytes(tmp_path: Path) -> None:
    """But for the fingerprint, which TensorFlow fills with a random number.

    Warm-up requests name the model, which is the folder.
    """
    for name in ("a", "b"):
        subprocess.run([sys.executable, "-c", EXPORT, str(tmp_path / name / "gan")], check=True)
    a, b = (hashes(tmp_path / name / "gan" / "1") for name in ("a", "b"))
    assert {name for name in a if a[name] != b[name]} <= {"fingerprint.pb"}
    assert a.keys() == b.keys()


# What is wrong must fail


def _rehash(folder: Path) -> None:
    """As if the changed files had been exported so: only the comparison can tell."""
    file = place_of(folder, NAME)
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "files": hashes(folder)}))


@pytest.mark.parametrize("rehash", [False, True])
def test_one_corrupt_onnx_weight_fails(tmp_path: Path, rehash: bool) -> None:
    model = _case("vae")
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


@pytest.mark.parametrize("rehash", [False, True])
def test_one_corrupt_saved_model_weight_fails(tmp_path: Path, rehash: bool) -> None:
    model = _case("dcgan")
    path = export_model(model, tmp_path / "x", verify=False)
    wrong = _case("dcgan")
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
    model = _case("dcgan")
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


def test_swapped_outputs_fail(tmp_path: Path) -> None:
    model = _case("vae")
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


def test_batch_norm_in_training_mode_fails(tmp_path: Path) -> None:
    model = _case("dcgan")
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
    model = _case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"], verify=False)
    file = place_of(path, NAME)
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert report.problems == [f"{NAME}: {key} is not the model's"]
    assert not report.passed


def test_a_damaged_file_is_a_finding(tmp_path: Path) -> None:
    model = _case("dcgan")
    path = export_model(model, tmp_path / "x", format="onnx", functions=["generate"], verify=False)
    file = path / "generate.onnx"
    file.write_bytes(file.read_bytes()[:100])
    report = verify(path, model, runtimes=["ONNX Runtime"])
    assert not report.passed
    assert any("generate.onnx: not what was exported" in p for p in report.problems)
    file.unlink()
    assert any("missing" in p for p in verify(path, model, runtimes=["ONNX Runtime"]).problems)


def test_a_renamed_tensor_and_a_fixed_batch_fail(tmp_path: Path) -> None:
    model = _case("dcgan")
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


def test_the_other_family_fails(tmp_path: Path) -> None:
    """A VAE's export has functions that a GAN has not, and the other way round."""
    vae, gan = _case("vae"), _case("dcgan")
    path = export_model(vae, tmp_path / "vae", format="onnx", functions=["encode"], verify=False)
    assert any(
        "encode: not a function of the model" in p
        for p in verify(path, gan, runtimes=["ONNX Runtime"]).problems
    )
    path = export_model(gan, tmp_path / "gan", format="onnx", functions=["generate"], verify=False)
    assert not verify(path, vae, runtimes=["ONNX Runtime"]).passed


# What cannot be exported leaves nothing


class Cholesky(keras.layers.Layer):
    """An operation without an ONNX form."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        square = tf.matmul(x[:, :, None], x[:, None, :]) + tf.eye(x.shape[1])
        return x * tf.reduce_sum(tf.linalg.cholesky(square), axis=1)


def test_an_unsupported_operation_is_named(tmp_path: Path) -> None:
    latents = keras.Input((LATENT_DIM,))
    x = keras.layers.Dense(64, activation="sigmoid")(Cholesky()(latents))
    generator = keras.Model(latents, keras.layers.Reshape(IMAGE_SHAPE)(x))
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, generator=generator)
    with pytest.raises(ValueError, match="Cholesky"):
        export_model(model, tmp_path / "x", format="onnx")
    assert not list(tmp_path.iterdir())
    path = export_model(model, tmp_path / "x")
    assert verify(path, model).passed


def test_a_generator_of_the_users_own_class(tmp_path: Path) -> None:
    """It cannot be folded or cast to float64, yet exports and verifies."""

    @keras.saving.register_keras_serializable("tests")
    class Own(keras.Model):
        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(64, activation="sigmoid")

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return tf.reshape(self.dense(x), [-1, *IMAGE_SHAPE])

    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, generator=Own())
    for format_ in FORMATS:
        path = export_model(model, tmp_path / format_, format=format_, verify=False)
        assert verify(path, model).passed


def test_errors(tmp_path: Path) -> None:
    model = _case("dcgan")
    with pytest.raises(ValueError, match="expected 13 to 18"):
        export_model(model, tmp_path / "x", format="onnx", opset=30, functions=["generate"])
    with pytest.raises(ValueError, match="'tflite': expected one of"):
        export_model(model, tmp_path / "x", format="tflite")
    with pytest.raises(ValueError, match="not a model of the zoo"):
        export_model(model.discriminator, tmp_path / "x", format="onnx", functions=["generate"])
    with pytest.raises(ValueError, match="runtime 'TensorRT': expected one of ONNX Runtime"):
        verify(
            export_model(model, tmp_path / "y", format="onnx", functions=["generate"]),
            model,
            runtimes=["TensorRT"],
        )
    shutil.rmtree(tmp_path / "y")
    with pytest.raises(FileNotFoundError, match="not an export"):
        verify(tmp_path, model)
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").mkdir()
    with pytest.raises(FileExistsError, match="exists"):
        export_model(model, tmp_path / "x", format="onnx", functions=["generate"])


def test_metadata_of_an_unknown_format(tmp_path: Path) -> None:
    path = export_model(_case("dcgan"), tmp_path / "x", format="onnx", functions=["generate"])
    file = path / "zoo_export.json"
    file.write_text(file.read_text().replace('"format": "onnx"', '"format": "tflite"'))
    with pytest.raises(ValueError, match=r"x/zoo_export\.json: format .*'onnx'.*Export again"):
        read_export(path)


def test_the_run_folder_may_move_with_its_exports(tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = export_model(
        _case("dcgan"), run / "export", format="onnx", run=run, functions=["generate"]
    )
    assert read_export(path)["run"] == run
    run.rename(tmp_path / "moved")
    assert read_export(tmp_path / "moved" / "export")["run"] == tmp_path / "moved"
