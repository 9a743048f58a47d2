"""Distances between the distributions of two sets of features."""

from __future__ import annotations

import numpy as np


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
    first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    # tr (Σ₁Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, whose argument is symmetric: no complex square roots.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    between = np.linalg.eigvalsh(root @ second @ root)
    mean_difference = np.mean(real, axis=0) - np.mean(fake, axis=0)
    distance = (
        mean_difference @ mean_difference
        + np.trace(first)
        + np.trace(second)
        - 2.0 * np.sum(np.sqrt(np.maximum(between, 0.0)))
    )
    return float(max(distance, 0.0))


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
    real, fake = check_features(real, fake, at_least=2)

    def kernel_sum(a: np.ndarray, b: np.ndarray, *, diagonal: bool = True) -> float:
        total = 0.0
        for start in range(0, len(a), 1000):
            total += float(np.sum((a[start : start + 1000] @ b.T / a.shape[1] + 1.0) ** 3))
        if not diagonal:
            total -= float(np.sum((np.sum(a * b, axis=1) / a.shape[1] + 1.0) ** 3))
        return total

    n, m = len(real), len(fake)
    return (
        kernel_sum(real, real, diagonal=False) / (n * (n - 1))
        + kernel_sum(fake, fake, diagonal=False) / (m * (m - 1))
        - 2.0 * kernel_sum(real, fake) / (n * m)
    )


def check_features(
    real: np.ndarray, fake: np.ndarray, *, at_least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [n, d].

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.
    """
    checked = []
    for name, features in (("real", real), ("fake", fake)):
        array = np.asarray(features, np.float64)
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
