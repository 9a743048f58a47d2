"""Conversion of generators with layers of the user's own, and from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import zoo
from tests.support.networks import shake
from zoo import cli, convert
from zoo.convert.reading import named_weights
from zoo.convert.report import Report
from zoo.training.runs import is_lone_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE, LATENT, WIDTH = (8, 8, 1), 3, 6
NETWORK = "conv-8"
register = keras.saving.register_keras_serializable("convert_own")


@register
class OfConstant(layers.Layer):
    """A float32 constant made with the layer."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = tf.constant(0.5)

    def call(self, x: Any) -> Any:
        return x * self.factor


@register
class ConstantInCall(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.matmul(x, tf.constant(np.eye(WIDTH), tf.float32))


@register
class DeclaresItsShape(layers.Layer):
    """Keras does not trace its call, so that only a run shows the constant."""

    def call(self, x: Any) -> Any:
        return x * tf.constant(0.5)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


@register
class TakesAnyPrecision(layers.Layer):
    """Keras does not cast what it takes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})

    def call(self, x: Any) -> Any:
        return x * tf.constant(0.5)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "autocast"}


@register
class UnnamedWeights(layers.Layer):
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=shape[-1:], initializer="ones")
        self.offset = self.add_weight(shape=shape[-1:], initializer="zeros")

    def call(self, x: Any) -> Any:
        return x * self.scale + self.offset


@register
class UnnamedLayers(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.second = layers.Dense(WIDTH), layers.Dense(WIDTH)

    def build(self, shape: Any) -> None:
        self.first.build(shape)
        self.second.build(shape)

    def call(self, x: Any) -> Any:
        return self.second(keras.ops.relu(self.first(x)))


@register
class ForgetsItsFactor(OfConstant):
    def __init__(self, factor: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = tf.constant(factor)

    def get_config(self) -> dict[str, Any]:
        return {key: value for key, value in super().get_config().items() if key != "factor"}


@register
class OfTensorFlow(keras.Model):
    """Its call cannot be read."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(64, activation="sigmoid")

    def call(self, x: Any) -> Any:
        return tf.reshape(self.dense(x) * tf.constant(1.0), [-1, *SHAPE])


FLOAT32_ONLY = (OfConstant, ConstantInCall, DeclaresItsShape, TakesAnyPrecision)
UNNAMED = (UnnamedWeights, UnnamedLayers)


def _generator(*between: layers.Layer, logits: bool = False) -> keras.Model:
    x = latent = keras.Input((LATENT,))
    for layer in (layers.Dense(WIDTH, activation="relu"), *between):
        x = layer(x)
    x = layers.Reshape(SHAPE)(layers.Dense(64)(x))
    if not logits:
        x = layers.Rescaling(0.5, 0.5)(layers.Activation("tanh")(x))
    model = keras.Model(latent, x)
    shake(model)
    return model


def _latents() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(50, LATENT)).astype(np.float32)


SLOW = (ConstantInCall, TakesAnyPrecision)


@pytest.mark.parametrize(
    "own",
    [
        pytest.param(own, marks=[pytest.mark.slow] if own in SLOW else [])
        for own in (*FLOAT32_ONLY, *UNNAMED)
    ],
)
def test_layers_of_the_users_own_are_carried_over(own: Any) -> None:
    # Twice, for a name of a first and of a second to tell apart.
    generator = _generator(own(name="own"), own(name="another"))
    vae, report = convert.gan_to_vae(generator, network=NETWORK)
    z = _latents()
    np.testing.assert_allclose(vae.generate_from(z), generator(z), atol=5e-6)
    assert report.equality.passed
    assert report.coverage == 1.0
    told = [note for note in report.notes if "own" in note and "in float32 only" in note]
    assert len(told) == (own in FLOAT32_ONLY)
    # 0 would be what a comparison of the generator with itself gives.
    assert 0.0 < report.equality.noise_floor < 5e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "own",
    [
        UnnamedWeights,
        *(pytest.param(x, marks=pytest.mark.slow) for x in (OfConstant, UnnamedLayers)),
    ],
)
def test_into_a_model_that_has_the_layer_too(own: Any) -> None:
    vae = zoo.create("vae", SHAPE, LATENT, network=NETWORK, decoder=_generator(own(), logits=True))
    generator = _generator(own())
    _, report = convert.gan_to_vae(generator, vae)
    assert report.coverage == 1.0
    z = _latents()
    np.testing.assert_allclose(vae.generate_from(z), generator(z), atol=5e-6)
    gan, back = convert.vae_to_gan(vae, whiten_posterior=False)
    np.testing.assert_allclose(gan.generate_from(z), generator(z), atol=5e-6)
    assert any("in float32 only" in note for note in back.notes) == (own is OfConstant)


@pytest.mark.slow
@pytest.mark.parametrize("own", [OfConstant, pytest.param(UnnamedWeights, marks=pytest.mark.slow)])
def test_batch_norm_behind_such_a_layer(own: Any) -> None:
    generator = _generator(own(), layers.BatchNormalization())
    vae, _ = convert.gan_to_vae(generator, network=NETWORK)
    z = _latents()
    np.testing.assert_allclose(vae.generate_from(z), generator(z), atol=5e-6)
    _, report = convert.gan_to_vae(generator, batch_norm="recalibrate", network=NETWORK)
    assert report.equality.passed


@pytest.mark.slow
@pytest.mark.parametrize("own", [OfConstant, pytest.param(UnnamedWeights, marks=pytest.mark.slow)])
def test_distilling_such_a_generator(own: Any) -> None:
    _, report = convert.gan_to_vae(
        _generator(own(name="own")), mode="distill", distill_steps=2, network=NETWORK
    )
    assert report.equivalence == "approximate"
    assert any("own: in float32 only" in note for note in report.notes) == (own is OfConstant)


def test_distilling_what_cannot_be_read() -> None:
    generator = OfTensorFlow()
    generator(np.zeros((1, LATENT), np.float32))
    with pytest.raises(ValueError, match="mode='distill'"):
        convert.gan_to_vae(generator)
    _, report = convert.gan_to_vae(generator, mode="distill", distill_steps=2, network=NETWORK)
    assert any("noise floor is unknown" in note for note in report.notes)


def test_a_layer_that_comes_back_as_another_is_found_out() -> None:
    with pytest.raises(ValueError, match="does not compute the generator's images"):
        convert.gan_to_vae(_generator(ForgetsItsFactor(0.7)))


def test_weights_are_named_by_their_order() -> None:
    def build(layer: Any) -> Any:
        layer(np.zeros((1, WIDTH), np.float32))
        return layer

    names = ["variable", "variable_1"]
    assert list(named_weights(build(UnnamedWeights()))) == names
    assert list(named_weights(build(UnnamedWeights()))) == names
    within = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert list(named_weights(build(UnnamedLayers()))) == within
    # Names that were given stay.
    named = layers.Dense(2, name="dense_7")
    assert list(named_weights(build(named))) == ["kernel", "bias"]


# Files


def _zoo(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def _hub_folder(folder: Path) -> Path:
    """As Hugging Face has them: a config.json of no run beside the model."""
    folder.mkdir()
    config = {"architectures": ["Generator"], "model_type": "gan", "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _run_folder(folder: Path) -> Path:
    folder.mkdir()
    config = {"format": 1, "model": "dcgan", "image_shape": SHAPE, "latent_dim": LATENT}
    config["versions"] = {}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "beside"),
    [
        (".h5", _hub_folder),
        pytest.param(".keras", _run_folder, marks=pytest.mark.slow),
        pytest.param(".keras", _hub_folder, marks=pytest.mark.slow),
        pytest.param(".keras", _empty, marks=pytest.mark.slow),
        pytest.param(".h5", _empty, marks=pytest.mark.slow),
        pytest.param(".h5", _run_folder, marks=pytest.mark.slow),
    ],
)
def test_files_are_converted_alike(
    tmp_path: Path, suffix: str, beside: Callable[[Path], Path]
) -> None:
    generator = _generator()
    # How it was compiled does not matter: this loss is not to be had.
    generator.compile(loss=lambda y, x: y - x)
    path = beside(tmp_path / "folder") / f"generator{suffix}"
    generator.save(path)
    _, report = convert.gan_to_vae(path, dry_run=True)
    out = tmp_path / "out"
    assert _zoo("convert", path, "--to", "vae", "--out", out, "--data", "sprites") == 0
    loaded = Report.load(out / "conversion.json")
    assert loaded.equality == report.equality
    assert loaded.rows[: len(generator.weights)] == report.rows[: len(generator.weights)]
    z = _latents()
    np.testing.assert_allclose(zoo.load_run(out).generate_from(z), generator(z), atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to"), [("vae", "gan"), pytest.param("dcgan", "vae", marks=pytest.mark.slow)]
)
def test_models_of_the_zoo_in_files_of_their_own(
    name: str, to: str, tmp_path: Path, capsys: Any
) -> None:
    model = zoo.create(name, SHAPE, LATENT, network="mlp")
    path = _hub_folder(tmp_path / name) / "model.keras"
    model.save(path)
    arguments = ("convert", path, "--data", "sprites", "--no-whiten", "--dry-run", "--to")
    assert _zoo(*arguments, to) == 0
    assert "equivalence" in capsys.readouterr().out
    assert _zoo(*arguments, model.family) == 1
    assert f"holds a {name}, a {model.family.upper()} already" in capsys.readouterr().err
    if name == "vae":
        with pytest.raises(TypeError, match="vae is a VAE already"):
            convert.gan_to_vae(path)


def test_what_is_a_file_of_its_own(tmp_path: Path) -> None:
    """A checkpoint is so by what it holds and by its run; a network never is."""
    run, hub = _run_folder(tmp_path / "run"), _hub_folder(tmp_path / "hub")
    generator, gan = _generator(), zoo.create("dcgan", SHAPE, LATENT, network="mlp")
    for folder in (run, hub):
        gan.save(folder / "model.keras")
        generator.save(folder / "generator.keras")
        (folder / "generator.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
        (folder / "cut.keras").write_bytes(b"PK and no more")
    assert not is_lone_file(run)
    assert not is_lone_file(run / "model.keras")
    assert not is_lone_file(run / "cut.keras")  # whose run names the others that are whole
    alone = [run / "generator.keras", run / "generator.h5", hub / "cut.keras"]
    alone += [hub / f"{name}" for name in ("model.keras", "generator.keras", "generator.h5")]
    assert all(map(is_lone_file, alone))


def test_files_that_cannot_be_loaded(tmp_path: Path, capsys: Any) -> None:
    generator = _generator()
    generator.save_weights(tmp_path / "a.weights.h5")
    (tmp_path / "cut.keras").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "a.weights.h5": r"a\.weights\.h5 cannot be loaded: .*Expected a whole model",
        "cut.keras": r"cut\.keras cannot be loaded",
        "folder": r"folder is a folder; .*zoo\.load_run",
    }.items():
        with pytest.raises(ValueError, match=message):
            convert.gan_to_vae(tmp_path / name)
    assert _zoo("convert", tmp_path / "cut.keras", "--to", "vae", "--dry-run") == 1
    assert "cut.keras cannot be loaded" in capsys.readouterr().err


def test_a_generator_of_bright_images_alone() -> None:
    """Its decoder's logits are bounded as a user's own would not be let through."""
    generator = _generator()
    latent, logits = generator.inputs[0], generator.layers[-3].output
    tanh = layers.Activation("tanh")(layers.ReLU()(logits))
    bright = keras.Model(latent, layers.Rescaling(0.5, 0.5)(tanh))
    vae, report = convert.gan_to_vae(bright, network=NETWORK)
    assert report.equality.passed
    z = _latents()
    np.testing.assert_allclose(vae.generate_from(z), bright(z), atol=5e-6)
