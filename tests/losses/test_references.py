"""Every public loss against a formula in NumPy: a new one needs a reference here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logsumexp
from scipy.stats import laplace, logistic, norm

from zoo import losses

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
IMAGES = np.round(RNG.random((5, 2, 3, 1)) * 255) / 255
LOGITS = RNG.normal(size=IMAGES.shape)
REAL, FAKE = RNG.normal(size=(2, 5, 1))
Z, MEAN, LOG_VARIANCE, PRIOR_MEAN, PRIOR_LOG_VARIANCE = RNG.normal(size=(5, 5, 3))
# A mixture of two components for two channels: 2 weights, 4 means, 4 scales, 2 coefficients.
TWO_CHANNELS = np.round(RNG.random((3, 2, 2, 2)) * 255) / 255
MIXTURE = RNG.normal(size=(3, 2, 2, 12))
DIRECTION = RNG.normal(size=(6, 1))
MIX = RNG.random((5, 1, 1, 1))
OUT = RNG.normal(size=(3, 6))


def _linear(images: Any) -> Any:
    """A critic whose gradient is `DIRECTION` everywhere."""
    return tf.reshape(images, [-1, 6]) @ tf.cast(DIRECTION, images.dtype)


def _drawn(styles: Any) -> Any:
    """A synthesis whose Jacobian is `OUT` everywhere."""
    return tf.reshape(styles @ tf.cast(OUT, styles.dtype), [-1, 2, 3, 1])


def _sums(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).sum(axis=1)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def _cross_entropy(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    p = expit(logits)
    return -_sums(images * np.log(p) + (1 - images) * np.log(1 - p))


def _log_normaliser(logits: np.ndarray) -> np.ndarray:
    """Log C(λ) of 1907.06845, eq. 4."""
    p = expit(logits)
    return np.log(2 * np.arctanh(1 - 2 * p) / (1 - 2 * p))


def _logistic_masses(images: np.ndarray, mean: np.ndarray, log_scale: float) -> np.ndarray:
    upper = np.where(images > 0.999, np.inf, images + 0.5 / 255)
    lower = np.where(images < 0.001, -np.inf, images - 0.5 / 255)
    scale = np.exp(log_scale)
    masses = logistic.cdf(upper, mean, scale) - logistic.cdf(lower, mean, scale)
    return -_sums(np.log(masses))


def _mixture(images: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """arXiv 1701.05517, eq. 1 to 3, in grey levels: a component's masses, channel by channel."""
    x = 2 * images - 1
    mass = 0.0
    for k in range(2):
        weight = np.exp(logits[..., k] - logsumexp(logits[..., :2], axis=-1))
        means, scales = logits[..., 2 + k : 6 : 2], np.exp(logits[..., 6 + k : 10 : 2])
        shift = np.tanh(logits[..., 10 + k]) * x[..., 0]
        mean = means + np.stack([np.zeros_like(shift), shift], axis=-1)
        upper = np.where(x > 0.999, np.inf, x + 1 / 255)
        lower = np.where(x < -0.999, -np.inf, x - 1 / 255)
        each = logistic.cdf(upper, mean, scales) - logistic.cdf(lower, mean, scales)
        mass += weight * each.prod(axis=-1)
    return -_sums(np.log(mass))


def _mixture_mean(logits: np.ndarray, _: int) -> np.ndarray:
    """E[clip(x, 0, 1)] by quantiles; the second channel around the mean of the first."""
    chances = (np.arange(20_000) + 0.5) / 20_000
    weights = np.exp(logits[..., :2] - logsumexp(logits[..., :2], axis=-1, keepdims=True))
    means: list[Any] = []
    for c in range(2):
        mean, scale = logits[..., 2 + 2 * c : 4 + 2 * c], np.exp(logits[..., 6 + 2 * c : 8 + 2 * c])
        if c:
            mean = mean + np.tanh(logits[..., 10:]) * means[0]
        drawn = logistic.ppf(chances, mean[..., None], scale[..., None])
        means.append(np.clip(drawn, -1, 1).mean(axis=-1))
    return np.stack([(weights * (mean + 1) / 2).sum(axis=-1) for mean in means], axis=-1)


def _log_normal(z: np.ndarray, mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    return norm.logpdf(z, mean, np.exp(log_variance / 2))


def _kl(mean: np.ndarray, log_variance: np.ndarray, m: Any = 0.0, s: Any = 0.0) -> np.ndarray:
    ratio = np.exp(log_variance - s)
    return 0.5 * (ratio + (mean - m) ** 2 / np.exp(s) - 1 - np.log(ratio)).sum(axis=1)


def _total_correlation(z: np.ndarray, mean: np.ndarray, log_variance: np.ndarray, n: int) -> Any:
    pairs = _log_normal(z[:, None], mean, log_variance)
    count = np.log(n * len(z))
    joint = logsumexp(pairs.sum(axis=2), axis=1) - count
    marginals = (logsumexp(pairs, axis=1) - count).sum(axis=1)
    conditional = _log_normal(z, mean, log_variance).sum(axis=1)
    return conditional - joint, joint - marginals, marginals - norm.logpdf(z).sum(axis=1)


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x[:, None] - y) ** 2).sum(axis=2)


def _discrepancy(x: np.ndarray, y: np.ndarray, kernel: Any) -> np.ndarray:
    """The kernel is the product x · y."""
    within = [(a @ a.T).sum(axis=1) - (a * a).sum(axis=1) for a in (x, y)]
    return sum(within) / (len(x) - 1) - 2 * (x @ y.T).mean(axis=1)


# name: (arguments, the formula of them)
REFERENCES: dict[str, tuple[tuple[Any, ...], Callable[..., Any]]] = {
    "gaussian_nll": (
        (IMAGES, LOGITS, 0.3),
        lambda x, mean, variance: -_sums(norm.logpdf(x, mean, np.sqrt(variance))),
    ),
    "bernoulli_nll": ((IMAGES, LOGITS), _cross_entropy),
    "continuous_bernoulli_nll": (
        (IMAGES, LOGITS),
        lambda x, logits: _cross_entropy(x, logits) - _sums(_log_normaliser(logits)),
    ),
    "continuous_bernoulli_mean": (
        (LOGITS,),
        lambda x: expit(x) / (2 * expit(x) - 1) + 1 / (2 * np.arctanh(1 - 2 * expit(x))),
    ),
    "discretized_logistic_mixture_nll": ((TWO_CHANNELS, MIXTURE), _mixture),
    "discretized_logistic_mixture_mean": ((MIXTURE, 2), _mixture_mean),
    "laplace_nll": (
        (IMAGES, LOGITS, -1.0),
        lambda x, mean, log_scale: -_sums(laplace.logpdf(x, mean, np.exp(log_scale))),
    ),
    "discretized_logistic_nll": ((IMAGES, LOGITS, -1.0), _logistic_masses),
    "kl_standard_normal": ((MEAN, LOG_VARIANCE), _kl),
    "kl_normals": ((MEAN, LOG_VARIANCE, PRIOR_MEAN, PRIOR_LOG_VARIANCE), _kl),
    "normal_log_density": (
        (Z, MEAN, LOG_VARIANCE),
        lambda *arguments: _log_normal(*arguments).sum(axis=1),
    ),
    "total_correlation_terms": ((Z, MEAN, LOG_VARIANCE, 100), _total_correlation),
    "maximum_mean_discrepancy": (
        (Z, MEAN, lambda x, y: tf.matmul(x, y, transpose_b=True)),
        _discrepancy,
    ),
    "gaussian_kernel": ((Z, MEAN), lambda x, y: np.exp(-_squared_distances(x, y) / 9)),
    "inverse_multiquadratic_kernel": (
        (Z, MEAN),
        lambda x, y: sum(
            6 * s / (6 * s + _squared_distances(x, y)) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)
        ),
    ),
    "non_saturating_generator_loss": ((FAKE,), lambda f: _sums(-np.log(expit(f)))),
    "minimax_discriminator_loss": (
        (REAL, FAKE),
        lambda r, f: _sums(-np.log(expit(r)) - np.log(1 - expit(f))),
    ),
    "least_squares_generator_loss": ((REAL, FAKE), lambda r, f: _sums((f - 1) ** 2 / 2)),
    "least_squares_discriminator_loss": (
        (REAL, FAKE),
        lambda r, f: _sums((r - 1) ** 2 / 2 + f**2 / 2),
    ),
    "hinge_generator_loss": ((REAL, FAKE), lambda r, f: _sums(-f)),
    "hinge_discriminator_loss": (
        (REAL, FAKE),
        lambda r, f: _sums(np.maximum(0, 1 - r) + np.maximum(0, 1 + f)),
    ),
    "wasserstein_generator_loss": ((REAL, FAKE), lambda r, f: _sums(-f)),
    "wasserstein_critic_loss": ((REAL, FAKE), lambda r, f: _sums(f - r)),
    "relativistic_generator_loss": ((REAL, FAKE), lambda r, f: _sums(_softplus(r - f))),
    "relativistic_discriminator_loss": ((REAL, FAKE), lambda r, f: _sums(_softplus(f - r))),
    "gradient_norm_penalty": (
        (_linear, IMAGES, LOGITS, MIX),
        lambda *_: np.full(5, (np.linalg.norm(DIRECTION) - 1) ** 2),
    ),
    "unit_gradient_penalty": (
        (_linear, IMAGES),
        lambda *_: np.full(5, (np.linalg.norm(DIRECTION) - 1) ** 2),
    ),
    "squared_gradient_norm": ((_linear, IMAGES), lambda *_: np.full(5, np.sum(DIRECTION**2))),
    "path_lengths": (
        (_drawn, Z, LOGITS),
        lambda _, z, noise: np.linalg.norm(noise.reshape(5, 6) @ OUT.T, axis=1) / np.sqrt(6),
    ),
    "orthogonal_regularization": (
        (OUT,),  # arXiv 1809.11096, eq. 3, as it is written
        lambda w: np.linalg.norm((w.T @ w) * (np.ones((6, 6)) - np.eye(6)), "fro") ** 2,
    ),
    "sum_per_example": ((IMAGES,), _sums),
    "full_precision": ((IMAGES,), lambda x: x),
}
FUNCTIONS = [name for name in losses.__all__ if name not in ("ADVERSARIAL", "AdversarialLoss")]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_are_the_formulas(name: str) -> None:
    """A KeyError: give the new loss a reference."""
    arguments, formula = REFERENCES[name]
    cast = (np.float32(x) if isinstance(x, np.ndarray) else x for x in arguments)
    values = getattr(losses, name)(*cast)
    for ours, wanted in zip(*map(tf.nest.flatten, (values, formula(*arguments))), strict=True):
        assert (ours.shape, ours.dtype) == (wanted.shape, tf.float32)
        # sums of a few float32, some of which cancel
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=2e-6)


def test_every_pair_of_adversarial_losses_is_of_public_functions() -> None:
    """So that both have a reference, by their own names."""
    public = [getattr(losses, name) for name in FUNCTIONS]
    for name, pair in losses.ADVERSARIAL.items():
        for loss in (pair.generator, pair.discriminator):
            known = loss in public
            if name == "non_saturating" and not known:  # which takes the fakes alone
                np.testing.assert_array_equal(
                    loss(REAL, FAKE), losses.non_saturating_generator_loss(FAKE)
                )
                continue
            assert known, name
