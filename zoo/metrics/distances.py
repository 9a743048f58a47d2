"""Distances between the distributions of two sets of features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg

from zoo.metrics.statistics import GaussianStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = 1000


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of Gaussians fitted to both (arXiv 1706.08500, eq. 6).

    Biased upwards by about 1/n: compare figures of the same number of samples only.

    Args:
        real: float [n, d], n ≥ 2.
        fake: float [m, d], m ≥ 2.

    Returns:
        The squared Fréchet distance, at least 0; in squared units of the features.

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real = np.random.default_rng(0).normal(size=(50, 4))
        >>> round(metrics.frechet_distance(real, real + 1.0), 6)
        4.0
    """
    real, fake = check_features(real, fake, at_least=2)
    return frechet_distance_of(*(_statistics(features) for features in (real, fake)))


def frechet_distance_of(real: GaussianStatistics, fake: GaussianStatistics) -> float:
    """The Fréchet distance of two Gaussians, as `frechet_distance` of the features themselves.

    Args:
        real: Statistics of real features, gathered or from a file.
        fake: Those of generated ones.

    Returns:
        The squared Fréchet distance, at least 0; in squared units of the features.

    Raises:
        ValueError: If the dimensions or the extractors differ, or there are fewer than two
            features.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real = np.random.default_rng(0).normal(size=(50, 4))
        >>> statistics = [metrics.GaussianStatistics.of(x) for x in (real, real + 1.0)]
        >>> round(metrics.frechet_distance_of(*statistics), 6)
        4.0
    """
    if len(real.mean) != len(fake.mean):
        msg = f"real features have d={len(real.mean)}, fake ones d={len(fake.mean)}."
        raise ValueError(msg)
    if None not in (names := (real.extractor, fake.extractor)) and names[0] != names[1]:
        msg = f"real features are of {names[0]}, fake ones of {names[1]}: they do not compare."
        raise ValueError(msg)
    first, second = real.covariance, fake.covariance
    # tr (Σ₁Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, whose argument is symmetric: no complex square roots.
    values, vectors = scipy.linalg.eigh(first, driver="evd", check_finite=False)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    between = scipy.linalg.eigvalsh(root @ second @ root, check_finite=False)
    mean_difference = real.mean - fake.mean
    distance = (
        mean_difference @ mean_difference
        + np.trace(first)
        + np.trace(second)
        - 2.0 * np.sum(np.sqrt(np.maximum(between, 0.0)))
    )
    return float(max(distance, 0.0))


def frechet_bias(real: GaussianStatistics, n: int, seed: int = 0) -> float:
    """The Fréchet distance that n samples of a perfect model would have, for Gaussian features.

    With n not far above d the covariance of n samples is far from that of their distribution, and
    the distance is mostly bias (arXiv 1911.07023).

    Args:
        real: Mean and covariance of real features.
        n: Number of samples, at least 2.
        seed: Seed of the n samples that are drawn from the Gaussian of `real`.

    Returns:
        Their Fréchet distance to it.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> features = np.random.default_rng(0).normal(size=(99, 8))
        >>> real = metrics.GaussianStatistics.of(features)
        >>> metrics.frechet_bias(real, 10) > metrics.frechet_bias(real, 1000)
        True
    """
    values, vectors = scipy.linalg.eigh(real.covariance, driver="evd", check_finite=False)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(seed)
    drawn = GaussianStatistics.empty(len(values))
    for start in range(0, n, 1000):
        noise = rng.standard_normal((min(1000, n - start), len(values)))
        drawn.add(real.mean + noise @ root.T)
    return frechet_distance_of(real, drawn)


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Unbiased MMD² with the kernel (x·y / d + 1)³ (KID; arXiv 1801.01401, eq. 4 and section 4).

    Over the whole sets, not averaged over blocks: for equal distributions its mean is 0, so it
    can be slightly negative.

    Args:
        real: float [n, d], n ≥ 2.
        fake: float [m, d], m ≥ 2.

    Returns:
        The squared distance.

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real, fake = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> metrics.kernel_distance(real, fake) < metrics.kernel_distance(real, fake + 1.0)
        True
    """
    return _squared_mmd(*check_features(real, fake, at_least=2))


def kernel_distance_over_subsets(
    real: np.ndarray, fake: np.ndarray, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """KID as papers report it: `kernel_distance` of random subsets (arXiv 1801.01401, section 4).

    The draws are those of torch-fidelity with `input1` generated and `rng_seed=seed`.

    Args:
        real: float [n, d], n ≥ `subset_size`.
        fake: float [m, d], m ≥ `subset_size`.
        subsets: Pairs of subsets.
        subset_size: Features of each, drawn without replacement.
        seed: Seed of the draws.

    Returns:
        (mean over the subsets, their standard deviation).

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are fewer than `subset_size`
            or not finite; or if `subsets` < 1 or `subset_size` < 2.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real, fake = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> mean, deviation = metrics.kernel_distance_over_subsets(real, fake + 1.0, 10, 40)
        >>> mean > deviation > 0.0
        True
    """
    if subsets < 1 or subset_size < 2:
        msg = f"subsets={subsets}, subset_size={subset_size}: expected at least 1 and 2."
        raise ValueError(msg)
    real, fake = check_features(real, fake, at_least=subset_size)
    rng = np.random.RandomState(seed)  # the reference's draws
    distances = []
    for _ in range(subsets):
        drawn = [
            features[rng.choice(len(features), subset_size, replace=False)]
            for features in (fake, real)
        ]
        distances.append(_squared_mmd(drawn[1], drawn[0]))
    return float(np.mean(distances)), float(np.std(distances))


def _statistics(features: np.ndarray) -> GaussianStatistics:
    statistics = GaussianStatistics.empty(features.shape[1])
    for part in parts_of(features):
        statistics.add(part)
    return statistics


def _squared_mmd(real: np.ndarray, fake: np.ndarray) -> float:
    def kernel_sum(a: np.ndarray, b: np.ndarray, *, diagonal: bool = True) -> float:
        total, d = 0.0, a.shape[1]
        for part in parts_of(a):
            total += sum(float(np.sum((part @ other.T / d + 1.0) ** 3)) for other in parts_of(b))
            if not diagonal:
                total -= float(np.sum((np.sum(part * part, axis=1) / d + 1.0) ** 3))
        return total

    n, m = len(real), len(fake)
    return (
        kernel_sum(real, real, diagonal=False) / (n * (n - 1))
        + kernel_sum(fake, fake, diagonal=False) / (m * (m - 1))
        - 2.0 * kernel_sum(real, fake) / (n * m)
    )


def parts_of(features: np.ndarray) -> Iterator[np.ndarray]:
    """The features in float64, 1,000 at a time: a copy of all would take twice their memory.

    Example:
        >>> import numpy as np
        >>> from zoo.metrics.distances import parts_of
        >>> [len(part) for part in parts_of(np.zeros((1500, 4), np.float32))]
        [1000, 500]
    """
    for start in range(0, len(features), PART):
        yield features[start : start + PART].astype(np.float64)


def check_features(
    real: np.ndarray, fake: np.ndarray, *, at_least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both as [n, d]: float32 as they are, others as float64.

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.
    """
    checked = []
    for name, features in (("real", real), ("fake", fake)):
        array = np.asarray(features)
        if array.dtype != np.float32:
            array = array.astype(np.float64, copy=False)
        if array.ndim != 2:
            msg = f"{name} features have shape {array.shape}; expected [n, d]."
            raise ValueError(msg)
        if len(array) < at_least:
            msg = f"{len(array)} {name} samples; expected at least {at_least}."
            raise ValueError(msg)
        if not np.all(np.isfinite(array)):
            msg = f"{name} features hold {int(np.sum(~np.isfinite(array)))} NaN or infinite values."
            raise ValueError(msg)
        checked.append(array)
    if checked[0].shape[1] != checked[1].shape[1]:
        msg = f"real features have d={checked[0].shape[1]}, fake ones d={checked[1].shape[1]}."
        raise ValueError(msg)
    return checked[0], checked[1]
