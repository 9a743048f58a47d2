"""A VAE's likelihood against models whose exact likelihood is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

import zoo
from tests.support.linear_gaussian import linear_gaussian
from zoo import data, metrics
from zoo.evaluation import measure as evaluation


def test_importance_weights_of_the_exact_posterior_are_the_evidence() -> None:
    """p(x, z) / q(z | x) = p(x) for every z, so every weight is the exact likelihood."""
    vae, exact = linear_gaussian()
    images = exact.rvs(20, random_state=0).reshape(20, 2, 2, 1).astype(np.float32)
    noise = np.random.default_rng(1).normal(size=(30, 20, 2)).astype(np.float32)
    wanted = exact.logpdf(images.reshape(20, 4))
    found = np.asarray(vae.log_weights(images, noise))
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=0.02)
    np.testing.assert_allclose(metrics.iwae_bound(found), wanted, atol=0.01)


def test_the_reported_elbo_is_the_evidence() -> None:
    vae, exact = linear_gaussian()
    images = exact.rvs(300, random_state=0).reshape(300, 2, 2, 1).astype(np.float32)
    wanted = exact.logpdf(images.reshape(300, 4)).mean()
    found = evaluation.likelihood_metrics(vae, images, importance_samples=5, seed=0)
    assert found["elbo"] == pytest.approx(wanted, abs=0.01)
    assert found["iwae_bound"] == pytest.approx(wanted, abs=0.01)
    assert -found["rate"] - found["distortion"] == pytest.approx(found["elbo"])
    vae.compile()
    loss = vae.evaluate(images, verbose=0, return_dict=True)
    # one draw an image: the distortion's noise averages out over 300 of them
    assert -loss["loss"] == pytest.approx(wanted, abs=0.15)
    assert loss["rate"] == pytest.approx(found["rate"], rel=1e-4)


def test_a_worse_posterior_loosens_the_elbo_more_than_the_bound() -> None:
    vae, exact = linear_gaussian()
    images = exact.rvs(300, random_state=0).reshape(300, 2, 2, 1).astype(np.float32)
    wanted = exact.logpdf(images.reshape(300, 4)).mean()
    bias = vae.encoder.get_layer("log_variance").weights[1]
    bias.assign(bias + 1.0)
    found = evaluation.likelihood_metrics(vae, images, importance_samples=50, seed=0)
    # KL(N(m, e σ²) ‖ N(m, σ²)) = ½ (e − 2) for each of two dimensions
    assert found["elbo"] == pytest.approx(wanted - (np.e - 2), abs=0.06)
    assert found["elbo"] < found["iwae_bound"] < wanted + 0.01
    assert wanted - found["iwae_bound"] < 0.1


@pytest.mark.slow
def test_a_vae_beats_probabilistic_pca() -> None:
    """With the same number of latents, on the test images of the sample."""
    train = data.to_array("fashion_mnist_sample", split="train")
    test = data.to_array("fashion_mnist_sample", split="test")
    pca = PCA(32).fit(train.reshape(len(train), -1))
    vae = zoo.create("vae", (28, 28, 1), 32)
    vae.compile()
    vae.fit(data.load("fashion_mnist_sample", batch_size=64, training=True), epochs=15, verbose=2)
    found = evaluation.likelihood_metrics(vae, test, importance_samples=20, seed=0)
    assert found["iwae_bound"] > pca.score(test.reshape(len(test), -1))


def test_gilbo_is_the_mutual_information_where_the_posterior_is_exact() -> None:
    """I(x; z) = ½ log det(I + AᵀA / σ²), and Var(z | x) is what a posterior mean leaves."""
    vae, _ = linear_gaussian(noise=0.0005)
    _, log_variance = vae.encode(np.full((1, 2, 2, 1), 0.5, np.float32))
    left = np.exp(np.asarray(log_variance, np.float64)[0])
    bound, explained = evaluation.dream_metrics(vae, 20_000, seed=1)
    assert -0.5 * np.log(left).sum() > 0.5
    assert bound == pytest.approx(-0.5 * np.log(left).sum(), abs=0.03)
    np.testing.assert_allclose(explained, 1.0 - left, atol=0.01)
