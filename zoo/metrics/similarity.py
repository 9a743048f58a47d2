"""How like two images are, pixel by pixel and patch by patch."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

PART = 100  # images at a time, which bounds the memory
# SSIM's window: a Gaussian of 11 × 11 pixels.
DEVIATION, REACH = 1.5, 5
WINDOW = 2 * REACH + 1
MEAN_CONSTANT, VARIANCE_CONSTANT = 0.01**2, 0.03**2


def psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio, 10 log₁₀ (1 / mean squared error).

    Args:
        images: float [n, height, width, channels] in [0, 1].
        others: The images to compare them with, one by one; the same shape.

    Returns:
        float64 [n], in decibels; infinite for equal images.

    Raises:
        ValueError: If the shapes differ, there are no images, or they are not finite in [0, 1].

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> metrics.psnr(np.zeros((1, 8, 8, 1)), np.full((1, 8, 8, 1), 0.1)).round(3)
        array([20.])
    """
    images, others = check_pairs(images, others)
    errors = np.square(images.astype(np.float64) - others).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return -10.0 * np.log10(errors)


def ssim(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 2004, eq. 13).

    Means over all places of a Gaussian window of 11 × 11 pixels with a deviation of 1.5, and over
    channels; K₁ = 0.01, K₂ = 0.03, as the paper has them. In float64: in float32 the variances of
    plain surfaces are noise.

    Args:
        images: float [n, height, width, channels] in [0, 1], at least 11 pixels on a side.
        others: The images to compare them with, one by one; the same shape.

    Returns:
        float64 [n] in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: If the shapes differ, there are no images, they are smaller than the window or
            not finite in [0, 1].

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> images = np.random.default_rng(0).random((2, 16, 16, 3))
        >>> metrics.ssim(images, images)
        array([1., 1.])
    """
    images, others = check_pairs(images, others)
    if min(images.shape[1:3]) < WINDOW:
        msg = f"Images of shape {images.shape[1:]}: SSIM needs {WINDOW} pixels on a side."
        raise ValueError(msg)
    starts = range(0, len(images), PART)
    return np.concatenate([_ssim(images[i : i + PART], others[i : i + PART]) for i in starts])


def _ssim(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    x, y = images.astype(np.float64), others.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    variances = _window(x * x) + _window(y * y) - mean_x**2 - mean_y**2
    covariance = _window(x * y) - mean_x * mean_y
    values = (2.0 * mean_x * mean_y + MEAN_CONSTANT) * (2.0 * covariance + VARIANCE_CONSTANT)
    values /= (mean_x**2 + mean_y**2 + MEAN_CONSTANT) * (variances + VARIANCE_CONSTANT)
    return values.mean(axis=(1, 2, 3))


def _window(values: np.ndarray) -> np.ndarray:
    """Means in the window, at the places where all of it is inside of the image."""
    means = gaussian_filter(values, DEVIATION, radius=REACH, axes=(1, 2))
    return means[:, REACH:-REACH, REACH:-REACH]


def check_pairs(images: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 [n, height, width, channels].

    Raises:
        ValueError: If the shapes differ, there are no images, or they are not finite in [0, 1].
    """
    images, others = np.asarray(images, np.float32), np.asarray(others, np.float32)
    if images.ndim != 4 or len(images) == 0 or images.shape != others.shape:
        msg = (
            f"Images of shapes {images.shape} and {others.shape}; expected twice the same "
            "[n, height, width, channels], n ≥ 1."
        )
        raise ValueError(msg)
    for each in (images, others):
        if not (each.min() >= 0.0 and each.max() <= 1.0):  # this way NaN fails too
            msg = (
                f"Images must be finite and in [0, 1]; these reach from {each.min()} to "
                f"{each.max()}."
            )
            raise ValueError(msg)
    return images, others
