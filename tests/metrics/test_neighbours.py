"""Nearest neighbours and the memorization score against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from zoo import metrics


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("sizes", [[100], [1, 2, 97], [50, 50]])
def test_neighbours_against_scikit_learn(sizes: list[int]) -> None:
    """However the training images are parted."""
    features, training = normal(0, 20, 6), normal(1, 100, 6)
    parts = np.split(training, np.cumsum(sizes)[:-1])
    distances, numbers = metrics.nearest_neighbours(features, iter(parts), k=4)
    search = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(training)
    expected, order = search.kneighbors(features)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(numbers, order)


def test_a_copy_is_at_distance_zero_and_the_first_of_two_wins() -> None:
    training = np.repeat(normal(0, 5, 64) + 10.0, 2, axis=0)
    distances, numbers = metrics.nearest_neighbours(training[[4]], [training[:5], training[5:]])
    assert (distances.item(), numbers.item()) == (0.0, 4)


def test_bad_neighbours_are_refused() -> None:
    two = normal(0, 2, 3)
    with pytest.raises(ValueError, match="2 training images; expected at least k=3"):
        metrics.nearest_neighbours(two, [two], k=3)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\)"):
        metrics.nearest_neighbours(two, [two[:, :2]])
    with pytest.raises(ValueError, match="k=0"):
        metrics.nearest_neighbours(two, [two], k=0)


@pytest.mark.parametrize("rounded", [False, True])  # rounded: many are equal
def test_memorization_score_is_mann_whitneys(rounded: bool) -> None:
    samples, tests = normal(0, 80) ** 2, normal(1, 50) ** 2 + 0.2
    if rounded:
        samples, tests = samples.round(1), tests.round(1)
    score = metrics.memorization_score(samples, tests)
    assert score == pytest.approx(scipy.stats.mannwhitneyu(tests, samples).statistic / (80 * 50))
    is_test = np.repeat([0, 1], [80, 50])
    assert score == pytest.approx(roc_auc_score(is_test, np.concatenate([samples, tests])))


def test_memorization_score_of_copies_of_novelties_and_of_the_data_themselves() -> None:
    training, tests = normal(0, 300, 4), normal(1, 200, 4)
    far = metrics.nearest_neighbours(tests, [training])[0][:, 0]
    for samples, low, high in [
        (training[:100], 1.0, 1.0),
        (training[:100] + 0.01 * normal(2, 100, 4), 0.95, 1.0),
        (normal(3, 200, 4), 0.4, 0.6),
        (normal(4, 200, 4) + 100.0, 0.0, 0.0),
    ]:
        near = metrics.nearest_neighbours(samples, [training])[0][:, 0]
        assert low <= metrics.memorization_score(near, far) <= high


def test_bad_distances_are_refused() -> None:
    for bad in ([], [[0.0]], [np.nan]):
        with pytest.raises(ValueError, match="tests: expected distances"):
            metrics.memorization_score([1.0], bad)
        with pytest.raises(ValueError, match="samples: expected distances"):
            metrics.memorization_score(bad, [1.0])
