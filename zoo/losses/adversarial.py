"""Adversarial losses: real and fake logits, float32 [batch, 1] each, to [batch].

A generator loss takes the real logits too, because a relativistic one compares with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.losses.per_example import full_precision, sum_per_example

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """−log D(G(z)), D = sigmoid(logits) (arXiv 1406.2661, section 3).

    Args:
        fake_logits: float32 [batch, 1].

    Returns:
        float32 [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.non_saturating_generator_loss(fake).numpy().round(3)
        array([1.313, 0.474], dtype=float32)
    """
    return sum_per_example(tf.nn.softplus(-full_precision(fake_logits)))


def minimax_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−log D(x) − log(1 − D(G(z))) (arXiv 1406.2661, eq. 1).

    Args:
        real_logits: float32 [batch, 1].
        fake_logits: float32 [batch, 1].

    Returns:
        float32 [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.minimax_discriminator_loss(real, fake).numpy().round(3)
        array([0.44 , 1.448], dtype=float32)
    """
    real, fake = full_precision(real_logits), full_precision(fake_logits)
    return sum_per_example(tf.nn.softplus(-real) + tf.nn.softplus(fake))


def least_squares_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:  # noqa: ARG001
    """½ (D(G(z)) − 1)², D = logits (arXiv 1611.04076, eq. 9), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.least_squares_generator_loss(real, fake).numpy().round(3)
        array([2.   , 0.125], dtype=float32)
    """
    return 0.5 * sum_per_example(tf.square(full_precision(fake_logits) - 1.0))


def least_squares_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """½ (D(x) − 1)² + ½ D(G(z))², D = logits (arXiv 1611.04076, eq. 9), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.least_squares_discriminator_loss(real, fake).numpy().round(3)
        array([1.  , 0.25], dtype=float32)
    """
    real, fake = full_precision(real_logits), full_precision(fake_logits)
    return 0.5 * sum_per_example(tf.square(real - 1.0) + tf.square(fake))


def hinge_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:  # noqa: ARG001
    """−D(G(z)), D = logits (arXiv 1802.05957, eq. 17), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.hinge_generator_loss(real, fake).numpy().round(3)
        array([ 1. , -0.5], dtype=float32)
    """
    return -sum_per_example(full_precision(fake_logits))


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """max(0, 1 − D(x)) + max(0, 1 + D(G(z))), D = logits (arXiv 1802.05957, eq. 16), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.hinge_discriminator_loss(real, fake).numpy().round(3)
        array([0., 2.], dtype=float32)
    """
    real, fake = full_precision(real_logits), full_precision(fake_logits)
    return sum_per_example(tf.nn.relu(1.0 - real) + tf.nn.relu(1.0 + fake))


def wasserstein_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:  # noqa: ARG001
    """−f(G(z)) (arXiv 1701.07875, eq. 3; arXiv 1704.00028, algorithm 1), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.wasserstein_generator_loss(real, fake).numpy().round(3)
        array([ 1. , -0.5], dtype=float32)
    """
    return -sum_per_example(full_precision(fake_logits))


def wasserstein_critic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """f(G(z)) − f(x): the negative of the Wasserstein-1 estimate (arXiv 1701.07875, eq. 2).

    Args:
        real_logits: f(x), float32 [batch, 1].
        fake_logits: f(G(z)), float32 [batch, 1].

    Returns:
        float32 [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.wasserstein_critic_loss(real, fake).numpy().round(3)
        array([-3.,  0.], dtype=float32)
    """
    return sum_per_example(full_precision(fake_logits) - full_precision(real_logits))


def relativistic_generator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(D(x) − D(G(z))): RpGAN, paired by position (arXiv 2501.05441, § 2), [batch].

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.relativistic_generator_loss(real, fake).numpy().round(3)
        array([3.049, 0.693], dtype=float32)
    """
    real, fake = full_precision(real_logits), full_precision(fake_logits)
    return sum_per_example(tf.nn.softplus(real - fake))


def relativistic_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(D(G(z)) − D(x)): RpGAN, paired by position (arXiv 2501.05441, § 2), [batch].

    −f(D(x) − D(G(z))) with f(t) = −log(1 + e^−t): D is large for real images.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.relativistic_discriminator_loss(real, fake).numpy().round(3)
        array([0.049, 0.693], dtype=float32)
    """
    return relativistic_generator_loss(fake_logits, real_logits)


@dataclass(frozen=True)
class AdversarialLoss:
    """Two losses that are played against each other.

    Attributes:
        generator: Maps (real_logits, fake_logits), float32 [batch, 1] each, to float32 [batch].
        discriminator: Likewise.

    Example:
        >>> import numpy as np
        >>> from zoo import losses
        >>> real, fake = np.float32([[2.0], [0.5]]), np.float32([[-1.0], [0.5]])
        >>> losses.ADVERSARIAL["hinge"].discriminator(real, fake).numpy().round(3)
        array([0., 2.], dtype=float32)
    """

    generator: Callable[[Any, Any], Any]
    discriminator: Callable[[Any, Any], Any]


ADVERSARIAL: dict[str, AdversarialLoss] = {
    "non_saturating": AdversarialLoss(
        lambda _, fake_logits: non_saturating_generator_loss(fake_logits),
        minimax_discriminator_loss,
    ),
    "least_squares": AdversarialLoss(
        least_squares_generator_loss, least_squares_discriminator_loss
    ),
    "hinge": AdversarialLoss(hinge_generator_loss, hinge_discriminator_loss),
    "wasserstein": AdversarialLoss(wasserstein_generator_loss, wasserstein_critic_loss),
    "relativistic": AdversarialLoss(relativistic_generator_loss, relativistic_discriminator_loss),
}
