"""InfoGAN: the law of its codes, its bound by PyTorch, its step written out, and what it learns."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import zoo
from tests.cases import IMAGE_SHAPE
from zoo.gan._codes import CodesFromNormal

K, C, DIM = 4, 2, 8


def _model(**options: object) -> keras.Model:
    sizes = {"categorical": K, "continuous": C, **options}
    return zoo.create("infogan", IMAGE_SHAPE, DIM, network="mlp", **sizes)


def _two_kinds(n: int) -> np.ndarray:
    """Images bright on the left or on the right, with noise."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0.0, 0.2, (n, *IMAGE_SHAPE))
    images[::2, :, :4] += 0.7
    images[1::2, :, 4:] += 0.7
    return images.astype(np.float32)


def test_codes_have_their_law() -> None:
    """Categories equally likely and in the order of NumPy's argmax, U(−1, 1), untouched noise."""
    latents = np.random.default_rng(0).standard_normal((20_000, DIM), np.float32)
    codes = np.asarray(CodesFromNormal(K, C)(latents))
    category, uniform, noise = np.split(codes, [K, K + C], axis=1)
    np.testing.assert_array_equal(category, np.eye(K)[latents[:, :K].argmax(axis=1)])
    # p-values of correct code are uniform; the seed is fixed, so the test does not flicker
    assert scipy.stats.chisquare(category.sum(axis=0)).pvalue > 0.01
    for each in uniform.T:
        assert scipy.stats.kstest(each, scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01
        assert scipy.stats.pearsonr(each, category[:, 0]).pvalue > 0.01
    np.testing.assert_array_equal(noise, latents[:, K + C :])


@pytest.mark.parametrize("sizes", [(K, C), (K, 0), (0, C)])
def test_bound_is_that_of_pytorch(sizes: tuple[int, int]) -> None:
    """arXiv 1606.03657, eq. 5, with PyTorch's cross-entropy and normal likelihood."""
    import torch

    k, c = sizes
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((5, DIM), np.float32)
    heads = [rng.standard_normal((5, units), np.float32) for units in (k, 2 * c) if units]
    model = _model(categorical=k, continuous=c, categorical_weight=0.7, continuous_weight=0.3)
    of_category = of_continuous = torch.zeros(5)
    if k:
        target = torch.tensor(latents[:, :k].argmax(axis=1))
        of_category = torch.nn.functional.cross_entropy(
            torch.tensor(heads[0]), target, reduction="none"
        )
    if c:
        u = torch.tensor(scipy.stats.norm.cdf(latents[:, k : k + c]) * 2 - 1)
        mean, log_variance = torch.tensor(heads[-1]).split(c, dim=1)
        of_continuous = torch.nn.functional.gaussian_nll_loss(
            mean, u, log_variance.exp(), full=True, reduction="none"
        ).sum(dim=1)
    batch = {"latents": tf.constant(latents)}
    found = model.auxiliary_loss(heads, batch, real=False)
    wanted = 0.7 * of_category + 0.3 * of_continuous
    np.testing.assert_allclose(found, wanted, rtol=1e-5)  # float32
    bound = model.auxiliary_logs(heads, batch)["mutual_information"]
    entropy = (math.log(k) if k else 0.0) + c * math.log(2.0)
    np.testing.assert_allclose(bound, entropy - of_category - of_continuous, rtol=1e-5, atol=1e-5)
    assert model.auxiliary_loss(heads, batch, real=True) is None


def test_both_players_maximise_the_bound(images: np.ndarray) -> None:
    """One step: −λ log Q is in the loss of D, which holds Q, and in that of G."""
    rate, weight = 0.01, 3.0
    model = _model(continuous=0, categorical_weight=weight, normalization="none")
    model.compile(keras.optimizers.SGD(rate), keras.optimizers.SGD(rate))
    g, d = model.generator, model.discriminator
    z = model.noise("latent", tf.constant(20), [DIM])
    category = tf.argmax(z[:, :K], axis=1)
    with tf.GradientTape(persistent=True) as tape:
        (real, _), (fake, logits) = d(images[:20]), d(g(z))
        entropy = tf.keras.losses.sparse_categorical_crossentropy(category, tf.nn.softmax(logits))
        penalty = weight * tf.reduce_mean(entropy)
        g_loss = tf.reduce_mean(-tf.math.log(tf.sigmoid(fake))) + penalty
        d_loss = penalty - tf.reduce_mean(
            tf.math.log(tf.sigmoid(real)) + tf.math.log(1 - tf.sigmoid(fake))
        )
    wanted = [
        (v, v.numpy() - rate * tape.gradient(loss, v.value).numpy())
        for network, loss in ((g, g_loss), (d, d_loss))
        for v in network.trainable_variables
    ]
    logs = model.train_on_batch(images[:20], return_dict=True)
    for variable, value in wanted:
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-5, atol=1e-7)
    bound = math.log(K) - float(penalty) / weight
    assert logs["mutual_information"] == pytest.approx(bound, rel=1e-4)


def test_latents_with_codes() -> None:
    """They have the codes asked for, and else the law of latents that happen to have them."""
    model = _model()
    wanted = [[0.0, -1.0], [1.0, 0.25]]
    latents = model.latents_with_codes(2, category=[3, 0], continuous=wanted, seed=0)
    category, continuous, noise = model.codes_layer.split(latents)
    np.testing.assert_array_equal(np.argmax(category, axis=1), [3, 0])
    np.testing.assert_allclose(continuous, wanted, atol=1e-6)
    np.testing.assert_array_equal(noise, model.sample_latents(2, seed=0)[:, K + C :])
    given = model.latents_with_codes(3000, category=1, seed=1)
    drawn = model.sample_latents(20_000, seed=2)
    drawn = drawn[drawn[:, :K].argmax(axis=1) == 1]
    for i in range(K + 1):
        assert scipy.stats.ks_2samp(given[:, i], drawn[:, i]).pvalue > 0.01
    assert model.generate_from(given[:2]).shape == (2, *IMAGE_SHAPE)


@pytest.mark.slow
def test_categories_can_be_read_off_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first Q knows nothing of them; then L_I nears log K, and drawn images show their code."""
    monkeypatch.setattr("zoo.networks.mlp.WIDTH", 128)
    model = _model(categorical=2, continuous=0, normalization="none")
    model.compile(steps_per_execution=8)
    history = model.fit(_two_kinds(256), batch_size=32, epochs=15, verbose=0).history
    bound = np.asarray(history["mutual_information"]) / math.log(2.0)
    assert bound[0] < 0.3
    assert 0.6 < bound[-1] <= 1.0
    for k in range(2):
        drawn = model.generate_from(model.latents_with_codes(200, category=k, seed=k))
        probabilities, mean, log_variance = model.infer_codes(drawn)
        assert np.mean(np.argmax(probabilities, axis=1) == k) > 0.9  # chance is 0.5
        np.testing.assert_allclose(np.sum(probabilities, axis=1), 1.0, rtol=1e-5)
        assert mean.shape == log_variance.shape == (200, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"categorical": 1}, "categorical=1"),
        ({"categorical": 0, "continuous": 0}, "at least one code"),
        ({"categorical": 6}, "latent_dim=8: expected more than the 8"),
        ({"continuous_weight": -1.0}, "continuous_weight=-1.0"),
        ({"num_classes": 3}, "num_classes=3"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _model(**options)


def test_bad_codes_and_discriminators() -> None:
    model = _model()
    for codes, message in (
        ({"category": 4}, "category=4: expected one of 4"),
        ({"category": 0.5}, "an integer"),
        ({"continuous": [0.0, 1.1]}, r"continuous=\[0.0, 1.1\]"),
        ({"continuous": [0.0]}, "expected 2 codes"),
    ):
        with pytest.raises(ValueError, match=message):
            model.latents_with_codes(2, **codes)
    with pytest.raises(ValueError, match=r"\(1,\), \(4,\), \(4,\)"):
        _model(discriminator=zoo.create("dcgan", IMAGE_SHAPE, DIM).discriminator)
