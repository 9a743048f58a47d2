"""The nearest training images of samples, and whether samples copy them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest_neighbours(
    features: np.ndarray, parts: Iterable[np.ndarray], k: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest training images of each sample, by Euclidean distance of features.

    Training features come in parts, each seen once. Beside a part, only the k nearest so far are
    held.

    Args:
        features: Features of samples, float [n, d].
        parts: Features of training images, each float [any, d].
        k: Neighbours.

    Returns:
        Distances, float64 [n, k], rising; and the numbers of the training images, in the order of
        the parts, int64 [n, k]. Of equal distances the first image comes first.

    Raises:
        ValueError: If the parts hold fewer than k images, or features are not [n, d] with one d.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> parts = [np.array([[0.0], [5.0]]), np.array([[7.0]])]
        >>> distances, numbers = metrics.nearest_neighbours(np.array([[6.5]]), parts, k=2)
        >>> distances.tolist(), numbers.tolist()
        ([[0.5, 1.5]], [[2, 1]])
    """
    if k < 1:
        msg = f"k={k}: expected a number of neighbours, at least 1."
        raise ValueError(msg)
    features = np.asarray(features)
    best = np.full((len(features), 0), np.inf)
    numbers = np.zeros((len(features), 0), np.int64)
    seen = 0
    for part in parts:
        if features.ndim != 2 or part.ndim != 2 or part.shape[1] != features.shape[1]:
            msg = f"Features of shapes {features.shape} and {part.shape}; expected [n, d], one d."
            raise ValueError(msg)
        new = np.broadcast_to(np.arange(seen, seen + len(part)), (len(features), len(part)))
        best = np.concatenate([best, cdist(features, part)], axis=1)
        numbers = np.concatenate([numbers, new], axis=1)
        order = np.argsort(best, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, order, axis=1)
        numbers = np.take_along_axis(numbers, order, axis=1)
        seen += len(part)
    if seen < k:
        msg = f"{seen} training images; expected at least k={k}."
        raise ValueError(msg)
    return best, numbers


def memorization_score(samples: np.ndarray, tests: np.ndarray) -> float:
    """The share of samples that are nearer to a training image than test images are.

    Over all pairs of a sample and a test image: how often the sample's distance to its nearest
    training image is less than the test image's to its own. An equal distance counts half. It is
    the statistic of the test for data-copying of arXiv 2004.05675, Mann and Whitney's U divided by
    the number of pairs, over the whole space and not by its cells.

    Args:
        samples: Distances of samples to their nearest training images, float [n].
        tests: Those of test images, which the model has not seen, float [m].

    Returns:
        In [0, 1]. About 0.5 if samples are as new as test images are; near 1 if they copy; under
        0.5 if they are unlike the data. Samples that are poor and copied at once can hide it: look
        at the neighbours too.

    Raises:
        ValueError: If there are no distances, or they hold NaN.

    Example:
        >>> from zoo import metrics
        >>> metrics.memorization_score([0.0, 0.1, 3.0], [1.0, 2.0])
        0.6666666666666666
    """
    samples, tests = np.asarray(samples, np.float64), np.asarray(tests, np.float64)
    for name, each in (("samples", samples), ("tests", tests)):
        if each.ndim != 1 or len(each) == 0 or np.isnan(each).any():
            msg = f"{name}: expected distances [n] without NaN, n ≥ 1; the shape is {each.shape}."
            raise ValueError(msg)
    n, m = len(samples), len(tests)
    ranks = rankdata(np.concatenate([tests, samples]))[:m]
    return float((ranks.sum() - m * (m + 1) / 2) / (n * m))
