"""BiGAN / ALI: losses by hand, its step written out, and an encoder that inverts the generator."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE

DIM = 2


def _model(**options: object) -> keras.Model:
    options = {"network": "mlp", "normalization": "none", **options}
    return zoo.create("bigan", IMAGE_SHAPE, DIM, **options)


def _halves(n: int) -> np.ndarray:
    """Images of two factors: the grey of the left half and of the right."""
    greys = np.random.default_rng(0).uniform(0.1, 0.9, (n, 1, 2, 1))
    return np.kron(greys, np.ones((1, 8, 4, 1))).astype(np.float32)


def test_losses_are_of_swapped_labels() -> None:
    """arXiv 1605.09782, section 3.4: −log D(G(z), z) − log(1 − D(x, E(x)))."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 6, 1))
    model = _model()

    def log_sigmoid(x: np.ndarray) -> np.ndarray:
        return -np.log1p(np.exp(-x))[:, 0]

    np.testing.assert_allclose(
        model.generator_loss(real, fake), -log_sigmoid(fake) - log_sigmoid(-real), rtol=1e-6
    )
    np.testing.assert_allclose(
        model.discriminator_loss(real, fake), -log_sigmoid(real) - log_sigmoid(-fake), rtol=1e-6
    )
    wasserstein = _model(loss="wasserstein")
    np.testing.assert_allclose(wasserstein.generator_loss(real, fake), (real - fake)[:, 0])


@pytest.mark.slow
def test_step_is_that_of_three_networks(images: np.ndarray) -> None:
    """G and E against D, on pairs, with reparametrised codes (arXiv 1606.00704, algorithm 1)."""
    rate, x = 0.01, images[:20]
    model = _model()
    model.compile(keras.optimizers.SGD(rate), keras.optimizers.SGD(rate))
    g, d, e = model.generator, model.discriminator, model.encoder
    z = model.noise("latent", tf.constant(20), [DIM])
    noise = model.noise("posterior", tf.constant(20), [DIM])
    with tf.GradientTape(persistent=True) as tape:
        mean, log_variance = e(x)
        codes = mean + tf.sqrt(tf.exp(log_variance)) * noise
        real, fake = tf.sigmoid(d([tf.constant(x), codes])), tf.sigmoid(d([g(z), z]))
        d_loss = -tf.reduce_mean(tf.math.log(real) + tf.math.log(1 - fake))
        g_loss = -tf.reduce_mean(tf.math.log(fake) + tf.math.log(1 - real))
    wanted = [
        (v, v.numpy() - rate * tape.gradient(loss, v.value).numpy())
        for network, loss in ((g, g_loss), (e, g_loss), (d, d_loss))
        for v in network.trainable_variables
    ]
    before = [v.numpy() for v in e.trainable_variables]
    logs = model.train_on_batch(x, return_dict=True)
    for variable, value in wanted:
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-7)
    moved = [np.abs(v - w).max() for v, w in zip(before, e.trainable_variables, strict=True)]
    assert min(moved) > 0
    assert logs["generator_loss"] == pytest.approx(float(g_loss), rel=1e-5)
    assert logs["discriminator_loss"] == pytest.approx(float(d_loss), rel=1e-5)


@pytest.mark.slow
def test_a_penalty_holds_the_codes_fixed(images: np.ndarray) -> None:
    """½ ‖∂D(x, z) / ∂x‖² at z = E(x), by differences: what E contributes is left out."""
    pair = [keras.Input(IMAGE_SHAPE), keras.Input((DIM,))]
    joint = keras.layers.Concatenate()([keras.layers.Flatten()(pair[0]), pair[1]])
    hidden = keras.layers.Dense(16, activation="tanh")(joint)
    d = keras.Model(pair, keras.layers.Dense(1)(hidden))
    model = _model(regularizer="r1", regularizer_weight=1.0, discriminator=d)
    model.compile()
    x = images[:2]
    noise = model.noise("test_posterior", tf.constant(2), [DIM], counter=tf.constant(0, tf.int64))
    mean, log_variance = model.encoder(x)
    codes = mean + tf.exp(0.5 * log_variance) * noise
    step, gradient = 1e-2, np.zeros((2, 64))
    for i, move in enumerate(step * np.eye(64, dtype=np.float32).reshape(64, 1, *IMAGE_SHAPE)):
        up, down = (d([tf.constant(x + sign * move), codes]) for sign in (1, -1))
        gradient[:, i] = (up - down)[:, 0] / (2 * step)
    wanted = 0.5 * np.mean(np.sum(gradient**2, axis=1))
    measured = model.evaluate(x, verbose=0, return_dict=True)["gradient_penalty"]
    assert measured == pytest.approx(wanted, rel=1e-3)  # step² and float32 / step are 1e-4 and less


@pytest.mark.slow
def test_the_encoder_inverts_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconstructions are closer to their images than the mean image is, or those of others."""
    monkeypatch.setattr("zoo.networks.mlp.WIDTH", 128)
    monkeypatch.setattr("zoo.networks._heads.JOINT_UNITS", 128)
    images = _halves(512)
    model = _model(ema=0.99)
    model.compile(
        keras.optimizers.Adam(1e-3, 0.5), keras.optimizers.Adam(1e-3, 0.5), steps_per_execution=8
    )
    model.fit(images, batch_size=64, epochs=45, verbose=0)
    reconstructed = np.asarray(model.reconstruct(images))
    error = np.mean((reconstructed - images) ** 2)
    assert error < 0.5 * np.mean((images.mean(axis=0) - images) ** 2)
    assert error < 0.2 * np.mean((reconstructed[::-1] - images) ** 2)
    mean, log_variance = model.encode(images)
    assert mean.shape == log_variance.shape == (512, DIM)
    np.testing.assert_array_equal(reconstructed, model.ema_generator(mean))


def test_own_encoder_is_saved_and_checked() -> None:
    image = keras.Input(IMAGE_SHAPE)
    flat = keras.layers.Flatten()(image)
    moments = [keras.layers.Dense(DIM)(flat) for _ in range(2)]
    model = _model(encoder=keras.Model(image, moments))
    again = type(model).from_config(model.get_config())
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]
    with pytest.raises(ValueError, match=r"encoder maps \(8, 8, 1\) to \[\(2,\)\]"):
        _model(encoder=keras.Model(image, moments[0]))
    with pytest.raises(ValueError, match="num_classes=3"):
        _model(num_classes=3)
