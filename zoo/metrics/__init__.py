"""How close generated images are to real ones, and how likely real ones are under a model.

Sample metrics compare features [n, d] of real and generated images; `load_extractor` gives the
features. They are pure functions of arrays and never of models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.metrics.disentanglement import dci, mutual_information_gap, sap
from zoo.metrics.distances import (
    frechet_bias,
    frechet_distance,
    frechet_distance_of,
    kernel_distance,
    kernel_distance_over_subsets,
)
from zoo.metrics.features import (
    FeatureExtractor,
    is_built_in,
    list_extractors,
    load_extractor,
    register_extractor,
)
from zoo.metrics.likelihood import active_units, bits_per_dim, iwae_bound
from zoo.metrics.manifold import density_coverage, precision_recall
from zoo.metrics.neighbours import memorization_score, nearest_neighbours
from zoo.metrics.path_length import perceptual_path_length
from zoo.metrics.perceptual import (
    perceptual_distance,
    perceptual_diversity,
    perceptual_levels,
    perceptual_loss,
)
from zoo.metrics.scores import inception_score
from zoo.metrics.similarity import psnr, ssim
from zoo.metrics.statistics import GaussianStatistics
from zoo.metrics.vgg import lpips

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "FeatureExtractor",
    "GaussianStatistics",
    "active_units",
    "bits_per_dim",
    "dci",
    "density_coverage",
    "frechet_bias",
    "frechet_distance",
    "frechet_distance_of",
    "generation_metrics",
    "inception_score",
    "is_built_in",
    "iwae_bound",
    "kernel_distance",
    "kernel_distance_over_subsets",
    "list_extractors",
    "load_extractor",
    "lpips",
    "memorization_score",
    "mutual_information_gap",
    "nearest_neighbours",
    "perceptual_distance",
    "perceptual_diversity",
    "perceptual_levels",
    "perceptual_loss",
    "perceptual_path_length",
    "precision_recall",
    "psnr",
    "register_extractor",
    "sap",
    "ssim",
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
