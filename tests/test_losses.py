"""Losses against SciPy, scikit-learn and hand arithmetic; penalties by finite differences."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from sklearn.metrics import log_loss

from zoo import losses

RNG = np.random.default_rng(0)
IMAGES = RNG.random((5, 4, 4, 1)).astype(np.float32)
OTHERS = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32)
MEAN = RNG.normal(size=(5, 3)).astype(np.float32)
LOG_VARIANCE = RNG.normal(size=(5, 3)).astype(np.float32)
REAL = RNG.normal(size=(5, 1)).astype(np.float32)
FAKE = RNG.normal(size=(5, 1)).astype(np.float32)


def test_gaussian_nll() -> None:
    wanted = -scipy.stats.norm.logpdf(IMAGES, OTHERS, np.sqrt(0.3)).sum(axis=(1, 2, 3))
    found = losses.gaussian_nll(IMAGES, OTHERS, tf.constant(0.3))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_bernoulli_nll() -> None:
    pixels = (IMAGES > 0.5).astype(int).reshape(5, -1)
    probabilities = scipy.special.expit(OTHERS.astype(np.float64)).reshape(5, -1)
    wanted = [
        log_loss(x, p, normalize=False, labels=[0, 1])
        for x, p in zip(pixels, probabilities, strict=True)
    ]
    found = losses.bernoulli_nll(pixels.reshape(IMAGES.shape).astype(np.float32), OTHERS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_kl_is_that_of_scipy_densities() -> None:
    """E_q[log q − log p], by quadrature of each dimension."""
    wanted = []
    for mean, log_variance in zip(MEAN, LOG_VARIANCE, strict=True):
        total = 0.0
        for m, s in zip(mean, np.exp(0.5 * log_variance), strict=True):
            q = scipy.stats.norm(m, s)
            total += q.expect(lambda z, q=q: q.logpdf(z) - scipy.stats.norm.logpdf(z))
        wanted.append(total)
    np.testing.assert_allclose(losses.kl_standard_normal(MEAN, LOG_VARIANCE), wanted, rtol=1e-4)


def test_normal_log_density() -> None:
    latents = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    wanted = scipy.stats.norm.logpdf(latents, MEAN, np.exp(0.5 * LOG_VARIANCE)).sum(-1)
    found = losses.normal_log_density(latents, MEAN, LOG_VARIANCE)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_adversarial_losses() -> None:
    d_real, d_fake = scipy.special.expit(REAL[:, 0]), scipy.special.expit(FAKE[:, 0])
    np.testing.assert_allclose(
        losses.minimax_discriminator_loss(REAL, FAKE),
        -np.log(d_real) - np.log(1 - d_fake),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses.non_saturating_generator_loss(FAKE), -np.log(d_fake), rtol=1e-5
    )
    np.testing.assert_allclose(
        losses.wasserstein_critic_loss(REAL, FAKE), (FAKE - REAL)[:, 0], rtol=1e-6
    )


def test_minimax_at_the_optimum() -> None:
    """Where the discriminator cannot tell, its loss is log 4 (arXiv 1406.2661, theorem 1)."""
    zeros = tf.zeros([3, 1])
    np.testing.assert_allclose(losses.minimax_discriminator_loss(zeros, zeros), np.log(4))


def test_gradient_penalty_of_a_linear_critic() -> None:
    """∇f = w everywhere, so the penalty is (‖w‖ − 1)² for any x̂."""
    w = RNG.normal(size=(16, 1)).astype(np.float32)
    mix = RNG.random((5, 1, 1, 1)).astype(np.float32)
    found = losses.gradient_norm_penalty(
        lambda x: tf.reshape(x, [-1, 16]) @ w, tf.constant(IMAGES), tf.constant(OTHERS), mix
    )
    np.testing.assert_allclose(found, np.full(5, (np.linalg.norm(w) - 1) ** 2), rtol=1e-5)


def test_gradient_penalty_mixes_as_in_algorithm_1() -> None:
    """f(x) = ½ ‖x‖² has ∇f = x̂, so the penalty shows x̂ = ε x + (1 − ε) G(z)."""
    mix = RNG.random((5, 1, 1, 1)).astype(np.float32)
    found = losses.gradient_norm_penalty(
        lambda x: 0.5 * tf.reduce_sum(tf.square(x), axis=[1, 2, 3])[:, None],
        tf.constant(IMAGES), tf.constant(OTHERS), mix,
    )  # fmt: skip
    between = (mix * IMAGES + (1 - mix) * OTHERS).reshape(5, -1)
    np.testing.assert_allclose(found, (np.linalg.norm(between, axis=1) - 1) ** 2, rtol=1e-4)


def test_gradient_penalty_second_order() -> None:
    """Its derivative with respect to the critic's weights, against central differences."""
    keras.utils.set_random_seed(0)
    critic = keras.Sequential(
        [
            keras.Input((4, 4, 1), dtype="float64"),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(6, activation="tanh", dtype="float64"),
            keras.layers.Dense(1, dtype="float64"),
        ]
    )
    mix = RNG.random((5, 1, 1, 1))
    kernel = critic.weights[0]
    real, fake, mix = (tf.constant(x, tf.float64) for x in (IMAGES, OTHERS, mix))

    def penalty() -> tf.Tensor:
        return tf.reduce_sum(losses.gradient_norm_penalty(critic, real, fake, mix))

    with tf.GradientTape() as tape:
        value = penalty()
    found = tape.gradient(value, kernel.value).numpy()
    start, step = kernel.numpy(), 1e-5
    for index in [(0, 0), (7, 3), (15, 5)]:
        sides = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            kernel.assign(moved)
            sides.append(float(penalty()))
        kernel.assign(start)
        assert found[index] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


def test_gradient_penalty_of_a_flat_critic_is_finite() -> None:
    point = tf.Variable(tf.zeros([5, 1]))
    with tf.GradientTape() as tape:
        value = losses.gradient_norm_penalty(
            lambda x: tf.nn.relu(tf.reduce_sum(x, axis=[1, 2, 3])[:, None] * point), IMAGES, OTHERS,
            tf.ones([5, 1, 1, 1]),
        )  # fmt: skip
    np.testing.assert_allclose(value, np.ones(5), rtol=1e-5)
    assert np.all(np.isfinite(tape.gradient(value, point)))
