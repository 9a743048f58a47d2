"""How like two images look to a network for photographs (arXiv 1801.03924)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from zoo.metrics.efficientnet_lite import LEVELS, pretrained_efficientnet_lite0, resized
from zoo.metrics.resizing import in_colour
from zoo.metrics.similarity import check_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zoo.io.types import Tensor

PART = 25  # images at a time, which bounds the memory
TINY = 1e-10  # added to a norm, as the authors' code does


def perceptual_distance(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance of images in the features of EfficientNet-Lite0, which comes with this package.

    It is `perceptual_loss` of `perceptual_levels`: the formula of LPIPS, over another network and
    without weights that were fitted to people's judgements. Its figures compare only among
    themselves; `lpips` is what papers report.

    Args:
        images: float [n, height, width, 1 or 3] in [0, 1], of any size.
        others: The images to compare them with, one by one; the same shape.

    Returns:
        float32 [n], at least 0; 0 for equal images.

    Raises:
        ValueError: If the shapes differ, there are no images, they are not finite in [0, 1], or
            have other channels than 1 or 3.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> images = np.random.default_rng(0).random((1, 16, 16, 3))
        >>> near, far = metrics.perceptual_distance(
        ...     np.repeat(images, 2, axis=0), np.concatenate([images**1.1, 1 - images])
        ... )
        >>> bool(near < far)
        True
    """
    return in_parts(_distance, images, others, PART)


def perceptual_diversity(images: np.ndarray) -> float:
    """Mean perceptual distance of the first image to the second, the third to the fourth, ….

    It is how LPIPS measures the diversity of samples (arXiv 1711.11586, section 5): a generator
    that has collapsed has about 0. Compare it with the figure of real images, not with 1.

    Args:
        images: float [n, height, width, 1 or 3] in [0, 1], n ≥ 2, in an order that means nothing,
            as samples are. Shuffle images that are sorted. The last of an odd number is left out.

    Returns:
        The mean over n // 2 pairs.

    Raises:
        ValueError: If there are fewer than two images, or as `perceptual_distance`.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> metrics.perceptual_diversity(np.full((4, 16, 16, 3), 0.5))
        0.0
    """
    pairs = len(images) // 2
    return float(np.mean(perceptual_distance(images[: 2 * pairs : 2], images[1 : 2 * pairs : 2])))


def perceptual_levels() -> keras.Model:
    """A network whose levels tell images apart, for `perceptual_loss`.

    Returns:
        EfficientNet-Lite0 with its ImageNet weights, not to be trained, from float32 images [batch,
        height, width, 3] in [0, 1] to a list of five levels [batch, height, width, channels], at
        1/2 to 1/32 of the size.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import metrics
        >>> [level.shape[-1] for level in metrics.perceptual_levels()(tf.zeros([1, 64, 64, 3]))]
        [16, 24, 40, 112, 320]
    """
    network = pretrained_efficientnet_lite0()
    levels = [network.output[f"level_{i + 1}"] for i in range(len(LEVELS))]
    model = keras.Model(network.input, levels, name="perceptual_levels")
    model.trainable = False
    return model


def perceptual_loss(network: keras.Model, images: Tensor, others: Tensor) -> Tensor:
    """Distance of images over the levels of a network, differentiable in both.

    Σₗ mean over places of ‖ŷₗ − ŷ'ₗ‖², where ŷₗ is level l with each pixel's channels divided by
    their norm (arXiv 1801.03924, eq. 1, with weights of 1).

    Args:
        network: Made by `perceptual_levels`.
        images: float32 [batch, height, width, 1 or 3] in [0, 1]; resized to 224 × 224.
        others: The images to compare them with, one by one; the same shape.

    Returns:
        float32 [batch], at least 0.

    Example:
        >>> import tensorflow as tf
        >>> from zoo import metrics
        >>> network, images = metrics.perceptual_levels(), tf.zeros([2, 32, 32, 1])
        >>> metrics.perceptual_loss(network, images, images).numpy()
        array([0., 0.], dtype=float32)
    """
    return level_distance(
        network(resized(images), training=False), network(resized(others), training=False)
    )


def level_distance(
    levels: Sequence[Tensor], others: Sequence[Tensor], weights: Sequence[Tensor] | None = None
) -> Tensor:
    """Σₗ mean over places of Σ_c w_lc (ŷ_lc − ŷ'_lc)² (arXiv 1801.03924, eq. 1), float32 [batch].

    Args:
        levels: Features of images, each float32 [batch, height, width, channels].
        others: Those of the other images.
        weights: One weight for each channel of each level, float32 [channels]; default: 1.
    """
    total = 0.0
    for i, (level, other) in enumerate(zip(levels, others, strict=True)):
        squares = tf.square(_normalised(level) - _normalised(other))
        if weights is not None:
            squares *= weights[i]
        total += tf.reduce_mean(tf.reduce_sum(squares, axis=-1), axis=[1, 2])
    return total


def _normalised(level: Tensor) -> Tensor:
    """Each pixel's channels, divided by their norm; where all are 0, so is the gradient's share."""
    squares = tf.reduce_sum(tf.square(level), axis=-1, keepdims=True)
    positive = squares > 0.0
    # The root's slope at 0 is infinite, and 0 · ∞ would be NaN: the root is taken of 1 there.
    norm = tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)
    return level / (norm + TINY)


def in_parts(
    load: Callable[[], Callable[[Any, Any], Tensor]],
    images: np.ndarray,
    others: np.ndarray,
    part: int,
) -> np.ndarray:
    """The distances [n] of images, `part` of them at a time; loaded once the images are checked.

    Raises:
        ValueError: As `perceptual_distance`.
    """
    images, others = check_pairs(images, others)
    images, others = (in_colour(x, "a perceptual distance") for x in (images, others))
    distance, starts = load(), range(0, len(images), part)
    return np.concatenate([distance(images[i : i + part], others[i : i + part]) for i in starts])


@cache
def _distance() -> Callable[[Any, Any], Tensor]:
    """`perceptual_loss` as a graph. The weights take seconds to load, so they are kept."""
    network = perceptual_levels()
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)] * 2

    @tf.function(input_signature=signature, autograph=False)
    def distance(images: Tensor, others: Tensor) -> Tensor:
        return perceptual_loss(network, images, others)

    return distance
