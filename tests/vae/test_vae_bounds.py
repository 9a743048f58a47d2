"""IWAE and the ladder VAE: bounds on log p(x), and what they are made of."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import torch

import zoo
from tests.cases import IMAGE_SHAPE
from tests.support.linear_gaussian import linear_gaussian
from zoo import metrics

SHAPE = (2, 2, 1)  # images of the linear models


def _linear_networks(latent_dim: int = 2, scale: float = 1.0) -> dict[str, keras.Model]:
    """Encoder and decoder, each linear, with random weights."""
    rng = np.random.default_rng(0)
    images, latents = keras.Input(SHAPE), keras.Input((latent_dim,))
    flat = keras.layers.Flatten()(images)
    heads = [keras.layers.Dense(latent_dim, name=name)(flat) for name in ("mean", "log_variance")]
    pixels = keras.layers.Dense(4, name="pixels")(latents)
    networks = {
        "encoder": keras.Model(images, heads),
        "decoder": keras.Model(latents, keras.layers.Reshape(SHAPE)(pixels)),
    }
    for network in networks.values():
        for weight in network.weights:
            weight.assign(scale * rng.normal(size=weight.shape))
    return networks


def _batch(model: Any, labels: Any = None, n: int = 6) -> dict[str, Any]:
    """Random images, and the model's own noise."""
    shape = (n, *model.image_shape)
    batch = {"images": tf.constant(np.random.default_rng(1).random(shape, np.float32))}
    if labels is not None:
        batch["labels"] = tf.constant(labels)
    return {**batch, **model.batch_noise(model.noise_source(batch["images"]))}


# IWAE


def test_loss_and_gradient_are_those_of_the_paper() -> None:
    """Eq. 8, and eq. 14 with its normalised weights, in PyTorch."""
    k = 4
    model = zoo.create(
        "iwae", SHAPE, 2, samples=k, likelihood="bernoulli", **_linear_networks()
    )  # a Bernoulli decoder, whose density PyTorch has
    batch = _batch(model)
    with tf.GradientTape() as tape:
        terms = model.terms(batch, training=True)
        total = tf.reduce_sum(terms["loss"])
    gradients = tape.gradient(total, model.trainable_variables)

    weights = [torch.tensor(w.numpy(), requires_grad=True) for w in model.trainable_variables]
    w_mean, b_mean, w_scale, b_scale, w_pixels, b_pixels = weights
    x = torch.tensor(batch["images"].numpy()).reshape(6, 4)
    mean, log_variance = x @ w_mean + b_mean, x @ w_scale + b_scale
    log_weights, distortions = [], []
    for i in range(k):
        posterior = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
        z = mean + torch.exp(0.5 * log_variance) * torch.tensor(batch["posterior"].numpy()[:, i])
        logits = z @ w_pixels + b_pixels
        nll = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
        distortions.append(nll.sum(1))
        log_weights.append(-nll.sum(1) + (prior - posterior.log_prob(z)).sum(1))
    log_w = torch.stack(log_weights)
    wanted = -torch.log(torch.exp(log_w).mean(0))
    normalised = torch.softmax(log_w, 0).detach()
    (-(normalised * log_w).sum()).backward()  # eq. 14
    np.testing.assert_allclose(terms["loss"], wanted.detach(), rtol=1e-5)
    distortion = torch.stack(distortions).mean(0)
    np.testing.assert_allclose(terms["distortion"], distortion.detach(), rtol=1e-5)
    np.testing.assert_allclose(
        terms["rate"], (-log_w.mean(0) - distortion).detach(), rtol=1e-5, atol=1e-5
    )
    for gradient, weight in zip(gradients, weights, strict=True):
        np.testing.assert_allclose(gradient, weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_the_loss_is_the_bound_that_evaluation_reports(samples: int, num_classes: int) -> None:
    """With one sample, a VAE's with log q − log p in place of the KL."""
    options = {"num_classes": num_classes, "network": "conv-4", "likelihood": "gaussian_learned"}
    model = zoo.create("iwae", IMAGE_SHAPE, 3, samples=samples, **options)
    labels = np.arange(6, dtype=np.int32) % 3 if num_classes else None
    batch = _batch(model, labels)
    noise = tf.transpose(batch["posterior"], [1, 0, 2])
    log_weights = model.log_weights(batch["images"], noise, labels)
    terms = model.terms(batch, training=False)
    np.testing.assert_allclose(terms["loss"], -metrics.iwae_bound(log_weights), rtol=1e-5)
    elbo = np.mean(log_weights, axis=0)
    np.testing.assert_allclose(terms["distortion"] + terms["rate"], -elbo, rtol=1e-5)


@pytest.mark.slow
def test_the_bound_rises_to_the_likelihood_with_k() -> None:
    """Of a linear Gaussian model whose posterior is wrong: σ² is e times too large.

    The ELBO falls short by KL(N(m, e σ²) ‖ N(m, σ²)) = ½ (e − 2) for each of two dimensions. The
    weights are w = p(x) r(ε) with E r = 1, so Var r / 2K is missing at K: E r² = Π e / √(2e − 1).
    """
    vae, exact = linear_gaussian()
    bias = vae.encoder.get_layer("log_variance").weights[1]
    bias.assign(bias + 1.0)
    images = exact.rvs(400, random_state=0).reshape(400, 2, 2, 1).astype(np.float32)
    wanted = exact.logpdf(images.reshape(400, 4)).mean()
    missing = {}
    for k in (1, 5, 50):
        networks = {"encoder": vae.encoder, "decoder": vae.decoder}
        model = zoo.create("iwae", SHAPE, 2, samples=k, **networks)
        model.pixels.variance.assign(0.01**2)
        model.compile()
        missing[k] = (
            wanted + model.evaluate(images, verbose=0, batch_size=200, return_dict=True)["loss"]
        )
    # Four standard errors of log w, whose deviation is (e − 1) / √2 in each of two dimensions.
    assert missing[1] == pytest.approx(np.e - 2, abs=4 * (np.e - 1) / np.sqrt(400))
    variance = np.e**2 / (2 * np.e - 1) - 1
    assert missing[50] == pytest.approx(variance / 100, abs=4 * np.sqrt(variance / 50 / 400))
    assert missing[1] > missing[5] > missing[50]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_decoder_variance_is_of_all_samples(accumulate: int) -> None:
    model = zoo.create("iwae", SHAPE, 2, samples=3, **_linear_networks())
    model.compile(keras.optimizers.SGD(0.0), accumulate=accumulate)
    batch = _batch(model)
    logits = model.forward(batch, training=True)["logits"]
    errors = np.square(
        np.repeat(batch["images"], 3, axis=0) - scipy.special.expit(np.asarray(logits))
    )
    model.train_on_batch(batch["images"])
    # from 1, with the momentum of the running variance
    assert float(model.pixels.variance) == pytest.approx(0.9 + 0.1 * errors.mean(), rel=1e-6)


def test_iwae_refuses_what_contradicts_it() -> None:
    for options, message in (
        ({"samples": 0}, "samples=0"),
        ({"free_bits": 0.5}, "free_bits=0.5.*no sum over dimensions"),
        ({"transfer": (1.0, 1.0, 1.0, 1.0)}, "no transfer"),
    ):
        with pytest.raises(ValueError, match=message):
            zoo.create("iwae", IMAGE_SHAPE, 3, **options)


# Ladder VAE


def _ladder(**options: Any) -> Any:
    """With random weights, so that each layer's prior depends on those above."""
    model = zoo.create(
        "ladder_vae", SHAPE, 5, likelihood="bernoulli", **_linear_networks(5, 0.5), **options
    )
    rng = np.random.default_rng(0)
    for weight in model.prior_network.weights:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return model


def _top_down(model: Any, images: np.ndarray, noise: np.ndarray) -> dict[str, Any]:
    """z and the moments of prior and posterior in NumPy, in the paper's coordinates."""
    shift, log_scale = (np.asarray(x, np.float64) for x in model.encoder(images))
    found: dict[str, Any] = {name: [] for name in ("z", "prior", "posterior")}
    start = 0
    for i, size in enumerate((2, 2, 1)):
        part = slice(start, start + size)
        if i == 0:
            prior = np.zeros((len(images), size)), np.ones((len(images), size))
            posterior = shift[:, part], np.exp(log_scale[:, part])
        else:
            weights = {
                name: [
                    np.asarray(w, np.float64)
                    for w in model.prior_network.get_layer(f"{name}_{i}").weights
                ]
                for name in ("hidden", "mean", "log_variance")
            }
            above = np.concatenate(found["z"], axis=1)
            hidden = np.maximum(above @ weights["hidden"][0] + weights["hidden"][1], 0)
            mean, log_variance = (
                hidden @ weights[name][0] + weights[name][1] for name in ("mean", "log_variance")
            )
            prior = mean, np.exp(log_variance)
            precisions = np.exp(-log_scale[:, part]), np.exp(-log_variance)
            variance = 1 / (precisions[0] + precisions[1])
            weighted = shift[:, part] * precisions[0] + mean * precisions[1]
            posterior = weighted * variance, variance
        found["z"].append(posterior[0] + np.sqrt(posterior[1]) * noise[:, part])
        found["prior"].append(prior)
        found["posterior"].append(posterior)
        start += size
    return found


def test_ladder_weights_and_rates_are_those_of_the_paper() -> None:
    """Log p(x, z) − log q(z | x) of z; the KL of precision-weighted posteriors from the prior."""
    model = _ladder()
    batch = _batch(model)
    images, noise = batch["images"], np.asarray(batch["posterior"], np.float64)
    wanted = _top_down(model, images, noise)
    logits = np.asarray(model.decoder(np.concatenate(wanted["z"], axis=1)), np.float64)
    chance = scipy.special.expit(logits)
    x = np.asarray(images, np.float64)
    log_weight = (x * np.log(chance) + (1 - x) * np.log(1 - chance)).sum((1, 2, 3))
    terms = model.terms(batch, training=False)
    rate = np.zeros(6)
    for i, z in enumerate(wanted["z"]):
        (prior_mean, prior_variance), (mean, variance) = wanted["prior"][i], wanted["posterior"][i]
        log_weight += scipy.stats.norm.logpdf(z, prior_mean, np.sqrt(prior_variance)).sum(1)
        log_weight -= scipy.stats.norm.logpdf(z, mean, np.sqrt(variance)).sum(1)
        ratio = variance / prior_variance
        shift = np.square(mean - prior_mean) / prior_variance
        kl = 0.5 * (ratio + shift - 1 - np.log(ratio)).sum(1)
        np.testing.assert_allclose(terms[f"rate_{i + 1}"], kl, rtol=1e-4, err_msg=f"layer {i + 1}")
        rate += kl
    np.testing.assert_allclose(terms["rate"], rate, rtol=1e-4)
    np.testing.assert_allclose(
        model.log_weights(images, noise[None].astype(np.float32))[0], log_weight, rtol=1e-4
    )
    # generation: z = μ_p + σ_p u of the same layers gives back what inference drew
    latents = model.forward(batch, training=False)["latents"]
    z = model.prior_network(latents)
    np.testing.assert_allclose(z, np.concatenate(wanted["z"], axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.generate_from(latents), chance, rtol=1e-4)


def test_what_the_ladder_encodes_is_the_path_of_means() -> None:
    model = _ladder()
    images = _batch(model)["images"]
    wanted = _top_down(model, images, np.zeros((6, 5)))
    mean, log_variance = model.encode(images)
    np.testing.assert_allclose(
        model.prior_network(mean), np.concatenate(wanted["z"], axis=1), rtol=1e-4, atol=1e-5
    )
    ratios = [q[1] / p[1] for p, q in zip(wanted["prior"], wanted["posterior"], strict=True)]
    np.testing.assert_allclose(np.exp(log_variance), np.concatenate(ratios, axis=1), rtol=1e-4)


def test_one_layer_is_a_vae() -> None:
    networks = _linear_networks()
    vae = zoo.create("vae", SHAPE, 2, likelihood="bernoulli", **networks)
    ladder = zoo.create("ladder_vae", SHAPE, 2, layers=1, likelihood="bernoulli", **networks)
    batch = _batch(vae)
    wanted, found = (m.terms(batch, training=True) for m in (vae, ladder))
    for name in ("loss", "distortion", "rate"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6)
    noise = np.random.default_rng(0).normal(size=(3, 6, 2)).astype(np.float32)
    np.testing.assert_allclose(
        ladder.log_weights(batch["images"], noise),
        vae.log_weights(batch["images"], noise),
        rtol=1e-5,
    )


def test_dimensions_are_shared_out() -> None:
    for latent_dim, layers, sizes in ((6, 3, [2, 2, 2]), (5, 3, [2, 2, 1]), (3, 3, [1, 1, 1])):
        model = zoo.create("ladder_vae", SHAPE, latent_dim, layers=layers, network="mlp")
        assert model.sizes == sizes
    for layers in (0, 4):
        with pytest.raises(ValueError, match=f"layers={layers}: expected 1 to latent_dim=3"):
            zoo.create("ladder_vae", SHAPE, 3, layers=layers)


@pytest.mark.slow
def test_more_than_one_layer_is_used(images: np.ndarray) -> None:
    model = zoo.create("ladder_vae", IMAGE_SHAPE, 4, layers=2, network="conv-4", warm_up=30)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(images, batch_size=60, epochs=40, verbose=0)
    measured = model.evaluate(images, batch_size=60, verbose=0, return_dict=True)
    assert min(measured["rate_1"], measured["rate_2"]) > 0.5
    assert measured["rate"] == pytest.approx(measured["rate_1"] + measured["rate_2"], rel=1e-5)
