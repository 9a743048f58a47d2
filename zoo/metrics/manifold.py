"""Quality and diversity apart, through balls that reach to the k-th neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.metrics.distances import check_features

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1000


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (arXiv 1904.06991, eq. 1 and 2).

    Args:
        real: float [n, d], n > k.
        fake: float [m, d], m > k.
        k: Neighbours; the paper's 3.

    Returns:
        (share of fakes within a real sample's ball, share of reals within a fake's), in [0, 1].

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.
    """
    real, fake = check_features(real, fake, at_least=k + 1)
    return _covered(fake, real, k), _covered(real, fake, k)


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797, eq. 3 and 4).

    Args:
        real: float [n, d], n > k.
        fake: float [m, d], m > k.
        k: Neighbours; the paper's 5.

    Returns:
        (mean number of real balls around a fake, divided by k: about 1 for equal distributions and
        not bounded by 1; share of real balls that hold a fake, in [0, 1]).

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.
    """
    real, fake = check_features(real, fake, at_least=k + 1)
    radii = _squared_radii(real, k)
    inside = 0
    covered = np.zeros(len(real), bool)
    for distances in _squared_distances(fake, real):
        within = distances <= radii
        inside += int(within.sum())
        covered |= within.any(axis=0)
    return inside / (k * len(fake)), float(covered.mean())


def _covered(points: np.ndarray, manifold: np.ndarray, k: int) -> float:
    """Share of `points` within a ball of `manifold`."""
    radii = _squared_radii(manifold, k)
    hits = [(d <= radii).any(axis=1) for d in _squared_distances(points, manifold)]
    return float(np.concatenate(hits).mean())


def _squared_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each to its k-th neighbour; itself, at distance 0, is not one."""
    return np.concatenate(
        [np.partition(d, k, axis=1)[:, k] for d in _squared_distances(features, features)]
    )


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances of chunks of `a` to all of `b`; float64, so cancellation is harmless."""
    norms = np.sum(b * b, axis=1)
    for start in range(0, len(a), CHUNK):
        rows = a[start : start + CHUNK]
        squared = np.sum(rows * rows, axis=1)[:, None] + norms - 2.0 * (rows @ b.T)
        yield np.maximum(squared, 0.0)
