"""Quantizers beside VQ-VAE's: against PyTorch, and FSQ against the code of its paper."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from tests.support import torch_quantized
from zoo.layers import FiniteScalarQuantizer, ResidualQuantizer, StraightThroughQuantizer

K, DIM = 7, 5
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 4, 3, DIM)).astype(np.float32)
CODEBOOK = RNG.normal(size=(K, DIM)).astype(np.float32)
WEIGHTS = RNG.normal(size=FEATURES.shape).astype(np.float32)  # of what comes after the vectors


def _with_codebook(quantizer: Any) -> Any:
    quantizer.codebook.assign(CODEBOOK)
    return quantizer


def test_the_trained_codebook_is_pytorchs() -> None:
    """Vectors, codes, both losses, and the gradients of features and codebook."""
    quantizer = _with_codebook(StraightThroughQuantizer(K, DIM))
    z, e = (torch.tensor(x, requires_grad=True) for x in (FEATURES, CODEBOOK))
    wanted, codes, loss = torch_quantized.straight_through(z, e, commitment=0.7)
    ((torch.tensor(WEIGHTS) * wanted).sum() + loss.sum()).backward()
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch([features, quantizer.codebook.value])
        quantized, found = quantizer(features)
        terms = quantizer.terms(features, quantized, found)
        ours = terms["codebook"] + 0.7 * terms["commitment"]
        total = tf.reduce_sum(WEIGHTS * quantized) + tf.reduce_sum(ours)
    slopes = tape.gradient(total, [features, quantizer.codebook.value])
    np.testing.assert_array_equal(found, codes)
    assert len(np.unique(found)) == K
    np.testing.assert_allclose(quantized, wanted.detach(), atol=1e-6)
    np.testing.assert_array_equal(quantized, quantizer.embed(found))
    np.testing.assert_allclose(ours, loss.detach(), rtol=1e-5)
    np.testing.assert_allclose(slopes[0], z.grad, atol=1e-5)
    np.testing.assert_allclose(tf.convert_to_tensor(slopes[1]), e.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 20.0])
def test_usage_is_pytorchs(temperature: float) -> None:
    """Where codes are sure, and where they are not; its gradients too."""
    quantizer = _with_codebook(StraightThroughQuantizer(K, DIM, temperature=temperature))
    z, e = (torch.tensor(x, requires_grad=True) for x in (FEATURES, CODEBOOK))
    wanted = torch_quantized.entropy(z, e, temperature)
    wanted.backward()
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch([features, quantizer.codebook.value])
        shares, entropies = quantizer.usage(features)
        mean = tf.reduce_mean(shares, axis=0)
        found = tf.reduce_mean(entropies) + tf.reduce_sum(tf.math.xlogy(mean, mean))
    assert shares.shape == (6, K)
    np.testing.assert_allclose(found, wanted.detach(), rtol=1e-4)
    slopes = tape.gradient(found, [features, quantizer.codebook.value])
    for ours, theirs in zip(slopes, (z.grad.numpy(), e.grad.numpy()), strict=True):
        assert np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(np.abs(theirs).max()))


def test_residual_codes_are_pytorchs() -> None:
    """Sums of codes, codes, the commitment and its gradient; what each code stands for."""
    quantizer = _with_codebook(ResidualQuantizer(K, DIM, depth=3))
    z = torch.tensor(FEATURES, requires_grad=True)
    wanted, codes, loss = torch_quantized.residual(z, torch.tensor(CODEBOOK), 3)
    ((torch.tensor(WEIGHTS) * wanted).sum() + loss.sum()).backward()
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        quantized, found = quantizer(features)
        commitment = quantizer.terms(features, quantized, found)["commitment"]
        total = tf.reduce_sum(WEIGHTS * quantized) + tf.reduce_sum(commitment)
    np.testing.assert_array_equal(found, codes)
    np.testing.assert_allclose(quantized, wanted.detach(), atol=1e-5)
    np.testing.assert_allclose(commitment, loss.detach(), rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, features), z.grad, atol=1e-4)
    targets = quantizer.targets(features, found).numpy()
    np.testing.assert_allclose(targets[..., 0, :], FEATURES)
    np.testing.assert_allclose(
        targets[..., 2, :], FEATURES - CODEBOOK[codes[..., :2]].sum(-2), atol=1e-5
    )
    # The statistics count a code once per depth that takes it.
    counts, sums = quantizer.statistics(targets, found)
    np.testing.assert_array_equal(counts, np.bincount(np.ravel(codes), minlength=K))
    one = targets[np.asarray(codes) == 2]
    np.testing.assert_allclose(sums[2], one.sum(0), rtol=1e-4, atol=1e-4)


class PapersFSQ:
    """The code of arXiv 2309.15505, appendix A.1, in NumPy and float64."""

    def __init__(self, levels: list[int]) -> None:
        self._levels = levels
        self._levels_np = np.asarray(levels)
        self._basis = np.concatenate(([1], np.cumprod(self._levels_np[:-1])))

    def bound(self, z: np.ndarray) -> np.ndarray:
        eps = 1e-3
        half_l = (self._levels_np - 1) * (1 - eps) / 2
        offset = np.where(self._levels_np % 2 == 1, 0.0, 0.5)
        shift = np.tan(offset / half_l)
        return np.tanh(z + shift) * half_l - offset

    def quantize(self, z: np.ndarray) -> np.ndarray:
        return np.round(self.bound(z)) / (self._levels_np // 2)

    def codes_to_indexes(self, zhat: np.ndarray) -> np.ndarray:
        zhat = (zhat * (self._levels_np // 2)) + self._levels_np // 2
        return (zhat * self._basis).sum(axis=-1).round().astype(np.uint32)

    def indexes_to_codes(self, indices: np.ndarray) -> np.ndarray:
        indices = indices[..., np.newaxis]
        digits = np.mod(np.floor_divide(indices, self._basis), self._levels_np)
        return (digits - self._levels_np // 2) / (self._levels_np // 2)


@pytest.mark.parametrize("levels", [[8, 6, 5], [7, 5, 5], [2, 3, 4]])
def test_fsq_is_the_papers(levels: list[int]) -> None:
    paper, quantizer = PapersFSQ(levels), FiniteScalarQuantizer(levels)
    z = 2.0 * RNG.normal(size=(200, 5, 4, len(levels)))
    bounded = paper.bound(z)
    near = np.abs(bounded - np.floor(bounded) - 0.5) < 1e-4  # where rounding decides
    z = np.where(near, 0.3, z).astype(np.float32)
    quantized, codes = quantizer(z)
    np.testing.assert_allclose(quantizer.bounded(z), paper.bound(z), atol=2e-6)
    np.testing.assert_allclose(quantized, paper.quantize(z), atol=1e-6)
    np.testing.assert_array_equal(codes, paper.codes_to_indexes(paper.quantize(z)))
    assert len(np.unique(codes)) > 0.9 * quantizer.num_codes
    np.testing.assert_array_equal(quantized, quantizer.embed(codes))


@pytest.mark.parametrize("levels", [[8, 6, 5], [2, 3, 4]])
def test_codes_of_fsq_are_one_to_one(levels: list[int]) -> None:
    """Every index has a vector of its own, exact levels; and every vector its index."""
    quantizer = FiniteScalarQuantizer(levels)
    indices = np.arange(np.prod(levels), dtype=np.int32)
    assert quantizer.num_codes == len(indices)
    vectors = quantizer.embed(indices).numpy()
    assert len(np.unique(vectors, axis=0)) == len(indices)
    for i, level in enumerate(levels):
        half = level // 2
        wanted = (np.arange(level) - half).astype(np.float32) / np.float32(half)
        np.testing.assert_array_equal(np.unique(vectors[:, i]), wanted)
    np.testing.assert_array_equal(vectors, PapersFSQ(levels).indexes_to_codes(indices).astype("f"))
    # Features whose bound is the digit itself, to reach each code through `call`.
    np_levels = np.array(levels)
    half = (np_levels - 1) * (1 - 1e-3) / 2
    offset = np.where(np_levels % 2 == 1, 0.0, 0.5)
    inner = np.clip((vectors * (np_levels // 2) + offset) / half, -0.999, 0.999)
    z = (np.arctanh(inner) - np.tan(offset / half)).astype(np.float32)
    np.testing.assert_array_equal(quantizer(z)[1], indices)


def test_fsq_passes_the_gradient_of_its_bound() -> None:
    """By the derivative of tanh: the rounding counts as the identity."""
    levels = np.array([8, 5, 4])
    quantizer = FiniteScalarQuantizer([*levels])
    z = tf.constant(RNG.normal(size=(2, 3, 3, 3)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = tf.reduce_sum(quantizer(z)[0])
    half, offset = (levels - 1) * (1 - 1e-3) / 2, np.array([0.5, 0.0, 0.5])
    slope = half / np.cosh(z.numpy() + np.tan(offset / half)) ** 2 / (levels // 2)
    np.testing.assert_allclose(tape.gradient(total, z), slope, rtol=1e-4, atol=1e-6)
    assert not quantizer.weights


def test_features_that_are_no_numbers_have_a_code() -> None:
    """An overflow must end as a loss that is not finite, not as an index out of range."""
    quantizer = FiniteScalarQuantizer([3, 4])
    z = tf.constant([[[[np.nan, 0.0], [np.inf, -np.inf]]]])
    quantized, codes = quantizer(z)
    assert 0 <= np.min(codes) <= np.max(codes) < 12
    assert np.isnan(quantized[0, 0, 0, 0])


@pytest.mark.parametrize(
    "quantizer",
    [
        StraightThroughQuantizer(K, DIM, temperature=0.3),
        ResidualQuantizer(K, DIM, depth=2, decay=0.5),
        FiniteScalarQuantizer([3, 3, 2, 4, 5]),
    ],
    ids=["straight_through", "residual", "fsq"],
)
def test_they_are_saved_in_a_model(quantizer: Any, tmp_path: Any) -> None:
    inputs = keras.Input((4, 3, DIM))
    model = keras.Model(inputs, quantizer(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model(FEATURES), loaded(FEATURES), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.layers[-1].get_config() == quantizer.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StraightThroughQuantizer(0, 5), "num_codes=0, code_dim=5"),
        (lambda: StraightThroughQuantizer(7, 5, temperature=0.0), "temperature=0.0: expected"),
        (lambda: ResidualQuantizer(7, 5, depth=0), "depth=0: expected at least 1"),
        (lambda: FiniteScalarQuantizer([]), r"levels=\[\]: expected one number per feature"),
        (lambda: FiniteScalarQuantizer([5, 1]), r"levels=\[5, 1\]: expected"),
        (lambda: FiniteScalarQuantizer([5000] * 3), "product of at most 16,777,216"),
        (lambda: FiniteScalarQuantizer([5, 5])(FEATURES), "expected 2 channels"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
