"""Likelihoods and adversarial losses against SciPy, scikit-learn, PyTorch and hand arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from scipy.integrate import quad
from sklearn.metrics import log_loss

from zoo import losses

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
IMAGES = RNG.random((5, 4, 4, 1)).astype(np.float32)
OTHERS = RNG.normal(size=(5, 4, 4, 1)).astype(np.float32)
REAL = RNG.normal(size=(5, 1)).astype(np.float32)
FAKE = RNG.normal(size=(5, 1)).astype(np.float32)
# From λ = ½ over both sides of the switch between series and closed form to saturation.
LOGITS = np.float32([0, 1e-20, 1e-4, 0.1, 0.299, 0.301, 0.5, 1, 3, 10, 30])
LOGITS = np.concatenate([-LOGITS[::-1], LOGITS])


def as_pixels(values: Any) -> np.ndarray:
    """One image of one pixel for each value, so that losses of pixels come out one by one."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1, 1)


# Likelihoods


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


def continuous_bernoulli_moments(logit: float) -> tuple[float, float]:
    """log ∫ λ^x (1 − λ)^(1 − x) dx and the mean, by quadrature of the paper's definition."""
    log_one_minus = -np.logaddexp(0.0, logit)  # λ^x (1 − λ)^(1 − x) = (1 − λ) e^(x logit)
    mass = quad(lambda x: np.exp(x * logit + log_one_minus), 0, 1)[0]
    first = quad(lambda x: x * np.exp(x * logit + log_one_minus), 0, 1)[0]
    return np.log(mass), first / mass


@pytest.mark.parametrize("pixel", [0.0, 0.25, 1.0])
def test_continuous_bernoulli_is_normalised(pixel: float) -> None:
    """Values by quadrature; the gradient with respect to the logit is mean − x."""
    moments = np.array([continuous_bernoulli_moments(float(logit)) for logit in LOGITS])
    logits = tf.constant(as_pixels(LOGITS))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = losses.continuous_bernoulli_nll(as_pixels(np.full_like(LOGITS, pixel)), logits)
    gradient = tape.gradient(found, logits).numpy().ravel()
    log_density = pixel * LOGITS.astype(np.float64) - np.logaddexp(0, LOGITS) - moments[:, 0]
    # float32's resolution, 1e-7, with room for a cross-entropy of up to 30 that log C cancels
    np.testing.assert_allclose(found, -log_density, rtol=1e-6, atol=1e-6)
    # the gradient of log C above the switch at 0.3 is a difference of 1 / 0.3 with its like
    np.testing.assert_allclose(gradient, moments[:, 1] - pixel, atol=2e-6)
    np.testing.assert_allclose(
        losses.continuous_bernoulli_mean(LOGITS), moments[:, 1], rtol=2e-6, atol=2e-7
    )


def test_continuous_bernoulli_is_that_of_torch() -> None:
    """Many pixels an image, at logits where PyTorch's own probabilities do not saturate."""
    import torch

    reference = torch.distributions.ContinuousBernoulli(logits=torch.tensor(3.0 * OTHERS).double())
    wanted = -reference.log_prob(torch.tensor(IMAGES).double()).sum(dim=(1, 2, 3))
    found = losses.continuous_bernoulli_nll(IMAGES, 3.0 * OTHERS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_allclose(
        losses.continuous_bernoulli_mean(3.0 * OTHERS), reference.mean, atol=1e-6
    )


def test_continuous_bernoulli_far_out() -> None:
    logits = tf.constant(as_pixels([-1e30, -200.0, 200.0, 1e30]))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        mean = losses.continuous_bernoulli_mean(logits)
        nll = losses.continuous_bernoulli_nll(as_pixels([0.0, 0.0, 1.0, 1.0]), logits)
        total = tf.reduce_sum(mean) + tf.reduce_sum(nll)
    np.testing.assert_allclose(tf.reshape(mean, [-1]), [0, 1 / 200, 1 - 1 / 200, 1], atol=1e-7)
    np.testing.assert_allclose(nll, -np.log([1e30, 200, 200, 1e30]), rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(total, logits)))


LEVELS = as_pixels(np.arange(256) / 255)


@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 0.3712, 1.0])
def test_discretized_logistic_is_that_of_scipy(mean: float, log_scale: float) -> None:
    """Mass of each level by SciPy's distribution functions in float64, and their sum.

    log(F(b) − F(a)) in logarithms of the smaller tail, which neither cancels nor underflows.
    """
    found = losses.discretized_logistic_nll(LEVELS, np.full_like(LEVELS, mean), log_scale)
    assert float(tf.reduce_sum(tf.exp(-found))) == pytest.approx(1.0, abs=1e-5)
    logistic = scipy.stats.logistic(np.float64(np.float32(mean)), np.exp(log_scale))
    edges = np.concatenate([[-np.inf], (np.arange(1, 256) - 0.5) / 255, [np.inf]])
    small = np.where(edges[1:] < mean, logistic.logcdf(edges[:-1]), logistic.logsf(edges[1:]))
    large = np.where(edges[1:] < mean, logistic.logcdf(edges[1:]), logistic.logsf(edges[:-1]))
    log_mass = large + np.log1p(-np.exp(small - large))
    # At e^-7 a rounding of x − μ, 6e-8, is one of 7e-5 in (x − μ) / s.
    np.testing.assert_allclose(found, -log_mass, rtol=1e-5, atol=1e-4)


def test_discretized_logistic_takes_a_scale_per_pixel() -> None:
    images = np.round(IMAGES * 255) / np.float32(255)
    log_scale = np.linspace(-3, 0, 16, dtype=np.float32).reshape(1, 4, 4, 1)
    found = losses.discretized_logistic_nll(images, OTHERS, log_scale)
    wanted = sum(
        losses.discretized_logistic_nll(
            images[:, i : i + 1, j : j + 1], OTHERS[:, i : i + 1, j : j + 1], log_scale[0, i, j, 0]
        )
        for i in range(4)
        for j in range(4)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("log_scale", [-100.0, -20.0, 20.0, 100.0])
def test_discretized_logistic_stays_finite(log_scale: float) -> None:
    means = tf.constant(np.repeat(as_pixels([-10.0, 0.0, 0.5, 1.0, 10.0]), 256, axis=0))
    scale = tf.constant(log_scale)
    with tf.GradientTape() as tape:
        tape.watch([means, scale])
        found = losses.discretized_logistic_nll(np.tile(LEVELS, (5, 1, 1, 1)), means, scale)
    assert np.all(np.isfinite(found))
    assert np.all(found.numpy() >= 0.0)
    for gradient in tape.gradient(found, [means, scale]):
        assert np.all(np.isfinite(gradient))


# Adversarial losses


def torch_losses(name: str, real: Any, fake: Any) -> tuple[Any, Any]:
    """(generator's, discriminator's) with PyTorch's own losses."""
    import torch
    from torch.nn import functional

    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    options = {"reduction": "none"}
    if name == "non_saturating":
        entropy = functional.binary_cross_entropy_with_logits
        return entropy(fake, ones, **options), (
            entropy(real, ones, **options) + entropy(fake, zeros, **options)
        )
    if name == "least_squares":
        error = functional.mse_loss
        return error(fake, ones, **options) / 2, (
            error(real, ones, **options) + error(fake, zeros, **options)
        ) / 2
    if name == "hinge":
        hinge = functional.hinge_embedding_loss  # max(0, 1 − input) at target −1
        return -fake, hinge(real, -ones, **options) + hinge(-fake, -ones, **options)
    if name == "wasserstein":
        return -fake, fake - real
    if name == "relativistic":
        margin = functional.soft_margin_loss  # log(1 + exp(−target input))
        return margin(fake - real, ones, **options), margin(fake - real, -ones, **options)
    msg = f"{name}: give the new loss its reference in PyTorch here."
    raise ValueError(msg)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
@pytest.mark.parametrize("role", ["generator", "discriminator"])
def test_adversarial_losses_are_those_of_torch(name: str, role: str) -> None:
    """Values, and gradients with respect to both logits, with some far into saturation.

    Not farther than ±15, where PyTorch in float64 is exact enough for a relative comparison.
    """
    import torch

    far = np.float32([[15], [-15], [15], [-15]])
    pairs = [np.concatenate([REAL, far]), np.concatenate([FAKE, far[[0, 0, 1, 1]]])]
    references = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in pairs]
    wanted = torch_losses(name, *references)[role == "discriminator"]
    gradients = torch.autograd.grad(wanted.sum(), references, allow_unused=True)
    inputs = [tf.constant(x) for x in pairs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = getattr(losses.ADVERSARIAL[name], role)(*inputs)
    assert found.shape == (9,)
    np.testing.assert_allclose(found, wanted.detach().numpy()[:, 0], rtol=1e-5)
    for ours, theirs in zip(tape.gradient(found, inputs), gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_losses_by_name() -> None:
    """The functions beside the table are those in it."""
    table = losses.ADVERSARIAL
    np.testing.assert_array_equal(
        losses.non_saturating_generator_loss(FAKE), table["non_saturating"].generator(REAL, FAKE)
    )
    assert table["non_saturating"].discriminator is losses.minimax_discriminator_loss
    assert table["wasserstein"].discriminator is losses.wasserstein_critic_loss


def test_minimax_at_the_optimum() -> None:
    """Where the discriminator cannot tell, its loss is log 4 (arXiv 1406.2661, theorem 1)."""
    zeros = tf.zeros([3, 1])
    np.testing.assert_allclose(losses.minimax_discriminator_loss(zeros, zeros), np.log(4))


# Precision


HALF: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, np.ndarray]]] = {
    "bernoulli": (losses.bernoulli_nll, (IMAGES, OTHERS)),
    "continuous_bernoulli": (losses.continuous_bernoulli_nll, (IMAGES, OTHERS)),
    "gaussian": (lambda x, mean: losses.gaussian_nll(x, mean, 0.1), (IMAGES, OTHERS)),
    "logistic": (lambda x, mean: losses.discretized_logistic_nll(x, mean, -1.0), (IMAGES, OTHERS)),
    **{f"{name}_g": (pair.generator, (REAL, FAKE)) for name, pair in losses.ADVERSARIAL.items()},
    **{
        f"{name}_d": (pair.discriminator, (REAL, FAKE)) for name, pair in losses.ADVERSARIAL.items()
    },
}


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", HALF)
def test_half_precision_is_cast_up(name: str, dtype: tf.DType) -> None:
    """Equal to the loss of the same rounded inputs in float32, in value and dtype."""
    loss, inputs = HALF[name]
    halves = [tf.cast(x, dtype) for x in inputs]
    found = loss(*halves)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, loss(*(tf.cast(x, tf.float32) for x in halves)))
