"""How close generated images are to real ones, and how likely real ones are under a model.

Sample metrics compare features [n, d] of real and generated images; `load_extractor` gives the
features. They are pure functions of arrays and never of models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.metrics.disentanglement import dci, mutual_information_gap, sap
from zoo.metrics.distances import frechet_distance, kernel_distance
from zoo.metrics.features import (
    FeatureExtractor,
    list_extractors,
    load_extractor,
    register_extractor,
)
from zoo.metrics.likelihood import active_units, bits_per_dim, iwae_bound
from zoo.metrics.manifold import density_coverage, precision_recall

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "FeatureExtractor",
    "active_units",
    "bits_per_dim",
    "dci",
    "density_coverage",
    "frechet_distance",
    "generation_metrics",
    "iwae_bound",
    "kernel_distance",
    "list_extractors",
    "load_extractor",
    "mutual_information_gap",
    "precision_recall",
    "register_extractor",
    "sap",
]


def generation_metrics(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """All sample metrics.

    Args:
        real: Features of real images, float [n, d].
        fake: Features of generated images, float [m, d].

    Returns:
        `frechet_distance`, `kernel_distance`, `precision`, `recall`, `density`, `coverage`.

    Raises:
        ValueError: If the features have the wrong rank, differ in d, are too few or not finite.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> real, fake = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> sorted(metrics.generation_metrics(real, fake))
        ['coverage', 'density', 'frechet_distance', 'kernel_distance', 'precision', 'recall']
    """
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    return {
        "frechet_distance": frechet_distance(real, fake),
        "kernel_distance": kernel_distance(real, fake),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }
