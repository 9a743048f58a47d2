"""What samples show beside training images. Pure functions of arrays, to a finding or None.

Images are float [n, height, width, channels] in [0, 1]. Distances are Euclidean, of pixels: they
need no other network, and tell what is looked for here. The figures of the pretrained models that
the thresholds name are of 500 samples and 500 images of Fashion-MNIST.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from zoo import metrics
from zoo.evaluation.findings import Finding

ALIKE = 0.5  # the pretrained models have 0.78 to 1.01
COVERED = 0.1  # the pretrained models have 0.36 to 0.99
# The pretrained models have −0.11 to 0.02.
SATURATED = 0.25
FULL, EMPTY = 0.99, 0.01  # beyond them the slope of a sigmoid is below 0.01, of at most 0.25
UNSETTLED = 0.5  # the pretrained models have 0.02 to 0.08


def mode_collapse(real: np.ndarray, fake: np.ndarray) -> Finding | None:
    """Whether samples are alike: their mean distance is below half of that of training images.

    Args:
        real: Training images, at least 2.
        fake: Samples, at least 2.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_samples import mode_collapse
        >>> real = np.random.default_rng(0).random((20, 8, 8, 1))
        >>> mode_collapse(real, np.repeat(real[:1], 20, axis=0)).name
        'mode collapse'
        >>> mode_collapse(real, real[::-1]) is None
        True
    """
    ratio = spread(fake) / max(spread(real), 1e-12)
    if ratio >= ALIKE:
        return None
    return Finding(
        "mode collapse",
        f"two samples differ by {ratio:.2g} of what two training images do (below {ALIKE}).",
        "For a GAN: a gradient penalty (--option regularizer=r1, or the models wgan_gp and r3gan), "
        "a lower learning rate, and an average of the generator (--option ema=0.99). For a VAE see "
        "posterior collapse.",
        "arXiv 1701.00160, section 5.1.1; 1704.00028; 1801.04406",
    )


def missed_data(real: np.ndarray, fake: np.ndarray) -> Finding | None:
    """Whether samples differ from each other, and yet most training images have none near them.

    Coverage (arXiv 2002.09797, eq. 4, k = 5) is the share of training images whose ball, out to
    their fifth neighbour, holds a sample. The same distribution has 0.97; below 0.1 it is reported,
    unless `mode_collapse` tells why.

    Args:
        real: Training images, more than 5.
        fake: Samples, more than 5.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_samples import missed_data
        >>> real = np.random.default_rng(0).random((20, 8, 8, 1))
        >>> missed_data(0.1 * real, 0.5 + real / 2).seen
        '0 % of training images have a sample near them (below 10 %).'
        >>> missed_data(real, real) is None
        True
    """
    coverage = metrics.density_coverage(_flat(real), _flat(fake))[1]
    if coverage >= COVERED or spread(fake) < ALIKE * spread(real):
        return None
    return Finding(
        "samples miss the data",
        f"{100 * coverage:.0f} % of training images have a sample near them (below "
        f"{100 * COVERED:.0f} %).",
        "Train longer if the samples have no shape yet. Samples that are good, but few kinds of "
        "what is in the data, are a mode collapse.",
        "arXiv 2002.09797",
    )


def saturated_outputs(real: np.ndarray, fake: np.ndarray) -> Finding | None:
    """Whether far more pixels of samples than of training images are black or white.

    The last sigmoid, or tanh, then passes on next to no gradient. The data say how many pixels are
    rightly so: a quarter of all pixels beyond them is too much.

    Args:
        real: Training images.
        fake: Samples.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_samples import saturated_outputs
        >>> saturated_outputs(np.full((2, 8, 8, 1), 0.5), np.ones((2, 8, 8, 1))).seen
        '100 % of pixels of samples are black or white, and 0 % of the data (above 25 % more).'
    """
    of_fake, of_real = (float(((x > FULL) | (x < EMPTY)).mean()) for x in (fake, real))
    if of_fake - of_real <= SATURATED:
        return None
    return Finding(
        "saturated outputs",
        f"{100 * of_fake:.0f} % of pixels of samples are black or white, and {100 * of_real:.0f} % "
        f"of the data (above {100 * SATURATED:.0f} % more).",
        "A third of the learning rate, and a new run: units that are saturated do not come back. "
        "With a network of your own, make its last weights smaller.",
        "Glorot and Bengio 2010 (AISTATS), section 3",
    )


def unsettled_statistics(samples: np.ndarray, recomputed: np.ndarray) -> Finding | None:
    """Whether BatchNorm's moving statistics are not yet those of the network.

    They are not if images of the same latents, with moving statistics and with those of the batch,
    differ by half of what images of different latents do.

    Args:
        samples: As the model makes them.
        recomputed: Images of the same latents, with BatchNorm's statistics of their batch.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_samples import unsettled_statistics
        >>> images = np.random.default_rng(0).random((20, 8, 8, 1))
        >>> unsettled_statistics(np.full_like(images, 0.5), images).name
        'BatchNorm not converged'
        >>> unsettled_statistics(images, images) is None
        True
    """
    apart = np.linalg.norm(_flat(samples) - _flat(recomputed), axis=1).mean()
    ratio = apart / max(spread(recomputed), 1e-12)
    if ratio <= UNSETTLED:
        return None
    return Finding(
        "BatchNorm not converged",
        f"with its moving statistics an image lies {ratio:.2g} of the distance between two images "
        f"from what it is with those of its batch (above {UNSETTLED}).",
        "The moving statistics lag by some hundred updates: train longer, in smaller batches. The "
        "networks may be better than the samples show.",
        "arXiv 1502.03167, section 3.1; 1809.11096, appendix",
    )


def spread(images: np.ndarray) -> float:
    """The mean distance between two of the images.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_samples import spread
        >>> spread(np.stack([np.zeros((8, 8, 1)), np.ones((8, 8, 1))]))
        8.0
    """
    return float(pdist(_flat(images)).mean())


def _flat(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float64).reshape(len(images), -1)
