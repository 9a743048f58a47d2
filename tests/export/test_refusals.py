"""What cannot be exported leaves nothing behind, and is explained."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import pytest
import tensorflow as tf

import zoo
from export import export_model, read_export, verify
from tests.cases import IMAGE_SHAPE, LATENT_DIM
from tests.support.exports import FORMATS, shaken_case


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


@pytest.mark.slow
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
    model = shaken_case("dcgan")
    with pytest.raises(ValueError, match="expected 13 to 18"):
        export_model(model, tmp_path / "x", format="onnx", opset=30, functions=["generate"])
    with pytest.raises(ValueError, match="'tflite': expected one of"):
        export_model(model, tmp_path / "x", format="tflite")
    with pytest.raises(ValueError, match="expected a model of the zoo, or a built Keras"):
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
    path = export_model(shaken_case("dcgan"), tmp_path / "x", format="onnx", functions=["generate"])
    file = path / "zoo_export.json"
    file.write_text(file.read_text().replace('"format": "onnx"', '"format": "tflite"'))
    with pytest.raises(ValueError, match=r"x/zoo_export\.json: format .*'onnx'.*Export again"):
        read_export(path)


def test_the_run_folder_may_move_with_its_exports(tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = export_model(
        shaken_case("dcgan"), run / "export", format="onnx", run=run, functions=["generate"]
    )
    assert read_export(path)["run"] == run
    run.rename(tmp_path / "moved")
    assert read_export(tmp_path / "moved" / "export")["run"] == tmp_path / "moved"


def test_what_an_export_does_not_take(tmp_path: Path) -> None:
    model = zoo.create("dcgan", IMAGE_SHAPE, LATENT_DIM, network="mlp")
    with pytest.raises(ValueError, match="opset: a web export takes run, verify"):
        export_model(model, tmp_path / "x", format="web", opset=18)
    with pytest.raises(TypeError, match=r"expected a list of names, \['sample'\]"):
        export_model(model, tmp_path / "x", functions="sample")
    model.endpoints = lambda: {"generate": ("images_from_latents", {}, {}, ())}
    with pytest.raises(TypeError, match=r"'generate' is a tuple; expected a .*EndpointSpec"):
        export_model(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())
