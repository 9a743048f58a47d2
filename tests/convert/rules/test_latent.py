"""Latents of another size, of another Gaussian, of another prior."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import scipy.special
import scipy.stats
from keras import layers

import zoo.layers
from export.functions import Endpoint, tensor
from export.onnx.preflight import preflight
from tests.support.networks import FLOAT32, assert_equal, draws, kinds, rms, shake, stack
from zoo.convert import rules
from zoo.convert.building import build, evaluate
from zoo.convert.reading import read
from zoo.layers import priors


def joined(*, use_bias: bool = True) -> keras.Model:
    """The latent, joined with a label on either side, goes into two Dense layers."""
    label, latent = keras.Input((3,), name="label"), keras.Input((5,), name="latent")
    x = layers.Concatenate()([label, latent])
    x = layers.Add()(
        [layers.Dense(4, use_bias=use_bias, name="a")(x), layers.Dense(4, name="b")(x)]
    )
    return shake(keras.Model([label, latent], x))


def joined_draws(n: int = 16) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [
        np.eye(3, dtype=np.float32)[rng.integers(0, 3, n)],
        rng.normal(size=(n, 5)).astype("f4"),
    ]


@pytest.mark.parametrize("offset", [0.0, np.arange(5.0) / 3])
@pytest.mark.parametrize("use_bias", [True, False])
def test_affine_latents(use_bias: bool, offset: float | np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for scale in (rng.normal(size=(5, 5)), rng.normal(size=(5, 3)), rng.uniform(0.5, 2.0, 5)):
        model = stack((5,), layers.Dense(7, use_bias=use_bias, activation="relu"), layers.Dense(3))
        size = scale.shape[-1]
        noise = rng.normal(size=(16, size)).astype(np.float32)
        matrix = np.diag(scale) if scale.ndim == 1 else scale
        latents = noise.astype(np.float64) @ matrix.T + offset  # column form: z = A ε + m
        found = rules.affine_latent(read(model), scale, offset)
        assert kinds(found) == ["InputLayer", "Dense", "Dense"]
        exact = build(read(model), "float64")(latents)
        np.testing.assert_allclose(evaluate(found, noise)[0], exact, atol=1e-12)
        error = np.asarray(build(found)(noise)) - exact
        assert rms(error) <= FLOAT32 * rms(exact)
        added = bool(np.any(offset)) or use_bias
        assert build(found).layers[1].use_bias == added


def test_affine_latents_that_are_joined() -> None:
    model = joined(use_bias=False)
    label, noise = joined_draws()
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    found = rules.affine_latent(read(model), matrix, 0.5)
    (wanted,) = evaluate(read(model), [label, noise.astype(np.float64) @ matrix.T + 0.5])
    np.testing.assert_allclose(evaluate(found, [label, noise])[0], wanted, atol=1e-12)


def test_affine_latents_that_no_dense_takes() -> None:
    model = stack((5,), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    noise = draws(model)
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    found = rules.affine_latent(read(model), matrix, 0.5)
    (wanted,) = evaluate(read(model), noise.astype(np.float64) @ matrix.T + 0.5)
    np.testing.assert_allclose(evaluate(found, noise)[0], wanted, atol=1e-12)
    assert "put before the network" in found.notes[0]
    with pytest.raises(ValueError, match=r"scale has shape \(4,\): expected \(5,\)"):
        rules.affine_latent(read(model), np.ones(4))


def test_a_larger_latent_is_exact() -> None:
    model = stack((5,), layers.Dense(7, activation="relu"), layers.Dense(3))
    x = draws(model)
    more = np.random.default_rng(4).normal(size=(16, 8)).astype(np.float32)
    more[:, :5] = x
    found = rules.resize_latent(read(model), 8)
    assert_equal(found, model, more, x)
    assert build(found).input_shape == (None, 8)


def test_a_larger_latent_that_is_joined() -> None:
    model = joined()
    label, x = joined_draws()
    more = np.concatenate([x, np.ones((16, 2), np.float32)], axis=1)
    assert_equal(rules.resize_latent(read(model), 7), model, [label, more], [label, x])


@pytest.mark.parametrize("k", [1, 3, 4])
def test_a_smaller_latent_loses_the_expected_energy(k: int) -> None:
    model = stack((5,), layers.Dense(7, activation="relu", name="first"), layers.Dense(3))
    network = read(model)
    found = rules.resize_latent(network, k)
    assert build(found).input_shape == (None, k)
    energy = rules.dropped_energy(network, k)
    directions, values = rules.latent_directions(network)
    assert energy == pytest.approx(np.sum(values[k:] ** 2))
    latents = np.random.default_rng(0).normal(size=(100_000, 5))
    full = latents @ network["first"].arrays["kernel"]
    kept = latents @ directions[:, :k] @ found["first"].arrays["kernel"]
    errors = np.sum((full - kept) ** 2, axis=1)
    assert abs(errors.mean() - energy) < 4 * errors.std() / math.sqrt(len(errors))
    # No other k directions lose less than the largest singular values do.
    assert energy <= np.sum(values**2) - np.sum(values[:k] ** 2) + 1e-12
    # The prior stays N(0, I): the covariances differ by the dropped part alone.
    covariances = [
        a.T @ a for a in (network["first"].arrays["kernel"], found["first"].arrays["kernel"])
    ]
    assert np.trace(covariances[0] - covariances[1]) == pytest.approx(energy)
    assert f"{energy:.6g}" in found.notes[0]


def test_a_smaller_latent_of_a_narrow_layer_is_exact() -> None:
    model = stack((5,), layers.Dense(3, name="first"))
    assert rules.dropped_energy(read(model), 3) == pytest.approx(0.0, abs=1e-20)
    found = rules.resize_latent(read(model), 3)
    latents = draws(model).astype(np.float64)
    directions = rules.latent_directions(read(model))[0][:, :3]
    np.testing.assert_allclose(
        evaluate(found, latents @ directions)[0], evaluate(read(model), latents)[0], atol=1e-12
    )


def test_what_cannot_be_resized() -> None:
    model = stack((5,), layers.Dense(3))
    network = read(model)
    assert rules.resize_latent(network, 5) is network
    for size in (0, 2.0):
        with pytest.raises(ValueError, match=f"latent_dim={size}"):
            rules.resize_latent(read(model), size)
    convolution = stack((5,), layers.Reshape((1, 1, 5)), layers.Conv2DTranspose(3, 4))
    with pytest.raises(ValueError, match="goes into 'reshape.*expected Dense"):
        rules.resize_latent(read(convolution), 3)
    shared = keras.Sequential([keras.Input((5,)), (dense := layers.Dense(5)), dense])
    with pytest.raises(ValueError, match="expected Dense layers called once"):
        rules.resize_latent(read(shared), 3)
    with pytest.raises(ValueError, match="expected one for latents"):
        rules.resize_latent(read(stack((5, 2), layers.Dense(3))), 3)


LAWS = {
    "uniform": scipy.stats.uniform(-1, 2),
    "truncated_normal": scipy.stats.truncnorm(-2, 2),
}


@pytest.mark.parametrize("prior", LAWS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transported_draws_have_the_sources_law(prior: str, dtype: str) -> None:
    layer = type(zoo.layers.prior_layer(prior))(dtype=dtype)
    noise = np.random.default_rng(0).normal(size=50_000).astype(dtype)
    found = np.asarray(layer(noise))
    assert found.dtype == dtype
    assert scipy.stats.kstest(found, LAWS[prior].cdf).pvalue > 0.01
    # Each draw keeps its quantile.
    wanted = LAWS[prior].ppf(scipy.stats.norm.cdf(np.clip(noise, -5, 5).astype(np.float64)))
    np.testing.assert_allclose(found, wanted, atol=2e-6 if dtype == "float32" else 1e-12)


def test_extreme_draws_stay_within() -> None:
    extremes = np.array([[-30.0, -6.0, 0.0, 6.0, 30.0]], np.float32)
    uniform = np.asarray(zoo.layers.UniformFromNormal()(extremes))
    assert np.all(np.abs(uniform) < 1)
    truncated = np.asarray(zoo.layers.TruncatedNormalFromNormal()(extremes))
    assert np.all(np.abs(truncated) <= 2 + 1e-6)
    assert np.all(np.diff(truncated) >= 0)
    assert np.all(np.isfinite(zoo.layers.HypersphereFromNormal()(0 * extremes)))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 2e-14)])
def test_the_inverse_error_function(dtype: str, tolerance: float) -> None:
    limit = math.erf(math.sqrt(2))
    x = np.linspace(-limit, limit, 10_001).astype(dtype)
    x[-1] = min(x[-1], limit)
    wanted = scipy.special.erfinv(x.astype(np.float64))
    found = np.asarray(priors._erfinv(x), np.float64)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hypersphere(dtype: str) -> None:
    noise = np.random.default_rng(0).normal(size=(20_000, 6)).astype(dtype)
    layer = zoo.layers.HypersphereFromNormal(dtype=dtype)
    found = np.asarray(layer(noise))
    np.testing.assert_allclose(np.sum(found**2, axis=1), 6.0, rtol=1e-6)
    # Uniform on the sphere: (x + √d) / (2 √d) of one coordinate is Beta((d − 1)/2, (d − 1)/2).
    law = scipy.stats.beta(2.5, 2.5)
    assert scipy.stats.kstest((found[:, 0] / math.sqrt(6) + 1) / 2, law.cdf).pvalue > 0.01
    np.testing.assert_allclose(np.asarray(layer(3 * noise)), found, rtol=1e-5)


@pytest.mark.parametrize("prior", ["uniform", "truncated_normal", "hypersphere"])
def test_transported_generators(prior: str, tmp_path: Path) -> None:
    model = stack((5,), layers.Dense(16, activation="tanh"), layers.Reshape((4, 4, 1)))
    network = rules.transport_prior(read(model), prior)
    noise = draws(model, 64)
    carried = np.asarray(zoo.layers.prior_layer(prior)(noise))
    found = build(network)
    np.testing.assert_array_equal(np.asarray(found(noise)), np.asarray(model(carried)))
    found.save(tmp_path / "generator.keras")
    again = keras.models.load_model(tmp_path / "generator.keras")
    np.testing.assert_array_equal(np.asarray(again(noise)), np.asarray(found(noise)))

    endpoint = Endpoint(
        "generate",
        {"latent": tensor("latent", (5,))},
        {"image": tensor("image", (4, 4, 1))},
        lambda z: {"image": found(z)},
        (found,),
    )
    exported = preflight([endpoint], 18)["generate"].SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    extremes = np.stack([np.full(5, x, np.float32) for x in (0.0, 4.0, -4.0)])
    for latents in (noise, extremes):
        (images,) = session.run(["image"], {"latent": latents})
        np.testing.assert_allclose(images, np.asarray(found(latents)), atol=2e-6)


def test_priors_by_name() -> None:
    network = read(stack((5,), layers.Dense(3)))
    assert rules.transport_prior(network, "standard_normal") is network
    with pytest.raises(ValueError, match="prior='cauchy': expected one of 'standard_normal'"):
        rules.transport_prior(network, "cauchy")
