"""VQ-VAE: what its losses train, a codebook that stays alive, and a prior that knows the codes."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from scipy.spatial.distance import cdist

import zoo
from export import endpoints
from export.references import Reference, by_name, compare
from zoo import convert
from zoo.evaluation.measure import likelihood_metrics
from zoo.networks import pixelcnn

SMALL = {"network": "grid-16", "num_codes": 8, "prior_width": 16, "prior_layers": 1}
RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 8, 1), np.float32)


def _model(**options: Any) -> Any:
    return zoo.create("vq_vae", (8, 8, 1), 5, **{**SMALL, **options})


def _spread(model: Any) -> Any:
    """Codes on features of the images, so that all take part."""
    features = model.encoder(IMAGES).numpy().reshape(-1, 5)
    model.quantizer.codebook.assign(features[: model.num_codes])
    return model


def _batch(model: Any) -> dict[str, Any]:
    batch = {"images": tf.constant(IMAGES)}
    return batch | model.batch_noise(model.noise_source(batch["images"]))


@pytest.fixture(scope="module")
def patterns() -> np.ndarray:
    """Two kinds of images of four blocks, black and white: the others do not occur."""
    kinds = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 1]]], np.float32)
    chosen = kinds[np.random.default_rng(0).integers(0, 2, 128)]
    return np.kron(chosen, np.ones((1, 4, 4), np.float32))[..., None]


@pytest.fixture(scope="module")
def trained(patterns: np.ndarray) -> Any:
    keras.utils.set_random_seed(0)
    model = _model()
    model.compile(keras.optimizers.Adam(5e-3))
    model.history_ = model.fit(patterns, batch_size=32, epochs=40, verbose=0).history
    return model


# What the loss is, and what it trains


def test_terms_by_hand() -> None:
    """Eq. 3 and the rate in NumPy, with nearest codes by SciPy; σ² is the batch's error."""
    model = _spread(_model(commitment=0.7))
    found = model.terms(_batch(model), training=True)
    features = model.encoder(IMAGES).numpy().reshape(-1, 5).astype(np.float64)
    codebook = model.quantizer.codebook.numpy().astype(np.float64)
    distances = cdist(features, codebook, "sqeuclidean")
    codes = distances.argmin(1)
    assert len(set(codes)) == 8
    commitment = distances.min(1).reshape(6, 4).sum(1)
    logits = model.decoder(codebook[codes].reshape(6, 2, 2, 5)).numpy()
    images = scipy.special.expit(logits.astype(np.float64))
    error = np.square(IMAGES - images).reshape(6, -1)
    variance = error.mean()
    distortion = 0.5 * error.sum(1) / variance + 32 * np.log(2 * np.pi * variance)
    grids = codes.reshape(6, 2, 2).astype(np.int32)
    log_p = scipy.special.log_softmax(model.code_prior(grids).numpy().astype(np.float64), axis=-1)
    rate = -np.take_along_axis(log_p, grids[..., None], axis=-1).reshape(6, 4).sum(1)
    # Float32 sums of 64 squares and of four log-probabilities.
    for name, wanted in (("commitment", commitment), ("distortion", distortion), ("rate", rate)):
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(found["loss"], distortion + rate + 0.7 * commitment, rtol=1e-4)


def test_each_term_trains_its_part() -> None:
    """The decoder's gradient at z_q reaches z_e as it is, beside 2 β (z_e − e); rate: the prior."""
    model = _spread(_model(commitment=0.7, likelihood="bernoulli"))
    with tf.GradientTape(persistent=True) as tape:
        features = model.encoder(IMAGES)
        quantized, codes = model.quantizer(features)
        plain = tf.constant(quantized.numpy())
        tape.watch(plain)
        nll = model.pixels.nll(IMAGES, model.decoder(plain), None)
        rate = -pixelcnn.log_probability(model.code_prior, codes)
        terms = model.terms(_batch(model), training=True)
    straight = tape.gradient(nll, plain) + 2 * 0.7 * (features - plain)
    for network, wanted in (
        (model.encoder, tape.gradient(features, model.encoder.trainable_variables, straight)),
        (model.decoder, tape.gradient(nll, model.decoder.trainable_variables)),
        (model.code_prior, tape.gradient(rate, model.code_prior.trainable_variables)),
    ):
        gradients = tape.gradient(terms["loss"], network.trainable_variables)
        pairs = [
            (tf.convert_to_tensor(a), tf.convert_to_tensor(b))
            for a, b in zip(gradients, wanted, strict=True)
        ]
        assert max(float(tf.reduce_max(tf.abs(b))) for _, b in pairs) > 1e-2
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    others = [*model.encoder.trainable_variables, *model.decoder.trainable_variables]
    assert all(g is None for g in tape.gradient(terms["rate"], others))
    assert not {id(v) for v in model.quantizer.variables} & {
        id(v) for v in model.variables_of("optimizer")
    }


def test_the_bound_is_the_joint_probability() -> None:
    """k rows of log p(x, codes), so that the k-sample bound is the ELBO; the loss has β beside."""
    model = _spread(_model())
    found = model.log_weights(IMAGES, np.zeros([3, 6, 5], np.float32))
    terms = model.terms(_batch(model), training=False)
    wanted = -(terms["distortion"] + terms["rate"])
    np.testing.assert_allclose(found, np.broadcast_to(wanted, [3, 6]), rtol=1e-5)
    measured = likelihood_metrics(model, IMAGES, 4, seed=0)
    np.testing.assert_allclose(measured["elbo"], np.mean(wanted), rtol=1e-5)
    assert measured["iwae_bound"] == pytest.approx(measured["elbo"], rel=1e-6)
    assert "active_units" not in measured


# The codebook


@pytest.mark.slow
def test_dead_codes_go_to_features_of_the_batch() -> None:
    model = _spread(_model())
    far = model.quantizer.codebook.numpy()
    far[3:] = 1e3
    model.quantizer.codebook.assign(far)
    model.compile(keras.optimizers.SGD(0.0))
    model.train_on_batch(IMAGES)
    features = model.encoder(IMAGES).numpy().reshape(-1, 5)
    reborn = model.quantizer.codebook.numpy()[3:]
    # One-hot sums of float32 are exact, but for how a batch's convolutions round in a graph.
    nearest = cdist(reborn, features)
    assert nearest.min(1).max() < 1e-5
    assert len(set(nearest.argmin(1))) > 2  # each code draws for itself


def test_which_features_are_drawn_is_even() -> None:
    """χ² of the 24 positions over 800 draws; fails one seed in a million, and this one is fixed."""
    model = _model(num_codes=800)
    features = np.arange(24, dtype=np.float32).reshape(6, 2, 2, 1).repeat(5, axis=-1)
    draws = np.random.default_rng(0).random((6, 800, 2), np.float32)
    found = model._candidates(tf.constant(features), tf.constant(draws)).numpy()[:, 0]
    counts = np.bincount(found.astype(int), minlength=24)
    assert scipy.stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.slow
def test_a_batch_that_overflows_moves_no_code() -> None:
    model = _model()
    model.compile()
    model.train_on_batch(IMAGES)
    before = [v.numpy() for v in model.quantizer.variables]
    images = IMAGES.copy()
    images[0] = np.inf
    with pytest.raises(ValueError, match="to inf"):  # after the step
        model.train_on_batch(images)
    for variable, wanted in zip(model.quantizer.variables, before, strict=True):
        np.testing.assert_array_equal(variable, wanted)


@pytest.mark.slow
def test_codes_stay_alive() -> None:
    """On images that differ everywhere, all codes are in use, and not one for most."""
    coarse = np.random.default_rng(0).random((64, 2, 2, 1)).astype(np.float32)
    images = np.kron(coarse, np.ones((1, 4, 4, 1), np.float32))
    model = _model(num_codes=16, decay=0.9)
    model.compile()
    history = model.fit(images, batch_size=32, epochs=30, verbose=0).history
    assert history["perplexity"][-1] > 8.0
    assert len(np.unique(model.encode(images))) == 16


# The prior


@pytest.mark.slow
def test_the_prior_learns_the_codes(trained: Any, patterns: np.ndarray) -> None:
    """To the entropy of the images, log 2: of 8⁴ grids a uniform prior would say 4 log 8 nats."""
    assert trained.history_["rate"][0] > 4.0
    results = trained.evaluate(patterns, verbose=0, return_dict=True)
    assert results["rate"] < np.log(2.0) + 0.15
    assert results["loss"] == pytest.approx(
        results["distortion"] + results["rate"] + 0.25 * results["commitment"], rel=1e-5
    )


@pytest.mark.slow
def test_samples_are_like_the_data(trained: Any, patterns: np.ndarray) -> None:
    kinds = np.unique(patterns, axis=0)
    samples = trained.generate(200, seed=0)
    nearest = cdist(samples.reshape(200, -1), kinds.reshape(2, -1), "chebyshev")
    assert (nearest.min(1) < 0.25).mean() > 0.9
    share = (nearest.argmin(1) == 0).mean()
    assert 0.3 < share < 0.7
    assert np.abs(trained.reconstruct(patterns[:8]) - patterns[:8]).max() < 0.25


def test_latents_are_uniforms_of_the_normal() -> None:
    """Φ(ε) through the inverse distribution function, SciPy's; all tails have a code."""
    model = _model()
    _, bias = model.code_prior.get_layer("logits").weights
    bias.assign(np.linspace(-1.0, 1.0, 8))
    model.code_prior.get_layer("logits").kernel.assign(np.zeros([16, 8]))
    cumulative = np.cumsum(scipy.special.softmax(np.linspace(-1.0, 1.0, 8)))
    latents = model.sample_latents(200, seed=0)
    latents[0], latents[1] = -40.0, 40.0
    found = np.asarray(model.codes_from_latents(latents)).reshape(200, 4)
    uniforms = scipy.stats.norm.cdf(latents.astype(np.float64))
    near = np.abs(uniforms[..., None] - cumulative).min(-1) < 1e-6  # where rounding decides
    wanted = np.minimum((uniforms[..., None] >= cumulative).sum(-1), 7)
    np.testing.assert_array_equal(found[~near], wanted[~near])
    assert near[2:].mean() < 0.01


# Inference and exports


def test_encode_decode_reconstruct_generate() -> None:
    model = _spread(_model())
    codes = model.encode(IMAGES)
    assert codes.dtype == tf.int32
    assert codes.shape == (len(IMAGES), 2, 2)
    np.testing.assert_array_equal(model.decode(codes), model.reconstruct(IMAGES))
    drawn = np.asarray(model.codes_from_latents(model.sample_latents(20, seed=0)))
    np.testing.assert_array_equal(model.decode(drawn), model.generate(20, seed=0))


@pytest.mark.parametrize("shape", [(8, 8, 3), pytest.param((128, 64, 3), marks=pytest.mark.slow)])
def test_sizes(shape: tuple[int, int, int]) -> None:
    model = zoo.create("vq_vae", shape, 4, **{**SMALL, "network": "grid-4"})
    grid = (shape[0] // 4, shape[1] // 4)
    assert model.noise_dim == grid[0] * grid[1]
    codes = model.encode(np.zeros((1, *shape), np.float32))
    assert codes.shape == (1, *grid)
    assert model.decode(codes).shape == (1, *shape)


def _on_a_jump(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two images [1, 8, 8, 1] within 1e-6 of each other that have different codes."""
    before, after = IMAGES[:1], IMAGES[1:2]
    first = model.encode(before).numpy()
    for _ in range(25):
        middle = (before + after) / 2
        same = np.array_equal(model.encode(middle), first)
        before, after = (middle, after) if same else (before, middle)
    assert np.abs(after - before).max() < 1e-6
    return before, after


@pytest.mark.slow
def test_verification_knows_both_sides_of_a_jump() -> None:
    """Codes that rounding may decide either way are equal, and no others."""
    model = _spread(_model())
    before, after = _on_a_jump(model)
    first, second = model.encode(before).numpy(), model.encode(after).numpy()
    assert np.any(first != second)
    (encode,) = (e for e in endpoints(model) if e.name == "encode")

    def passes(codes: np.ndarray, endpoint: Any = encode) -> bool:
        reference = Reference(endpoint, encode, model, {"image": before})
        (row,) = compare("", "float32", reference, lambda **_: {"codes": codes})
        assert row.tolerance == 0.0
        return row.passed

    assert passes(first)
    assert passes(second)
    assert not passes(second, dataclasses.replace(encode, piecewise_constant=False))
    assert not passes((first + 3) % 8)


@pytest.mark.parametrize("wrong", [pytest.param("generate", marks=pytest.mark.slow), "encode"])
def test_a_wrong_weight_fails(wrong: str) -> None:
    """A logit of the prior, or a number of the encoder's, that is another than in the export."""
    exported, model = _spread(_model()), _model()
    model.set_weights(exported.get_weights())
    if wrong == "generate":
        model.code_prior.get_layer("logits").bias.assign(0.1 * np.eye(8)[3])
    else:
        model.encoder.get_layer("features").bias.assign(0.1 * np.eye(5)[3])
    (theirs,) = (e for e in endpoints(exported) if e.name == wrong)
    (ours,) = (e for e in endpoints(model) if e.name == wrong)
    inputs = {
        "latent": model.sample_latents(128, seed=0),
        "image": RNG.random((128, 8, 8, 1), np.float32),
    }
    for endpoint, of, passed in ((ours, model, False), (theirs, exported, True)):
        reference = Reference(endpoint, endpoint, of, inputs)
        (row,) = compare("", "float32", reference, by_name(theirs))
        assert row.passed == passed


# Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 1}, "num_codes=1"),
        ({"commitment": -1.0}, "commitment=-1.0"),
        ({"decay": 1.0}, "decay=1.0"),
        ({"free_bits": 0.1}, "free_bits=0.1: vq_vae has none"),
        ({"num_classes": 3}, "num_classes=3: vq_vae has none"),
        ({"transfer": (1.0, 1.0, 0.0, 0.0)}, "has no transfer"),
        ({"network": "conv"}, r"encoder maps \(8, 8, 1\) to .*expected \[\(2, 2, 5\)\]"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _model(**options)


def test_it_does_not_convert() -> None:
    with pytest.raises(ValueError, match="no plain function of one decoder"):
        convert.vae_to_gan(_model())
