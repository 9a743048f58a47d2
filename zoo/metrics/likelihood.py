"""Likelihood bounds and what a posterior uses."""

from __future__ import annotations

import numpy as np
import scipy.special


def iwae_bound(log_weights: np.ndarray) -> np.ndarray:
    """Log of (1/k) Σᵢ wᵢ: a lower bound on log p(x) that tightens with k (1509.00519, eq. 8).

    Args:
        log_weights: log p(x, z) − log q(z | x), float [k, batch], nats.

    Returns:
        float64 [batch], nats.

    Raises:
        ValueError: If `log_weights` is not [k, batch] with k ≥ 1, or holds NaN.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> metrics.iwae_bound(np.log([[1.0], [3.0]])).round(3)
        array([0.693])
    """
    log_weights = np.asarray(log_weights, np.float64)
    if log_weights.ndim != 2 or len(log_weights) == 0:
        msg = f"log_weights has shape {log_weights.shape}; expected [k, batch] with k ≥ 1."
        raise ValueError(msg)
    if np.isnan(log_weights).any():  # −inf is the weight of an impossible sample
        msg = f"log_weights holds {int(np.isnan(log_weights).sum())} NaN. Has the model diverged?"
        raise ValueError(msg)
    return scipy.special.logsumexp(log_weights, axis=0) - np.log(len(log_weights))


def bits_per_dim(nats: float, dims: int, levels: int = 256) -> float:
    """−log₂ of a pixel's probability, from a density over pixels in [0, 1].

    A pixel of one of `levels` grey levels fills 1 / `levels` of the range, so its probability is
    about density / levels: bits = −nats / (dims · ln 2) + log₂ levels (the convention of arXiv
    1705.07057, section 4.2, without the noise of dequantisation, so a bound does not follow).

    Args:
        nats: log p(x) of a whole image.
        dims: Pixels times channels.
        levels: Grey levels.

    Returns:
        Bits per pixel and channel.

    Example:
        >>> from zoo import metrics
        >>> metrics.bits_per_dim(0.0, dims=64)
        8.0
    """
    return float(-nats / (dims * np.log(2.0)) + np.log2(levels))


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Latent dimensions the posterior uses: Var_x(E_q[z_u]) > 0.01 (arXiv 1509.00519, section 5.2).

    Args:
        means: Posterior means over a data set, float [n, latent_dim].
        threshold: Variance above which a dimension is active.

    Returns:
        Their number.

    Raises:
        ValueError: If `means` is not [n, latent_dim] with n ≥ 1, or not finite.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> metrics.active_units(np.array([[0.0, 1.0], [0.0, -1.0]]))
        1
    """
    means = np.asarray(means, np.float64)
    if means.ndim != 2 or len(means) == 0:
        msg = f"means has shape {means.shape}; expected [n, latent_dim] with n ≥ 1."
        raise ValueError(msg)
    if not np.isfinite(means).all():  # a variance of NaN would count as inactive
        msg = f"means holds {int(np.sum(~np.isfinite(means)))} NaN or infinite values."
        raise ValueError(msg)
    return int(np.sum(np.var(means, axis=0) > threshold))
