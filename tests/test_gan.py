"""The GAN step against the same algorithm written out plainly."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM

RATE = 0.01


def _gan(name: str, **options: object) -> keras.Model:
    model = zoo.create(name, IMAGE_SHAPE, LATENT_DIM, network="mlp", **options)
    model.compile(keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE))
    return model


def _moved(variables: list, loss: object, tape: tf.GradientTape) -> list[np.ndarray]:
    return [
        v.numpy() - RATE * g.numpy()
        for v, g in zip(variables, tape.gradient(loss, variables), strict=True)
    ]


def _assert_weights(network: keras.Model, wanted: list[np.ndarray]) -> None:
    for weight, value in zip(network.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(weight.numpy(), value, rtol=1e-5, atol=1e-7)


def test_one_pass_is_the_simultaneous_update_of_two(images: np.ndarray) -> None:
    """arXiv 1406.2661: each player against the other as it was, on one fake batch."""
    model = _gan("dcgan")
    g, d = model.generator, model.discriminator
    z = model.noise("latent", tf.constant(20), [LATENT_DIM])
    with tf.GradientTape(persistent=True) as tape:
        real, fake = d(images[:20], training=True), d(g(z, training=True), training=True)
        d_loss = tf.reduce_mean(-tf.math.log(tf.sigmoid(real)) - tf.math.log(1 - tf.sigmoid(fake)))
        g_loss = tf.reduce_mean(-tf.math.log(tf.sigmoid(fake)))
    wanted_d = _moved(d.trainable_variables, d_loss, tape)
    wanted_g = _moved(g.trainable_variables, g_loss, tape)
    logs = model.train_on_batch(images[:20], return_dict=True)
    _assert_weights(d, wanted_d)
    _assert_weights(g, wanted_g)
    assert logs["discriminator_loss"] == pytest.approx(float(d_loss), rel=1e-5)
    assert logs["generator_loss"] == pytest.approx(float(g_loss), rel=1e-5)


def test_wgan_gp_is_algorithm_1(images: np.ndarray) -> None:
    """arXiv 1704.00028, algorithm 1: n_critic critic updates on fresh minibatches, then G's."""
    n_critic, size, weight = 3, 4, 10.0
    model = _gan("wgan_gp", n_critic=n_critic)
    g = keras.models.clone_model(model.generator)
    f = keras.models.clone_model(model.discriminator)
    g.set_weights(model.generator.get_weights())
    f.set_weights(model.discriminator.get_weights())
    z = model.noise("latent", tf.constant(n_critic * size), [LATENT_DIM])
    mix = model.noise("mix", tf.constant(n_critic * size), [1, 1, 1], uniform=True)
    for i in range(n_critic):
        x, latents, epsilon = (v[i::n_critic] for v in (images[: n_critic * size], z, mix))
        with tf.GradientTape() as tape:
            fake = g(latents)
            between = epsilon * x + (1 - epsilon) * fake
            with tf.GradientTape() as inner:
                inner.watch(between)
                score = f(between)
            norm = tf.norm(tf.reshape(inner.gradient(score, between), [size, -1]), axis=1)
            loss = tf.reduce_mean(f(fake) - f(x)) + weight * tf.reduce_mean((norm - 1) ** 2)
        for v, value in zip(
            f.trainable_variables, _moved(f.trainable_variables, loss, tape), strict=True
        ):
            v.assign(value)
    latents = model.noise("generator", tf.constant(size), [LATENT_DIM])
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(f(g(latents)))
    wanted_g = _moved(g.trainable_variables, loss, tape)
    model.train_on_batch(images[: n_critic * size])
    _assert_weights(model.discriminator, [v.numpy() for v in f.trainable_variables])
    _assert_weights(model.generator, wanted_g)
    assert int(model.discriminator_optimizer.iterations) == n_critic
    assert int(model.generator_optimizer.iterations) == int(model.step) == 1


def test_the_average_follows_its_definition(images: np.ndarray) -> None:
    """θ̄ ← d θ̄ + (1 − d) θ with d = min(decay, (1 + t) / (10 + t)); sampling uses θ̄."""
    model = _gan("dcgan", ema=0.3)
    average = [w.numpy() for w in model.generator.trainable_variables]
    for step in range(6):
        model.train_on_batch(images[:20])
        decay = min(0.3, (1 + step) / (10 + step))
        average = [
            decay * a + (1 - decay) * w.numpy()
            for a, w in zip(average, model.generator.trainable_variables, strict=True)
        ]
    for found, wanted in zip(model.ema_generator.weights, average, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-7)
    latents = model.sample_latents(3, seed=0)
    np.testing.assert_array_equal(model.generate(3, seed=0), model.ema_generator(latents))
    assert np.abs(model.generate(3, seed=0) - model.generator(latents)).max() > 0


def test_too_few_images_for_the_critic(images: np.ndarray) -> None:
    model = _gan("wgan_gp")
    with pytest.raises(tf.errors.InvalidArgumentError, match="fewer images than n_critic=5"):
        model.fit(images[:4], batch_size=4, verbose=0)
