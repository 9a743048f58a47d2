"""β-VAE, β-TCVAE, FactorVAE, InfoVAE and WAE-MMD against their papers' equations and claims."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from sklearn.metrics.pairwise import rbf_kernel

import zoo
from tests.cases import IMAGE_SHAPE, LATENT_DIM

CORRELATION = 0.8
# Of N(0, Σ) with unit variances and one correlation ρ: TC = −½ log(1 − ρ²)
KNOWN_TC = -0.5 * np.log(1 - CORRELATION**2)
POSTERIOR_VARIANCE = 0.1


def _create(name: str, **options: Any) -> Any:
    """With networks of one small hidden layer."""
    images, latents = keras.Input(IMAGE_SHAPE), keras.Input((LATENT_DIM,))
    hidden = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(images))
    moments = [keras.layers.Dense(LATENT_DIM, name=n)(hidden) for n in ("mean", "log_variance")]
    pixels = keras.layers.Dense(64)(keras.layers.Dense(64, activation="relu")(latents))
    logits = keras.layers.Reshape(IMAGE_SHAPE)(pixels)
    networks = {
        "encoder": keras.Model(images, moments),
        "decoder": keras.Model(latents, logits),
    }
    options = {"likelihood": "bernoulli", **networks, **options}
    return zoo.create(name, IMAGE_SHAPE, LATENT_DIM, **options)


def _train(model: Any, images: np.ndarray, steps: int, *optimizers: Any) -> None:
    """Full batches, in one call."""
    model.compile(*optimizers, steps_per_execution=10)
    repeated = np.tile(images, (steps, 1, 1, 1))
    model.fit(repeated, batch_size=len(images), shuffle=False, verbose=0)


def _shift(model: Any, mean: float, log_variance: float) -> None:
    """Moves the posterior away from the prior, where a new encoder is."""
    for name, value in (("mean", mean), ("log_variance", log_variance)):
        bias = model.encoder.get_layer(name).bias
        bias.assign(np.full(bias.shape, value))


def _batch(images: np.ndarray, **noise: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shape = (len(images), LATENT_DIM)
    found = {
        "images": images,
        "posterior": rng.normal(size=shape),
        "prior_latents": rng.normal(size=shape),
        "permutation": rng.random(shape),
        **noise,
    }
    return {name: tf.constant(value, tf.float32) for name, value in found.items()}


# The equations, in NumPy, from the encoder's and the decoder's outputs


def _rate(z: np.ndarray, mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    import torch
    from torch.distributions import Independent, Normal, kl_divergence

    q = Normal(torch.tensor(mean), torch.tensor(np.exp(log_variance / 2)))
    p = Normal(torch.zeros(mean.shape), torch.ones(mean.shape))
    return kl_divergence(Independent(q, 1), Independent(p, 1)).numpy()


def _tc_terms(
    z: np.ndarray, mean: np.ndarray, log_variance: np.ndarray, n: int
) -> list[np.ndarray]:
    m = len(z)
    pairs = scipy.stats.norm.logpdf(z[:, None], mean[None], np.exp(log_variance / 2)[None])
    log_q = scipy.special.logsumexp(pairs.sum(axis=2), axis=1) - np.log(n * m)
    log_each = (scipy.special.logsumexp(pairs, axis=1) - np.log(n * m)).sum(axis=1)
    conditional = np.array([pairs[i, i].sum() for i in range(m)])
    prior = scipy.stats.norm.logpdf(z).sum(axis=1)
    return [conditional - log_q, log_q - log_each, log_each - prior]


def _mmd(kernel: Any, z: np.ndarray, prior: np.ndarray) -> float:
    """The unbiased estimate: pairs of different examples within, all pairs between."""
    n = len(z)
    others = 1.0 - np.eye(n)
    within = sum((kernel(x, x) * others).sum() / (n * (n - 1)) for x in (z, prior))
    return within - 2.0 * kernel(z, prior).mean()


def _inverse_multiquadratics(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squared = np.square(x[:, None] - y).sum(axis=2)
    constants = [2 * x.shape[1] * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(c / (c + squared) for c in constants)


def _perceptron(network: keras.Model, x: np.ndarray) -> np.ndarray:
    *hidden, last = [layer for layer in network.layers if layer.weights]
    for layer in hidden:
        x = x @ np.asarray(layer.kernel) + np.asarray(layer.bias)
        x = np.where(x > 0, x, 0.2 * x)
    return (x @ np.asarray(last.kernel) + np.asarray(last.bias))[:, 0]


def _terms(model: Any, batch: dict[str, Any]) -> tuple[dict[str, np.ndarray], tuple[Any, ...]]:
    """What the model makes of a batch, and z, μ and log σ² from its encoder in float64."""
    found = {name: np.asarray(x) for name, x in model.terms(batch, training=False).items()}
    moments = [np.asarray(x, np.float64) for x in model.encode(batch["images"])]
    z = moments[0] + np.exp(moments[1] / 2) * np.asarray(batch["posterior"], np.float64)
    return found, (z, *moments)


def _cross_entropy(model: Any, images: np.ndarray, z: np.ndarray) -> np.ndarray:
    p = scipy.special.expit(np.asarray(model.logits(z.astype(np.float32)), np.float64))
    log_likelihood = images * np.log(p) + (1 - images) * np.log1p(-p)
    return -log_likelihood.reshape(len(z), -1).sum(axis=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("beta_vae", {"beta": 2.5}),
        ("beta_vae", {"gamma": 3.0, "capacity": 4.0}),
        ("beta_tc_vae", {"beta": 5.0, "dataset_size": 1000}),
        ("info_vae", {"alpha": 0.25, "lambda_mmd": 20.0}),
        ("wae_mmd", {"lambda_mmd": 30.0}),
        ("factor_vae", {"gamma": 7.0, "discriminator_width": 16, "discriminator_layers": 2}),
    ],
)
def test_loss_is_the_papers(name: str, options: dict[str, Any], images: np.ndarray) -> None:
    model = _create(name, **options)
    _shift(model, 0.5, -1.0)
    batch = _batch(images[:12])
    if name == "factor_vae":  # whose logits are 0 at first
        for weight in model.discriminator.trainable_variables:
            weight.assign(0.5 * np.random.default_rng(2).normal(size=weight.shape))
    found, moments = _terms(model, batch)
    z, rate = moments[0], _rate(*moments)
    prior = np.asarray(batch["prior_latents"], np.float64)
    distortion = _cross_entropy(model, images[:12], z)
    np.testing.assert_allclose(found["distortion"], distortion, rtol=1e-4)
    if name == "beta_vae" and "beta" in options:
        regularization = 2.5 * rate
    elif name == "beta_vae":
        regularization = 3.0 * np.abs(rate - 4.0)
    elif name == "beta_tc_vae":
        information, correlation, dimensions = _tc_terms(*moments, 1000)
        regularization = information + 5.0 * correlation + dimensions
        rate = information + correlation + dimensions
        np.testing.assert_allclose(found["total_correlation"], correlation, rtol=1e-4)
        np.testing.assert_allclose(found["mutual_information"], information, rtol=1e-4)
        np.testing.assert_allclose(found["dimension_wise_kl"], dimensions, rtol=1e-4)
    elif name == "factor_vae":
        logit = _perceptron(model.discriminator, z)
        regularization = rate + 7.0 * logit
        np.testing.assert_allclose(found["total_correlation"], logit, rtol=1e-3, atol=1e-4)
    elif name == "info_vae":
        mmd = _mmd(lambda x, y: rbf_kernel(x, y, gamma=1 / LATENT_DIM**2), z, prior)
        regularization = 0.75 * rate.mean() + 19.25 * mmd
    else:
        regularization = 30.0 * _mmd(_inverse_multiquadratics, z, prior)
    # An MMD has one value, which examples share unevenly: compare means.
    wanted = distortion.mean() + np.mean(regularization)
    assert found["loss"].mean() == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_allclose(found["rate"], rate, rtol=1e-4)
    if "mmd" not in found:
        np.testing.assert_allclose(found["loss"], distortion + regularization, rtol=1e-4)


# β-VAE


@pytest.mark.slow
def test_beta_trades_rate_for_distortion(images: np.ndarray) -> None:
    results = []
    for beta in (0.1, 1.0, 10.0):
        keras.utils.set_random_seed(0)
        model = _create("beta_vae", beta=beta)
        _train(model, images, 100, keras.optimizers.Adam(1e-2))
        results.append(model.evaluate(images, batch_size=60, verbose=0, return_dict=True))
    rates, distortions = ([r[name] for r in results] for name in ("rate", "distortion"))
    assert rates[0] > 1.5 * rates[1] > 1.5 * 1.5 * rates[2]
    assert distortions[0] < distortions[1] < distortions[2]


@pytest.mark.slow
def test_the_rate_follows_the_capacity(images: np.ndarray) -> None:
    """Each example's rate, halfway up and at the top."""
    model = _create("beta_vae", capacity=4.0, capacity_steps=160, gamma=100.0)
    for capacity in (2.0, 4.0):
        _train(model, images, 80, keras.optimizers.Adam(5e-3))
        mean, log_variance = model.encode(images)
        rates = _rate(*map(np.asarray, (mean, mean, log_variance)))
        np.testing.assert_allclose(rates.mean(), capacity, atol=0.3)
        assert rates.std() < 0.5


def test_capacity_rises_in_training_and_is_full_in_evaluation(images: np.ndarray) -> None:
    model = _create("beta_vae", capacity=8.0, capacity_steps=4, gamma=3.0)
    batch = _batch(images[:5])
    for step, capacity in ((0, 0.0), (1, 2.0), (3, 6.0), (9, 8.0)):
        model.step.assign(step)
        for training, wanted in ((True, capacity), (False, 8.0)):
            found = model.terms(batch, training=training)
            gap = np.abs(found["rate"] - np.float32(wanted))
            np.testing.assert_allclose(found["regularization"], 3.0 * gap, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, {"rate": 4.0}),
        ({"beta": 0.5, "warm_up": 3}, {"rate": 0.5}),
        ({"capacity": 2.0}, {"capacity_gap": 1000.0}),
    ],
)
def test_beta_vae_config(options: dict[str, Any], weights: dict[str, float]) -> None:
    model = _create("beta_vae", **options)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert again.weights_of_terms == weights


# Total correlation


def _correlated_model(name: str, **options: Any) -> Any:
    """With posteriors N(x, s²) of two "pixels" x, and a decoder that matters not."""
    images = keras.Input((1, 2, 1))
    flat = keras.layers.Flatten()(images)
    mean, log_variance = (
        keras.layers.Dense(2, trainable=False, name=name) for name in ("mean", "log_variance")
    )
    encoder = keras.Model(images, [mean(flat), log_variance(flat)])
    mean.set_weights([10.0 * np.eye(2), np.full(2, -5.0)])
    log_variance.set_weights([np.zeros((2, 2)), np.full(2, np.log(POSTERIOR_VARIANCE))])
    latents = keras.Input((2,))
    decoder = keras.Model(latents, keras.layers.Reshape((1, 2, 1))(keras.layers.Dense(2)(latents)))
    return zoo.create(name, (1, 2, 1), 2, encoder=encoder, decoder=decoder, **options)


def _correlated_images(n: int, correlation: float, seed: int) -> np.ndarray:
    """Images for which z = x + s ε has unit variances and the correlation."""
    covariance = np.array([[1.0, correlation], [correlation, 1.0]])
    covariance -= POSTERIOR_VARIANCE * np.eye(2)
    x = np.random.default_rng(seed).multivariate_normal(np.zeros(2), covariance, n)
    return (0.5 + 0.1 * x).reshape(n, 1, 2, 1).astype(np.float32)


def test_beta_tc_vae_measures_a_known_total_correlation() -> None:
    """With the data set as the batch, for which N = 1.

    Over seeds the estimate's standard deviation is √(E[TC²]) / √n ≈ 0.02, and the density estimate
    adds about as much.
    """
    model = _correlated_model("beta_tc_vae", dataset_size=1)
    model.compile()
    images = _correlated_images(2000, CORRELATION, seed=0)
    measured = model.evaluate(images, batch_size=2000, verbose=0, return_dict=True)
    assert measured["total_correlation"] == pytest.approx(KNOWN_TC, abs=0.06)
    # q(z_j) is the prior; the rest of the rate is information: ½ log det Σ / s² in all
    assert measured["dimension_wise_kl"] == pytest.approx(0.0, abs=0.06)
    information = 0.5 * (np.log(1 - CORRELATION**2) - 2 * np.log(POSTERIOR_VARIANCE))
    assert measured["mutual_information"] == pytest.approx(information, abs=0.1)


def test_the_size_of_the_data_moves_no_gradient(images: np.ndarray) -> None:
    batch, losses, gradients = _batch(images[:8]), [], []
    for n in (10, 1000):
        keras.utils.set_random_seed(0)
        model = _create("beta_tc_vae", beta=6.0, dataset_size=n)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.terms(batch, training=True)["loss"])
        gradients.append(tape.gradient(loss, model.encoder.trainable_variables))
        losses.append(float(loss))
    # (β − 1)(d − 1) log N
    assert losses[1] - losses[0] == pytest.approx(5 * (LATENT_DIM - 1) * np.log(100), rel=1e-4)
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_beta_tc_vae_lowers_the_total_correlation() -> None:
    """Of an encoder that copies correlated pixels, and may whiten them."""
    images = _correlated_images(256, CORRELATION, seed=0)
    found = []
    for beta in (1.0, 20.0):
        keras.utils.set_random_seed(0)
        model = _correlated_model("beta_tc_vae", beta=beta, dataset_size=1)
        model.encoder.get_layer("mean").trainable = True
        _train(model, images, 60, keras.optimizers.Adam(0.3))
        z = np.asarray(model.encode(images)[0])
        found.append(abs(np.corrcoef(z.T)[0, 1]))
    assert found[1] < 0.3 < found[0]


# FactorVAE


@pytest.mark.slow
@pytest.mark.parametrize(("correlation", "wanted"), [(0.0, 0.0), (CORRELATION, KNOWN_TC)])
def test_the_discriminator_estimates_the_total_correlation(
    correlation: float, wanted: float
) -> None:
    """On images it has not seen; a thousand draws of the logit leave ±0.03, its training more."""
    model = _correlated_model("factor_vae", discriminator_width=32, discriminator_layers=2)
    idle = keras.optimizers.SGD(0.0)
    model.compile(idle, keras.optimizers.Adam(5e-3), steps_per_execution=10)
    images = _correlated_images(100_000, correlation, seed=0)
    model.fit(images, batch_size=500, verbose=0)
    test = _correlated_images(2000, correlation, seed=1)
    measured = model.evaluate(test, batch_size=1000, verbose=0, return_dict=True)
    assert measured["total_correlation"] == pytest.approx(wanted, abs=0.1)


def test_one_half_is_shown_and_the_other_shuffled(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even rows as they are; odd ones with each dimension permuted for itself."""
    model = _create("factor_vae", discriminator_width=8)
    model.compile()
    seen: list[np.ndarray] = []
    call = model.discriminator.call
    monkeypatch.setattr(
        model.discriminator, "call", lambda z, **k: seen.append(np.asarray(z)) or call(z, **k)
    )
    mean, log_variance = (np.asarray(x) for x in model.encode(images))
    noise = np.asarray(model.noise("posterior", tf.constant(60), [LATENT_DIM]))
    z = mean + np.exp(log_variance / 2) * noise
    model.train_step(tf.constant(images))
    shown, shuffled = seen
    np.testing.assert_allclose(shown, z[::2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.sort(shuffled, 0), np.sort(z[1::2], 0), rtol=1e-4, atol=1e-5)
    ranks, before = (np.argsort(np.argsort(x, 0), 0) for x in (shuffled, z[1::2]))
    came_from = np.array(
        [[np.argmax(before[:, j] == r) for j, r in enumerate(row)] for row in ranks]
    )
    # Dimensions of a row come from rows that agree by chance alone, in one of 30 cases.
    assert np.mean(came_from[:, 0] == came_from[:, 1]) < 0.2
    assert np.mean(came_from[:, 0] == np.arange(30)) < 0.2


def test_each_player_descends_its_own_loss(images: np.ndarray) -> None:
    """The discriminator's step is PyTorch's; the VAE's goes through a fixed discriminator."""
    import torch

    model = _create("factor_vae", discriminator_width=8, discriminator_layers=1, gamma=7.0)
    logit = model.discriminator.get_layer("logit")
    logit.kernel.assign(np.random.default_rng(0).normal(size=logit.kernel.shape))
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0))
    batch = {"images": tf.constant(images)}
    batch |= model.batch_noise(model.noise_source(batch["images"]))
    even = {name: x[::2] for name, x in batch.items()}
    odd = {name: x[1::2] for name, x in batch.items()}
    shown, other = (model.forward(rows, training=True)["latents"] for rows in (even, odd))
    order = np.argsort(np.asarray(odd["permutation"]), axis=0)
    shuffled = np.take_along_axis(np.asarray(other), order, axis=0)

    before = [np.asarray(w) for w in model.discriminator.trainable_variables]
    kernel, bias, kernel_2, bias_2 = (torch.tensor(w, requires_grad=True) for w in before)
    x = torch.tensor(np.concatenate([np.asarray(shown), shuffled]))
    hidden = torch.nn.functional.leaky_relu(x @ kernel + bias, 0.2)
    labels = torch.cat([torch.ones(30, 1), torch.zeros(30, 1)])
    torch.nn.functional.binary_cross_entropy_with_logits(
        hidden @ kernel_2 + bias_2, labels
    ).backward()
    with tf.GradientTape() as tape:
        terms = model.terms({**even, "shuffled": tf.constant(shuffled)}, training=True)
        loss = tf.reduce_mean(
            terms["distortion"] + terms["rate"] + 7.0 * terms["total_correlation"]
        )
    weights = [*model.encoder.trainable_variables, *model.decoder.trainable_variables]
    wanted = [np.asarray(w - g) for w, g in zip(weights, tape.gradient(loss, weights), strict=True)]

    model.train_step(batch["images"])
    for weight, start, moved in zip(
        model.discriminator.trainable_variables, before, (kernel, bias, kernel_2, bias_2),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(weight, start - moved.grad.numpy(), rtol=1e-4, atol=1e-6)
    for weight, value in zip(weights, wanted, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_accumulation_of_halves(images: np.ndarray) -> None:
    """Odd batches too, of which the halves have 13 and 12 images."""
    found = []
    for accumulate in (1, 4):
        keras.utils.set_random_seed(0)
        model = _create("factor_vae", discriminator_width=8, likelihood="gaussian")
        model.compile(keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.5), accumulate=accumulate)
        logs = model.fit(images[:25], batch_size=25, epochs=2, shuffle=False, verbose=0).history
        found.append([*map(np.asarray, model.trainable_variables), *logs.values()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# MMD


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("info_vae", marks=pytest.mark.slow), "wae_mmd"])
def test_the_aggregate_posterior_meets_the_prior(name: str, images: np.ndarray) -> None:
    """From means around 2; without the term it goes where the decoder likes it."""
    found = []
    for weight in (0.0, 100.0):
        keras.utils.set_random_seed(0)
        options = {"alpha": 1.0} if name == "info_vae" else {}
        model = _create(name, lambda_mmd=weight, **options)
        _shift(model, 2.0, -2.0)
        model.compile()  # to evaluate
        first = model.evaluate(images, batch_size=60, verbose=0, return_dict=True)["mmd"]
        _train(model, images, 60, keras.optimizers.Adam(1e-2))
        last = model.evaluate(images, batch_size=60, verbose=0, return_dict=True)["mmd"]
        mean, log_variance = (np.asarray(x) for x in model.encode(images))
        variance = np.var(mean, axis=0) + np.exp(log_variance).mean(axis=0)
        found.append((last / first, np.abs(mean.mean(axis=0)).max(), np.abs(variance - 1).max()))
    without, trained = found
    assert trained[0] < 0.05 < 0.1 < without[0]
    assert trained[1] < 0.4
    assert trained[2] < 0.4 < 1.5 < without[2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("beta_vae", {"beta": -1.0}, "beta=-1.0: expected at least 0"),
        ("beta_vae", {"beta": 4.0, "capacity": 5.0}, "beta=4.0: expected no capacity"),
        ("beta_vae", {"warm_up": 10, "capacity": 5.0}, "warm_up=10: expected no capacity"),
        ("beta_vae", {"free_bits": 0.1, "capacity": 5.0}, "free_bits=0.1.* no rate"),
        ("beta_vae", {"gamma": 10.0}, "gamma=10.0: expected a capacity"),
        ("beta_vae", {"capacity_steps": 10}, "capacity_steps=10: expected a capacity"),
        ("beta_vae", {"capacity": -1.0}, "capacity=-1.0: expected at least 0"),
        ("beta_vae", {"capacity": 1.0, "capacity_steps": 0}, "capacity_steps=0: .* at least 1"),
        ("beta_tc_vae", {"beta": -1.0}, "beta=-1.0"),
        ("beta_tc_vae", {"dataset_size": 0}, "dataset_size=0"),
        ("beta_tc_vae", {"free_bits": 0.1}, "free_bits=0.1.* no rate"),
        ("factor_vae", {"gamma": -1.0}, "gamma=-1.0"),
        ("factor_vae", {"discriminator_layers": 0}, "discriminator_layers=0"),
        ("factor_vae", {"transfer": (1.0, 1.0, 0.0, 0.0)}, "no transfer"),
        ("info_vae", {"alpha": 1.5}, "alpha=1.5"),
        ("info_vae", {"alpha": 0.0, "lambda_mmd": 0.5}, "lambda_mmd=0.5"),
        ("wae_mmd", {"lambda_mmd": -1.0}, "lambda_mmd=-1.0"),
        ("wae_mmd", {"free_bits": 0.1}, "free_bits=0.1.* no rate"),
    ],
)
def test_bad_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _create(name, **options)
