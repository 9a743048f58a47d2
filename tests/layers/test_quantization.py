"""The vector quantizer against SciPy's nearest neighbours, NumPy's averages and scikit-learn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans

from zoo.core.replicas import all_reduce_sum
from zoo.layers.quantization import VectorQuantizer, commitment_loss, perplexity
from zoo.training import strategy

K, DIM = 7, 5
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(6, 4, 3, DIM)).astype(np.float32)
FLAT = FEATURES.reshape(-1, DIM)
DRAWS = RNG.random(K, np.float32)


def _quantizer(codebook: Any = None, **options: Any) -> VectorQuantizer:
    quantizer = VectorQuantizer(K, DIM, **options)
    quantizer.codebook.assign(FLAT[:K] if codebook is None else codebook)
    return quantizer


def _step(quantizer: VectorQuantizer, features: np.ndarray) -> None:
    _, codes = quantizer(features)
    flat = features.reshape(-1, DIM)
    quantizer.update(*quantizer.statistics(features, codes), flat, DRAWS)


@pytest.mark.parametrize("far", [0.0, 30.0])
def test_codes_are_the_nearest(far: float) -> None:
    features, codebook = FEATURES + np.float32(far), FLAT[:K] + np.float32(far)
    quantized, codes = _quantizer(codebook)(features)
    wanted = cdist(features.reshape(-1, DIM), codebook).argmin(1).reshape(6, 4, 3)
    assert codes.dtype == tf.int32
    np.testing.assert_array_equal(codes, wanted)
    np.testing.assert_array_equal(quantized, codebook[wanted])


def test_the_first_of_equal_codes() -> None:
    _, codes = _quantizer(np.zeros([K, DIM]))(FEATURES)
    np.testing.assert_array_equal(codes, np.zeros([6, 4, 3]))


def test_gradient_passes_straight_through() -> None:
    """∂L/∂z_e = ∂L/∂z_q (section 3.2), and the codebook takes none."""
    quantizer = _quantizer()
    features = tf.constant(FEATURES)
    weights = RNG.normal(size=FEATURES.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch([features, quantizer.codebook.value])
        quantized, codes = quantizer(features)
        loss = tf.reduce_sum(weights * quantized) + tf.reduce_sum(quantizer.embed(codes))
    found, codebook = tape.gradient(loss, [features, quantizer.codebook.value])
    np.testing.assert_array_equal(found, weights)
    assert codebook is None
    assert quantizer.trainable_variables == []


def test_commitment_loss() -> None:
    """Its gradient, 2 (z_e − e), goes to the features alone, whichever `quantized` it is given."""
    quantizer = _quantizer()
    features = tf.constant(FEATURES)
    with tf.GradientTape() as tape:
        tape.watch(features)
        quantized, codes = quantizer(features)
        found = commitment_loss(features, quantized)
    squares = cdist(FLAT, quantizer.codebook, "sqeuclidean").min(1)
    np.testing.assert_allclose(found, squares.reshape(6, -1).sum(1), rtol=1e-5)
    gradient = 2.0 * (FEATURES - quantizer.embed(codes).numpy())
    np.testing.assert_allclose(tape.gradient(found, features), gradient, rtol=1e-6)


def test_update_follows_the_equations() -> None:
    """Eq. 6 to 8 in float64, a code and a position at a time, over batches that drift."""
    decay, epsilon = 0.8, 1e-5
    quantizer = _quantizer(decay=decay, epsilon=epsilon)
    codebook = FLAT[:K].astype(np.float64)
    sizes, sums = np.zeros(K), np.zeros([K, DIM])
    for batch in range(4):
        features = FEATURES + np.float32(0.1 * batch)
        nearest = cdist(features.reshape(-1, DIM), codebook).argmin(1)
        for k in range(K):
            members = [z for z, i in zip(features.reshape(-1, DIM), nearest, strict=True) if i == k]
            sizes[k] = sizes[k] * decay + len(members) * (1 - decay)
            sums[k] = sums[k] * decay + np.sum(members, axis=0, dtype=np.float64) * (1 - decay)
        total = sizes.sum()
        assert sizes.min() > 0.1 * total / K  # none is dead
        for k in range(K):
            codebook[k] = sums[k] / ((sizes[k] + epsilon) / (total + K * epsilon) * total)
        _step(quantizer, features)
    # Float32 sums of some 70 terms.
    np.testing.assert_allclose(quantizer.cluster_sizes, sizes, rtol=1e-5)
    np.testing.assert_allclose(quantizer.cluster_sums, sums, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(quantizer.codebook, codebook, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("steps", [1, 50])
def test_without_decay_it_is_k_means(steps: int) -> None:
    """An update is a step of Lloyd's; many end where scikit-learn's k-means does."""
    quantizer = _quantizer(decay=0.0, epsilon=1e-7)  # as good as no smoothing
    for _ in range(steps):
        _step(quantizer, FEATURES)
    wanted = KMeans(K, init=FLAT[:K], n_init=1, max_iter=steps, tol=0.0, algorithm="lloyd")
    np.testing.assert_allclose(
        quantizer.codebook, wanted.fit(FLAT).cluster_centers_, rtol=1e-5, atol=1e-6
    )


def test_the_first_update_needs_no_start() -> None:
    """From averages of 0 the codebook goes to the means of its clusters, whatever the decay."""
    found, wanted = (_quantizer(decay=decay, epsilon=1e-9) for decay in (0.99, 0.0))
    _step(found, FEATURES)
    _step(wanted, FEATURES)
    np.testing.assert_allclose(found.codebook, wanted.codebook, rtol=1e-5, atol=1e-6)


def test_dead_codes_come_back() -> None:
    """A code without a position takes the candidate that its draw names, and is used."""
    far = FLAT[:K].copy()
    far[[2, 5]] += 100.0
    quantizer = _quantizer(far)
    _, codes = quantizer(FEATURES)
    counts, sums = quantizer.statistics(FEATURES, codes)
    assert [k for k in range(K) if counts[k] == 0] == [2, 5]
    candidates = FLAT[20:30]
    draws = np.full(K, np.nextafter(np.float32(1), np.float32(0)))
    draws[2] = 0.31
    quantizer.update(counts, sums, candidates, draws)
    np.testing.assert_array_equal(quantizer.codebook[2], candidates[3])
    np.testing.assert_array_equal(quantizer.codebook[5], candidates[9])
    mean = 0.01 * len(FLAT) / K
    np.testing.assert_allclose(quantizer.cluster_sizes.numpy()[[2, 5]], mean, rtol=1e-5)
    np.testing.assert_allclose(
        quantizer.cluster_sums.numpy()[[2, 5]], mean * candidates[[3, 9]], rtol=1e-5
    )
    _, codes = quantizer(FEATURES)
    assert set(codes.numpy().flat) == set(range(K))


def test_a_code_dies_below_a_tenth_of_even_usage() -> None:
    counts = np.full(K, 100.0, np.float32)
    threshold = 0.1 * 600 / (K - 0.1)  # n = 0.1 (600 + n) / K
    sums = counts[:, None] * FLAT[:K]
    for count, dead in ((1.01 * threshold, False), (0.99 * threshold, True)):
        counts[3], sums[3] = count, count * FLAT[3]
        quantizer = _quantizer(epsilon=1e-9)
        quantizer.update(counts, sums, FLAT[50:51], DRAWS)
        wanted = FLAT[50] if dead else FLAT[3]
        np.testing.assert_allclose(quantizer.codebook[3], wanted, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [6, 5], ids=["even", "uneven"])
def test_replicas_are_one_device(batch: int) -> None:
    """Statistics summed over two replicas update each copy as one device would."""

    def train(quantizer: VectorQuantizer, features: Any) -> None:
        _, codes = quantizer(features)
        counts, sums = all_reduce_sum(list(quantizer.statistics(features, codes)))
        quantizer.update(counts, sums, FLAT, DRAWS)

    start = FLAT[:K].copy()
    start[4] += 100.0  # to be revived
    one = _quantizer(start)
    two_devices = strategy("mirrored", replicas=2)
    with two_devices.scope():
        two = _quantizer(start)
    for shift in (0.0, 0.5):
        features = FEATURES[:batch] + np.float32(shift)
        tf.function(train)(one, features)
        parts = two_devices.experimental_distribute_values_from_function(
            lambda context, x=features: tf.constant(
                np.array_split(x, 2)[context.replica_id_in_sync_group]
            )
        )
        two_devices.run(tf.function(train), (two, parts))
    for a, b in zip(one.variables, two.variables, strict=True):
        first, second = two_devices.experimental_local_results(b.value)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, a, rtol=1e-5, atol=1e-6)  # sums in another order


def test_float32_under_mixed_precision() -> None:
    quantizer = _quantizer(dtype="mixed_float16")
    features = tf.cast(FEATURES, tf.float16)
    quantized, codes = quantizer(features)
    assert quantized.dtype == tf.float32
    assert all(v.dtype == "float32" for v in quantizer.variables)
    np.testing.assert_array_equal(
        codes.numpy().ravel(), cdist(features.numpy().reshape(-1, DIM), FLAT[:K]).argmin(1)
    )


def test_it_is_saved_in_a_model(tmp_path: Any) -> None:
    inputs = keras.Input((4, 3, DIM))
    quantizer = _quantizer(decay=0.9, epsilon=1e-3)
    model = keras.Model(inputs, quantizer(inputs))
    _step(quantizer, FEATURES)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model(FEATURES), loaded(FEATURES), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.layers[-1].get_config() == quantizer.get_config()
    for a, b in zip(quantizer.variables, loaded.layers[-1].variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_perplexity() -> None:
    np.testing.assert_allclose(perplexity(tf.constant([5.0, 5.0, 0.0, 5.0])), 3.0, rtol=1e-6)
    np.testing.assert_allclose(perplexity(tf.constant([0.0, 9.0])), 1.0)
    np.testing.assert_allclose(perplexity(tf.zeros([3])), 1.0)
    p = np.array([0.5, 0.25, 0.25])  # 1.5 bits
    np.testing.assert_allclose(perplexity(tf.constant(8 * p, tf.float32)), 2**1.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_codes": 0}, "num_codes=0, code_dim=5"),
        ({"code_dim": 0}, "num_codes=7, code_dim=0"),
        ({"decay": 1.0}, "decay=1.0: expected"),
        ({"decay": -0.1}, "decay=-0.1: expected"),
        ({"epsilon": 0.0}, "epsilon=0.0: expected"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(**{"num_codes": K, "code_dim": DIM, **options})


def test_features_of_other_channels() -> None:
    with pytest.raises(ValueError, match="expected 5 channels"):
        _quantizer()(np.zeros([2, 4, 3, 10], np.float32))
