"""Quality and diversity apart, through balls that reach to the k-th neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from zoo.metrics.distances import check_features, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1000
HELD = 1 << 23  # distances that are held at a time: 64 MB


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (arXiv 1904.06991, eq. 1 and 2).

    Args:
        real: float [n, d], n > k.
        fake: float [m, d], m > k.
        k: Neighbours; the paper's 3.

    Returns:
        (share of fakes within a real sample's ball, share of reals within a fake's), in [0, 1].

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite, or
            k < 1.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real = np.random.default_rng(0).normal(size=(50, 4))
        >>> metrics.precision_recall(real, real), metrics.precision_recall(real, real + 99.0)
        ((1.0, 1.0), (0.0, 0.0))
    """
    real, fake = _check(real, fake, k)
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    precise = 0
    recalled = np.zeros(len(real), bool)
    for start, distances in _squared_distances(fake, real):
        precise += int((distances <= real_radii).any(axis=1).sum())
        recalled |= (distances <= fake_radii[start : start + len(distances), None]).any(axis=0)
    return precise / len(fake), float(recalled.mean())


def density_coverage(real: np.ndarray, fake: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density and coverage (arXiv 2002.09797, eq. 3 and 4).

    The balls are open, as in the authors' code, so a set compared with itself has density 1;
    those of precision and recall are closed, as in their equation.

    Args:
        real: float [n, d], n > k.
        fake: float [m, d], m > k.
        k: Neighbours; the paper's 5.

    Returns:
        (mean number of real balls around a fake, divided by k: about 1 for equal distributions and
        not bounded by 1; share of real balls that hold a fake, in [0, 1]).

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite, or
            k < 1.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real = np.random.default_rng(0).normal(size=(50, 4))
        >>> metrics.density_coverage(real, real), metrics.density_coverage(real, real + 99.0)
        ((1.0, 1.0), (0.0, 0.0))
    """
    real, fake = _check(real, fake, k)
    radii = _squared_radii(real, k)
    inside = 0
    covered = np.zeros(len(real), bool)
    for _, distances in _squared_distances(fake, real):
        within = distances < radii
        inside += int(within.sum())
        covered |= within.any(axis=0)
    return inside / (k * len(fake)), float(covered.mean())


def _check(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    if k < 1:
        msg = f"k={k}: expected a number of neighbours, at least 1."
        raise ValueError(msg)
    return check_features(real, fake, at_least=k + 1)


def _squared_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each to its k-th neighbour; itself, at distance 0, is not one."""
    return np.concatenate(
        [np.partition(d, k, axis=1)[:, k] for _, d in _squared_distances(features, features)]
    )


def _squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(start, squared distances of a chunk of `a` from `start` on to all of `b`).

    From differences, not from ‖a‖² + ‖b‖² − 2 a·b: equal points are at distance 0 exactly, and a
    pair has one distance in either order, so points on a ball's surface fall to the right side.
    """
    rows = max(1, min(CHUNK, HELD // len(b)))
    for start in range(0, len(a), rows):
        part = a[start : start + rows].astype(np.float64)
        yield start, np.concatenate([cdist(part, each, "sqeuclidean") for each in parts_of(b)], 1)
