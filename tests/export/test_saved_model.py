"""SavedModels, for those who serve them: signatures, versions, size, the same bytes."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import PIL.Image
import pytest
import tensorflow as tf

import zoo
from export import endpoints, export_model, read_export, verify
from export.metadata import hashes
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.exports import FORMATS, shaken, shaken_case

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
    model = shaken_case("vae")
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
def test_the_network_of_a_prior_is_saved(tmp_path: Path) -> None:
    """`sample` of a VampPrior encodes pseudo-inputs: the encoder and they are weights of it."""
    model = shaken(zoo.create("vamp_prior", IMAGE_SHAPE, LATENT_DIM, network="mlp", components=4))
    options = {"functions": ["generate", "sample"], "verify": False, "warmup": False}
    loaded = tf.saved_model.load(str(export_model(model, tmp_path / "x", **options)))
    given = {"n": tf.constant(3), "seed": tf.constant(7)}
    sample = {each.name: each for each in endpoints(model, functions=["sample"])}["sample"]
    wanted, found = sample.function(*given.values()), loaded.signatures["sample"](**given)
    np.testing.assert_allclose(found["image"], wanted["image"], atol=1e-5)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(weight + 0.1)
    again = loaded.signatures["sample"](**given)
    np.testing.assert_array_equal(again["image"], found["image"])  # it has weights of its own
    assert np.abs(sample.function(*given.values())["image"] - wanted["image"]).max() > 1e-2


@pytest.mark.slow
def test_saved_model_cli_samples_what_onnx_runtime_does(tmp_path: Path) -> None:
    """TensorFlow's own tool, in its own process: one seed, one image."""
    model = shaken_case("dcgan")
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
    model = shaken(zoo.create("dcgan", (8, 8, 3), LATENT_DIM))
    path = export_model(model, tmp_path / "x", functions=["generate"], warmup=False)
    loaded = tf.saved_model.load(str(path))
    latents = model.sample_latents(3, seed=0)
    files = loaded.signatures["generate_png"](latent=latents)["image_bytes"].numpy()
    found = [np.asarray(PIL.Image.open(io.BytesIO(file))) for file in files]
    np.testing.assert_allclose(
        np.stack(found) / 255.0, model.generate_from(latents), atol=0.51 / 255
    )


@pytest.mark.slow
def test_discriminate_on_request(tmp_path: Path) -> None:
    model = shaken(
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


@pytest.mark.slow
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
    path = export_model(shaken_case("vae"), tmp_path / "vae")
    tool = Path(sys.executable).parent / "saved_model_cli"
    shown = subprocess.run(
        [tool, "show", "--dir", path, "--all"], check=True, capture_output=True, text=True
    ).stdout
    for name in ("serving_default", "generate", "encode", "decode", "reconstruct"):
        assert f"signature_def['{name}']" in shown
    assert "inputs['latent'] tensor_info" in shown
    assert "shape: (-1, 8, 8, 1)" in shown
    assert "outputs['log_variance'] tensor_info" in shown


@pytest.mark.slow
def test_weights_are_stored_once(tmp_path: Path) -> None:
    model = zoo.create("vae", (28, 28, 1), 16)
    weights = sum(
        weight.numpy().nbytes for n in (model.encoder, model.decoder) for weight in n.weights
    )
    path = export_model(model, tmp_path / "vae")
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert weights <= size < 1.1 * weights


def test_versions_count_up_and_are_never_overwritten(tmp_path: Path) -> None:
    model = shaken_case("dcgan")
    options = {"functions": ["generate"], "verify": False}
    first = export_model(model, tmp_path / "x", **options)
    before = hashes(first)
    assert export_model(model, tmp_path / "x", **options).name == "2"
    assert export_model(model, tmp_path / "x", version=7, **options).name == "7"
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
