"""What posteriors, codes and weights show. Pure functions, to a finding or None."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from zoo import metrics
from zoo.evaluation.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

# A VAE leaves idle what it does not need: 19 of 50 units are active in arXiv 1509.00519, table 1.
# A tenth is no economy any more.
ACTIVE = 0.1
# Nats per active unit: a posterior e⁴ = 55 times as narrow as the prior, beyond what tells the
# images apart. The pretrained models have 0 to 2.6.
FAR = 4.0
# Half of the codes; and at least ten positions for each, so that all of them could be seen.
USED, POSITIONS = 0.5, 10
GROWN = 5.0  # the medians of the pretrained models are 1.0 to 2.5


def posterior_collapse(means: np.ndarray) -> Finding | None:
    """Whether the posterior says next to nothing of the image: a tenth of units active, or none.

    Args:
        means: Posterior means of training images, float [n, latent_dim].

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_weights import posterior_collapse
        >>> posterior_collapse(np.zeros((20, 8))).seen
        '0 of 8 latent units are active (more than 10 % should be).'
        >>> posterior_collapse(np.random.default_rng(0).normal(size=(20, 8))) is None
        True
    """
    active, units = metrics.active_units(means), means.shape[1]
    if active > ACTIVE * units:
        return None
    return Finding(
        "posterior collapse",
        f"{active} of {units} latent units are active (more than {100 * ACTIVE:.0f} % should be).",
        "Let the rate's weight grow from 0 (--option warm_up=2000), leave some bits free "
        "(--option free_bits=0.1), or take a smaller β.",
        "arXiv 1509.00519, section 5.2; 1511.06349; 1606.04934",
    )


def rate_beyond_data(rate: float, images: int, active: int) -> Finding | None:
    """Whether the rate is far above log N, all that can tell N images apart.

    The rate is I(x; z) + KL(q(z) ‖ p(z)), and I(x; z) ≤ log N. What is beyond log N is how far the
    posteriors together lie from the prior, from which samples are drawn: more than 4 nats per
    active unit is reported.

    Args:
        rate: Mean KL(q(z | x) ‖ p(z)) of training images, in nats.
        images: N, the training images.
        active: Active units.

    Example:
        >>> from zoo.evaluation.signs_in_weights import rate_beyond_data
        >>> rate_beyond_data(rate=60.0, images=500, active=8).name
        'rate far above log N'
        >>> rate_beyond_data(rate=20.0, images=500, active=8) is None
        True
    """
    beyond = rate - math.log(images)
    if active < 1 or beyond <= FAR * active:
        return None
    return Finding(
        "rate far above log N",
        f"the rate is {rate:.1f} nats; log N of {images:,} images is {math.log(images):.1f}. The "
        f"rest is {beyond / active:.1f} nats per active unit (above {FAR:.0f}): samples of the "
        "prior lie where no image does.",
        "Draw from the posteriors in place of the prior (zoo sample --sampler gmm). In training: a "
        "larger weight (the model beta_vae with --option beta=4), fewer latents, or an earlier "
        "stop (--validation test --best val_loss).",
        "Hoffman and Johnson 2016, ELBO surgery; arXiv 1903.05789",
    )


def dead_codes(codes: np.ndarray, num_codes: int) -> Finding | None:
    """Whether fewer than half of the codes are ever taken.

    Args:
        codes: The codes of training images, int [n, height, width].
        num_codes: K. With fewer than 10 K positions nothing is said.

    Example:
        >>> import numpy as np
        >>> from zoo.evaluation.signs_in_weights import dead_codes
        >>> dead_codes(np.zeros((20, 7, 7), int), num_codes=16).seen
        '1 of 16 codes is taken, in 980 positions (half of them should be).'
        >>> dead_codes(np.arange(980).reshape(20, 7, 7) % 16, num_codes=16) is None
        True
    """
    used = len(np.unique(codes))
    if codes.size < POSITIONS * num_codes or used >= USED * num_codes:
        return None
    return Finding(
        "dead codes",
        f"{used} of {num_codes} codes {'is' if used == 1 else 'are'} taken, in {codes.size:,} "
        "positions (half of them should be).",
        "Fewer codes (--option num_codes=…), a codebook that follows sooner (--option decay=0.9), "
        "or a lower learning rate.",
        "arXiv 2005.00341, section 3.1; 1711.00937, appendix A.1",
    )


def grown_weights(growth: Mapping[str, float]) -> Finding | None:
    """Whether half of the kernels are more than five times as large as they began.

    Args:
        growth: By name of a kernel, the norm it has over the norm of a fresh one.

    Example:
        >>> from zoo.evaluation.signs_in_weights import grown_weights
        >>> grown_weights({"dense/kernel": 30.0, "conv/kernel": 45.0}).name
        'learning rate too high'
        >>> grown_weights({"dense/kernel": 30.0, "conv/kernel": 1.5, "logits/kernel": 1.2}) is None
        True
    """
    if not growth:
        return None
    median = float(np.median(list(growth.values())))
    if not median > GROWN:
        return None
    most = max(growth, key=lambda name: growth[name])
    return Finding(
        "learning rate too high",
        f"the kernels are {median:.3g} times as large as they began (the median; more than "
        f"{GROWN:.0f}), {most} {growth[most]:.3g} times.",
        "A tenth of the learning rate (--learning-rate), in a new run.",
        "arXiv 1206.5533, section 3.1",
    )
