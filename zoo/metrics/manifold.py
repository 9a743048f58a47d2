"""Quality and diversity apart, through balls that reach to the k-th neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from zoo.metrics.distances import PART, check_features

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1000
HELD = 1 << 22  # distances that are held at a time: 32 MB, and 155 MB with what compares them
DOUBLE = np.finfo(np.float64).eps


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
    for start, distances, error in _squared_distances(fake, real):
        around = fake_radii[start : start + len(distances), None]
        near = _near(distances, real_radii, error) | _near(distances, around, error)
        _settle(distances, near, fake[start:], real)
        precise += int((distances <= real_radii).any(axis=1).sum())
        recalled |= (distances <= around).any(axis=0)
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
    for start, distances, error in _squared_distances(fake, real):
        _settle(distances, _near(distances, radii, error), fake[start:], real)
        within = distances < radii
        inside += int(within.sum())
        covered |= within.any(axis=0)
    return inside / (k * len(fake)), float(covered.mean())


def _check(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Both in one type, as `check_features` gives them."""
    if k < 1:
        msg = f"k={k}: expected a number of neighbours, at least 1."
        raise ValueError(msg)
    real, fake = check_features(real, fake, at_least=k + 1)
    dtype = np.result_type(real, fake)
    return real.astype(dtype, copy=False), fake.astype(dtype, copy=False)


def _squared_radii(features: np.ndarray, k: int) -> np.ndarray:
    """Squared distance of each to its k-th neighbour; itself, at distance 0, is not one."""
    radii = []
    for start, distances, error in _squared_distances(features, features):
        at_most = distances + error
        at_most.partition(k, axis=1)
        np.subtract(distances, error, out=distances)
        near = ~(distances > at_most[:, k, None])  # the nearest k + 1, and what may be as near
        for point, row in zip(features[start:], near, strict=False):
            radii.append(np.partition(_differences(point, features, np.flatnonzero(row)), k)[k])
    return np.array(radii)


def _squared_distances(
    a: np.ndarray, b: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(start, squared distances of a chunk of `a` from `start` on to all of `b`, their error).

    They are ‖a‖² + ‖b‖² − 2 a·b, a matrix product, which is many times faster than differences and
    off by rounding. The error says how far at most: |fl(a·b) − a·b| ≤ γ ‖a‖ ‖b‖ with γ ≤ d ε in
    whatever order the d products are added (Higham, Accuracy and Stability of Numerical Algorithms,
    section 3.1), 2 ‖a‖ ‖b‖ ≤ ‖a‖² + ‖b‖², and `_differences` round too. Each product that is too
    small for the type is off by its smallest number at most. One that is too large makes the
    distance NaN, which no comparison takes for certain.
    """
    kind, d = np.finfo(a.dtype), a.shape[1]
    a_norms, b_norms = _squared_norms(a), _squared_norms(b)
    relative, absolute = (d + 3) * (kind.eps + DOUBLE), 2.0 * d * kind.tiny
    rows = max(1, min(CHUNK, HELD // len(b)))
    for start in range(0, len(a), rows):
        norms = a_norms[start : start + rows, None] + b_norms
        with np.errstate(over="ignore", invalid="ignore"):
            products = a[start : start + rows] @ b.T
            products *= -2.0
        products[~np.isfinite(products)] = np.nan
        distances = norms + products
        del products
        norms *= relative
        norms += absolute
        yield start, distances, norms


def _squared_norms(features: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", features, features, dtype=np.float64)


def _near(distances: np.ndarray, limits: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Where rounding could decide whether a distance is below a limit."""
    apart = distances - limits
    return ~(np.abs(apart, out=apart) > error)


def _settle(distances: np.ndarray, near: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Puts exact distances in, of rows of `a` to `b`, where they are `near` a limit."""
    for row in np.flatnonzero(near.any(axis=1)):
        columns = np.flatnonzero(near[row])
        distances[row, columns] = _differences(a[row], b, columns)


def _differences(point: np.ndarray, others: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Squared distances of a point to chosen others, from differences.

    Equal points are at distance 0 exactly, and a pair has one distance in either order, so points
    on a ball's surface fall to the right side.
    """
    parts = [
        cdist(point[None], others[chosen[i : i + PART]], "sqeuclidean")[0]
        for i in range(0, len(chosen), PART)
    ]
    return np.concatenate(parts)
