"""Folding and GAN → VAE against the untransformed networks, and what must be refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo import convert
from zoo.convert.gan_to_vae import measure_equality, prior_latents


def _shake(model: keras.Model, seed: int = 0) -> None:
    """Random weights and BatchNorm statistics far from the trivial ones."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        positive = "variance" in weight.name or "gamma" in weight.name
        draw = rng.uniform(0.2, 3.0, weight.shape) if positive else rng.normal(0, 0.2, weight.shape)
        weight.assign(draw)


def _network(shape: tuple[int, ...], *stack: layers.Layer) -> keras.Model:
    inputs = x = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    model = keras.Model(inputs, x)
    _shake(model)
    return model


def _norm(**options: object) -> layers.BatchNormalization:
    return layers.BatchNormalization(**options)


FOLDED: dict[str, Callable[[], keras.Model]] = {
    "dense": lambda: _network((5,), layers.Dense(4), _norm()),
    "dense without bias": lambda: _network((5,), layers.Dense(4, use_bias=False), _norm()),
    "convolution": lambda: _network((6, 6, 2), layers.Conv2D(3, 3, padding="same"), _norm()),
    "strided convolution": lambda: _network((6, 6, 2), layers.Conv2D(3, 4, 2), _norm()),
    "transposed convolution": lambda: _network(
        (6, 6, 2), layers.Conv2DTranspose(3, 4, 2, padding="same", use_bias=False), _norm()
    ),
    "dense, reshape": lambda: _network(
        (5,), layers.Dense(18, use_bias=False), layers.Reshape((3, 3, 2)), _norm()
    ),
    "without scale": lambda: _network((5,), layers.Dense(4), _norm(scale=False)),
    "without centre": lambda: _network((5,), layers.Dense(4), _norm(center=False)),
    "other epsilon": lambda: _network((5,), layers.Dense(4), _norm(epsilon=0.1)),
    "two in a row": lambda: _network((5,), layers.Dense(4), _norm(), layers.Dense(3), _norm()),
}


@pytest.mark.parametrize("build", FOLDED.values(), ids=FOLDED.keys())
def test_folding_keeps_the_function(build: Callable[[], keras.Model]) -> None:
    model = build()
    folded = convert.fold_batch_norm(model)
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    x = np.random.default_rng(1).normal(size=(16, *model.input_shape[1:])).astype(np.float32)
    wanted = np.asarray(model(x, training=False))
    scale = np.sqrt(np.mean(wanted**2))
    np.testing.assert_allclose(np.asarray(folded(x)) / scale, wanted / scale, atol=5e-6)


def _shared_consumer() -> keras.Model:
    inputs = keras.Input((5,))
    x = layers.Dense(4)(inputs)
    return keras.Model(inputs, layers.Add()([x, _norm()(x)]))


def _shared_layer() -> keras.Model:
    inputs = keras.Input((4,))
    dense = layers.Dense(4)
    return keras.Model(inputs, _norm()(dense(dense(inputs))))


UNFOLDABLE: dict[str, Callable[[], keras.Model]] = {
    "activation between": lambda: _network((5,), layers.Dense(4, activation="relu"), _norm()),
    "activation layer between": lambda: _network((5,), layers.Dense(4), layers.ReLU(), _norm()),
    "before a convolution": lambda: _network(
        (6, 6, 2), _norm(), layers.Conv2D(3, 3, padding="same")
    ),
    "other axis": lambda: _network((6, 6, 2), layers.Conv2D(6, 1), _norm(axis=1)),
    "shared consumer": _shared_consumer,
    "shared layer": _shared_layer,
}


@pytest.mark.parametrize("build", UNFOLDABLE.values(), ids=UNFOLDABLE.keys())
def test_folding_refuses(build: Callable[[], keras.Model]) -> None:
    model = build()
    _shake(model)
    folded = convert.fold_batch_norm(model)
    assert any(isinstance(layer, layers.BatchNormalization) for layer in folded.layers)
    x = np.random.default_rng(1).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(folded(x)), np.asarray(model(x, training=False)))


def _gan(**options: object) -> keras.Model:
    gan = zoo.create("dcgan", (8, 8, 1), 5, **options)
    _shake(gan.generator)
    if gan.ema_generator is not None:
        _shake(gan.ema_generator, seed=1)
    return gan


@pytest.mark.parametrize("name", ["dcgan", "wgan_gp"])
@pytest.mark.parametrize("options", [{}, {"ema": 0.9}, {"network": "mlp"}], ids=str)
def test_vae_draws_the_gans_images(name: str, options: dict) -> None:
    gan = zoo.create(name, (8, 8, 1), 5, **options)
    _shake(gan.sampling_generator)
    before = [np.asarray(w) for w in gan.weights]
    vae, report = convert.gan_to_vae(gan)
    np.testing.assert_allclose(vae.generate(500, seed=7), gan.generate(500, seed=7), atol=5e-6)
    assert report.equality.passed
    assert report.coverage == 1.0
    assert report.weights == ("ema" if "ema" in options else "raw")
    for a, b in zip(before, gan.weights, strict=True):
        np.testing.assert_array_equal(a, np.asarray(b))


def test_the_encoder_trains_and_the_decoder_stays(images: np.ndarray) -> None:
    vae, _ = convert.gan_to_vae(_gan())
    drawn = vae.generate(4, seed=0)
    encoder = [np.asarray(w) for w in vae.encoder.weights]
    vae.compile()
    history = vae.fit(images, batch_size=20, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_array_equal(vae.generate(4, seed=0), drawn)
    moved = zip(encoder, vae.encoder.weights, strict=True)
    assert any(np.abs(a - np.asarray(b)).max() > 0 for a, b in moved)


def test_a_converted_vae_is_saved_whole(images: np.ndarray, tmp_path) -> None:
    vae, _ = convert.gan_to_vae(_gan())
    vae.compile()
    vae.fit(images, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.generate(4, seed=0), vae.generate(4, seed=0))
    assert not loaded.decoder.trainable_variables
    assert len(loaded.trainable_variables) == len(vae.trainable_variables)


def test_every_tensor_is_in_the_report() -> None:
    gan = _gan(ema=0.9)
    vae, report = convert.gan_to_vae(gan)
    targets = [row.target for row in report.rows if row.target]
    assert len(targets) == len(set(targets)) == len(vae.encoder.weights) + len(vae.decoder.weights)
    sources = " ".join(row.source for row in report.rows)
    for weight in [*gan.ema_generator.weights, *gan.discriminator.weights]:
        layer, name = weight.path.split("/")[-2:]
        assert f"{layer}/{name}" in sources or (f"{layer}/{{" in sources and name in sources)
    statuses = {row.target: row.status for row in report.rows}
    assert statuses["decoder/project/kernel"] == "TRANSFORMED"
    assert statuses["encoder/mean/kernel"] == "REINITIALISED"
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


def test_a_perturbed_kernel_fails() -> None:
    gan = _gan()
    vae, _ = convert.gan_to_vae(gan)
    latents = prior_latents(gan, 0)
    assert measure_equality(gan.generator, vae, latents).passed
    kernel = vae.decoder.get_layer("logits").weights[0]
    value = kernel.numpy()
    value[1, 2, 0, 3] += 1e-3
    kernel.assign(value)
    assert not measure_equality(gan.generator, vae, latents).passed


def _generator_ending_in(*stack: layers.Layer) -> keras.Model:
    return _network((5,), layers.Dense(64), layers.Reshape((8, 8, 1)), *stack)


@pytest.mark.parametrize(
    "stack",
    [
        (layers.Activation("sigmoid"),),
        (layers.Activation("tanh"), layers.Rescaling(0.5, 0.5)),
        (layers.Conv2D(1, 3, padding="same", activation="sigmoid"),),
        (
            layers.Conv2DTranspose(1, 3, padding="same", activation="tanh"),
            layers.Rescaling(0.5, 0.5),
        ),
    ],
)
def test_generators_of_ones_own(stack: tuple[layers.Layer, ...]) -> None:
    stack = tuple(type(layer).from_config(layer.get_config()) for layer in stack)
    gan = zoo.create("dcgan", (8, 8, 1), 5, generator=_generator_ending_in(*stack))
    vae, report = convert.gan_to_vae(gan)
    np.testing.assert_allclose(vae.generate(50, seed=7), gan.generate(50, seed=7), atol=5e-6)
    assert report.coverage == 1.0


def test_other_outputs_are_refused() -> None:
    for stack in [(layers.ReLU(),), (layers.Activation("tanh"), layers.Rescaling(0.4, 0.5))]:
        gan = zoo.create("dcgan", (8, 8, 1), 5, generator=_generator_ending_in(*stack))
        with pytest.raises(ValueError, match="The generator ends in"):
            convert.gan_to_vae(gan)


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(64, activation="sigmoid")

    def call(self, x: object) -> object:
        return keras.ops.reshape(self.dense(x), (-1, 8, 8, 1))


def test_subclassed_generators_are_refused() -> None:
    gan = zoo.create("dcgan", (8, 8, 1), 5, generator=Subclassed(), ema=0.9)
    assert gan.generate(2).shape == (2, 8, 8, 1)
    with pytest.raises(ValueError, match="Subclassed; expected a functional"):
        convert.gan_to_vae(gan)
