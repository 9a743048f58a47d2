"""How smoothly images change along paths in latent space."""

from __future__ import annotations

import numpy as np


def perceptual_path_length(
    distances: np.ndarray,
    epsilon: float = 1e-4,
    discard: tuple[float, float] | None = (1.0, 99.0),
) -> tuple[float, float]:
    """E[d(G(z(t)), G(z(t + ε))) / ε²] (arXiv 1812.04948, section 4.1).

    Args:
        distances: Perceptual distances d of pairs of images whose latents lie ε apart on a path,
            float [n]. Published figures are of LPIPS.
        epsilon: ε, as a share of the path.
        discard: Percentiles outside of which distances do not count, as in the authors' code.

    Returns:
        (mean, standard deviation); the lower the better.

    Raises:
        ValueError: If there are no distances, one is negative or not finite, or ε is not positive.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> metrics.perceptual_path_length(np.full(100, 0.25), epsilon=0.5)
        (1.0, 0.0)
    """
    distances = np.asarray(distances, np.float64)
    if distances.ndim != 1 or not len(distances) or not np.all(distances >= 0.0):
        msg = f"Distances of shape {distances.shape}: expected [n], n ≥ 1, at least 0 and finite."
        raise ValueError(msg)
    if not (np.all(np.isfinite(distances)) and epsilon > 0.0):
        msg = f"epsilon={epsilon}: expected a number over 0, and finite distances."
        raise ValueError(msg)
    lengths = distances / epsilon**2
    if discard is not None:
        low = np.percentile(lengths, discard[0], method="lower")
        high = np.percentile(lengths, discard[1], method="higher")
        lengths = lengths[(lengths >= low) & (lengths <= high)]
    return float(np.mean(lengths)), float(np.std(lengths))
