"""How sure a classifier is of each image, and how many classes it sees in all of them."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy


def inception_score(
    probabilities: np.ndarray, splits: int = 10, seed: int | None = None
) -> tuple[float, float]:
    """The Inception score exp E[KL(p(y | x) ‖ p(y))] (arXiv 1606.03498, section 4).

    Args:
        probabilities: p(y | x) of generated images by a classifier, float [n, classes],
            n ≥ `splits`. Published scores are of the extractor `inception_fid`.
        splits: Parts that the score is computed of, each with its own p(y).
        seed: Shuffles the images first, as torch-fidelity does with `rng_seed=seed` (2020 there).
            None keeps their order.

    Returns:
        (mean over the splits, their standard deviation); from 1 to the number of classes, and the
        higher the better.

    Raises:
        ValueError: If `probabilities` are none, or fewer than `splits`.

    Example:
        >>> import numpy as np
        >>> from zoo import metrics
        >>> scores = metrics.inception_score(np.tile(np.eye(5), (4, 1)), splits=2)
        >>> np.round(scores, 6).tolist()
        [5.0, 0.0]
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or not np.all((p >= 0.0) & (p <= 1.0 + 1e-5)):
        msg = f"Values of shape {p.shape}: expected probabilities [n, classes] in [0, 1]."
        raise ValueError(msg)
    if not 1 <= splits <= len(p):
        msg = f"splits={splits}: expected 1 to {len(p)}, the number of images."
        raise ValueError(msg)
    if seed is not None:
        p = p[np.random.RandomState(seed).permutation(len(p))]  # the reference's draws
    scores = []
    for i in range(splits):
        part = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        divergences = np.sum(xlogy(part, part) - xlogy(part, part.mean(axis=0)), axis=1)
        scores.append(np.exp(np.mean(divergences)))
    return float(np.mean(scores)), float(np.std(scores))
