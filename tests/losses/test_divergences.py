"""Divergences against SciPy, scikit-learn, PyTorch, NumPy loops and closed forms of normals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from sklearn.metrics.pairwise import rbf_kernel

from zoo import losses

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(5, 3)).astype(np.float32)
LOG_VARIANCE = RNG.normal(size=(5, 3)).astype(np.float32)
LATENTS = RNG.normal(size=(5, 3)).astype(np.float32)
PRIOR = RNG.normal(size=(5, 3)).astype(np.float32)
KERNELS = {
    "gaussian": losses.gaussian_kernel,
    "inverse_multiquadratic": losses.inverse_multiquadratic_kernel,
}


# Of normals


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


def test_kl_of_normals_is_that_of_torch() -> None:
    """With a prior that broadcasts over the leading axes."""
    import torch
    from torch.distributions import Normal, kl_divergence

    mean, log_variance = RNG.normal(size=(2, 2, 5, 3)).astype(np.float32)
    wanted = kl_divergence(
        Normal(torch.tensor(mean), torch.tensor(np.exp(log_variance / 2))),
        Normal(torch.tensor(MEAN), torch.tensor(np.exp(LOG_VARIANCE / 2))),
    ).sum(dim=-1)
    found = losses.kl_normals(mean, log_variance, MEAN, LOG_VARIANCE)
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_kl_of_normals_from_the_standard_one() -> None:
    zeros = np.zeros_like(MEAN)
    np.testing.assert_allclose(
        losses.kl_normals(MEAN, LOG_VARIANCE, zeros, zeros),
        losses.kl_standard_normal(MEAN, LOG_VARIANCE),
        rtol=1e-5,
    )
    np.testing.assert_array_equal(losses.kl_normals(MEAN, LOG_VARIANCE, MEAN, LOG_VARIANCE), 0.0)


def test_normal_log_density() -> None:
    latents = RNG.normal(size=(2, 5, 3)).astype(np.float32)
    wanted = scipy.stats.norm.logpdf(latents, MEAN, np.exp(0.5 * LOG_VARIANCE)).sum(-1)
    found = losses.normal_log_density(latents, MEAN, LOG_VARIANCE)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


# Total correlation


def test_total_correlation_terms_by_loops() -> None:
    """Each term by SciPy's densities of one example, one dimension at a time."""
    size, deviation = 1000, np.exp(0.5 * LOG_VARIANCE.astype(np.float64))
    wanted = []
    for i, z in enumerate(LATENTS):
        log_q = np.array(
            [[scipy.stats.norm.logpdf(z[j], MEAN[m, j], deviation[m, j]) for j in range(3)]
             for m in range(5)]
        )  # fmt: skip
        joint = scipy.special.logsumexp(log_q.sum(axis=1)) - np.log(5 * size)
        marginals = (scipy.special.logsumexp(log_q, axis=0) - np.log(5 * size)).sum()
        prior = scipy.stats.norm.logpdf(z).sum()
        wanted.append([log_q[i].sum() - joint, joint - marginals, marginals - prior])
    found = losses.total_correlation_terms(LATENTS, MEAN, LOG_VARIANCE, size)
    np.testing.assert_allclose(np.stack(found, axis=1), wanted, rtol=1e-5)


@pytest.mark.parametrize("size", [5, 60_000])
def test_total_correlation_terms_sum_to_the_rate(size: int) -> None:
    zeros = np.zeros_like(MEAN)
    wanted = losses.normal_log_density(LATENTS, MEAN, LOG_VARIANCE)
    wanted -= losses.normal_log_density(LATENTS, zeros, zeros)
    found = losses.total_correlation_terms(LATENTS, MEAN, LOG_VARIANCE, size)
    # terms of up to 30 nats cancel: 1e-5 is a few of their roundings
    np.testing.assert_allclose(sum(found), wanted, atol=1e-5)


def test_total_correlation_of_a_correlated_normal() -> None:
    """The data set as the batch, its aggregate posterior N(0, R): all three terms are known.

    Posteriors N(μ, s² I) with μ ~ N(0, R − s² I). The 1024 draws of μ and z are quasi-random: their
    mixture is N(0, R) and their mean an expectation to 0.005 nats, seen over seeds; twice that is
    allowed.
    """
    n, s = 1024, 0.5
    correlation = np.array([[1.0, 0.7], [0.7, 1.0]])
    normal = scipy.stats.qmc.MultivariateNormalQMC(np.zeros(4), seed=0).random(n)
    mean = normal[:, :2] @ np.linalg.cholesky(correlation - s**2 * np.eye(2)).T
    latents = mean + s * normal[:, 2:]
    batch = [np.float32(x) for x in (latents, mean, np.full((n, 2), np.log(s**2)))]

    log_det = np.log(np.linalg.det(correlation))
    information = 0.5 * log_det - np.log(s**2)  # ½ log(|R| / |s² I|)
    wanted = np.array([information, -0.5 * log_det, 0.0])  # marginals are N(0, 1)
    found = np.mean(losses.total_correlation_terms(*batch, dataset_size=1), axis=1)
    np.testing.assert_allclose(found, wanted, atol=0.01)
    # With N = n, log q(z) and both log q(z_j) are short by log N each.
    shifted = np.mean(losses.total_correlation_terms(*batch, dataset_size=n), axis=1)
    np.testing.assert_allclose(shifted - found, np.log(n) * np.array([1, 1, -2]), atol=1e-4)


# Maximum mean discrepancy


def test_gaussian_kernel_is_that_of_scikit_learn() -> None:
    found = losses.gaussian_kernel(LATENTS, PRIOR[:4])
    np.testing.assert_allclose(found, rbf_kernel(LATENTS, PRIOR[:4], gamma=1 / 9), rtol=1e-5)


def test_inverse_multiquadratic_kernel() -> None:
    """By hand: ‖x − y‖² = 8 and C = 2 d = 4; of equal points it is the number of scales."""
    x = np.float32([[1.0, 1.0]])
    wanted = sum(4 * s / (4 * s + 8) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))
    np.testing.assert_allclose(
        losses.inverse_multiquadratic_kernel(x, np.concatenate([-x, x])), [[wanted, 7]], rtol=1e-6
    )


@pytest.mark.parametrize("name", KERNELS)
def test_discrepancy_by_loops(name: str) -> None:
    """Eq. 3 as it is printed: two sums over i ≠ j and one over all pairs."""
    kernel, n = KERNELS[name], len(LATENTS)
    total = 0.0
    for i in range(n):
        for j in range(n):
            within = [float(kernel(x[i : i + 1], x[j : j + 1])[0, 0]) for x in (LATENTS, PRIOR)]
            across = float(kernel(LATENTS[i : i + 1], PRIOR[j : j + 1])[0, 0])
            total += (i != j) * sum(within) / (n * (n - 1)) - 2 * across / n**2
    found = losses.maximum_mean_discrepancy(LATENTS, PRIOR, kernel)
    assert found.shape == (n,)
    # terms of the inverse multiquadratic are up to 7, with roundings of 5e-7
    assert float(tf.reduce_mean(found)) == pytest.approx(total, abs=2e-6)


def expected_gaussian_kernel(distance: float, variance: float, dims: int) -> float:
    """E k(x, y) for x − y ~ N(δ, v I), ‖δ‖² = distance, at 2σ² = d²."""
    width = dims**2 / 2
    return (width / (width + variance)) ** (dims / 2) * np.exp(-distance / (2 * (width + variance)))


@pytest.mark.parametrize(
    ("name", "shift", "scale"),
    [
        ("gaussian", 0.0, 1.0),
        ("gaussian", 0.5, 1.0),
        ("gaussian", 0.0, 0.5),
        ("inverse_multiquadratic", 0.0, 1.0),
    ],
)
def test_discrepancy_is_unbiased(name: str, shift: float, scale: float) -> None:
    """Mean of 2000 estimates, of 4 examples each, against MMD² of N(δ, s² I) and N(0, I).

    With 4 examples the biased estimate, with the diagonals, would be ¼ or more too large. Four
    standard errors: 1 in 16,000 by chance, and the draws are fixed.
    """
    dims, kernel = 2, KERNELS[name]
    rng = np.random.default_rng(1)
    latents = shift + scale * rng.normal(size=(2000, 4, dims)).astype(np.float32)
    prior = rng.normal(size=(2000, 4, dims)).astype(np.float32)

    @tf.function
    def estimates(pairs: Any) -> Any:
        return tf.map_fn(
            lambda pair: tf.reduce_mean(losses.maximum_mean_discrepancy(*pair, kernel)),
            pairs,
            fn_output_signature=tf.float32,
        )

    found = estimates((np.float32(latents), prior)).numpy()
    wanted = 0.0
    if name == "gaussian":
        wanted = (
            expected_gaussian_kernel(0.0, 2 * scale**2, dims)
            + expected_gaussian_kernel(0.0, 2.0, dims)
            - 2 * expected_gaussian_kernel(dims * shift**2, 1 + scale**2, dims)
        )
    error = found.std() / np.sqrt(len(found))
    assert error < 0.02
    assert abs(found.mean() - wanted) < 4 * error


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("n", [1, 5])
def test_discrepancy_has_a_finite_gradient(name: str, n: int) -> None:
    """Also of a single example, and of latents that coincide with each other and the prior."""
    latents = tf.zeros([n, 3])
    with tf.GradientTape() as tape:
        tape.watch(latents)
        found = losses.maximum_mean_discrepancy(latents, tf.zeros([n, 3]), KERNELS[name])
    assert np.all(np.isfinite(found))
    assert np.all(np.isfinite(tape.gradient(found, latents)))


# Precision


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(
    "divergence",
    [
        lambda z, mean, log_variance: losses.kl_standard_normal(mean, log_variance),
        lambda z, mean, log_variance: losses.kl_normals(z, log_variance, mean, log_variance),
        losses.normal_log_density,
        lambda *args: losses.total_correlation_terms(*args, 100)[1],
        lambda z, mean, _: losses.maximum_mean_discrepancy(z, mean, losses.gaussian_kernel),
        lambda z, mean, _: losses.inverse_multiquadratic_kernel(z, mean),
    ],
)
def test_half_precision_is_cast_up(divergence: Callable[..., Any], dtype: tf.DType) -> None:
    """Equal to the divergence of the same rounded inputs in float32, in value and dtype."""
    halves = [tf.cast(x, dtype) for x in (LATENTS, MEAN, LOG_VARIANCE)]
    found = divergence(*halves)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, divergence(*(tf.cast(x, tf.float32) for x in halves)))
