"""Likelihoods p(x | z) of images, given a decoder's logits: one class per likelihood.

"Logits" are any real numbers. Each class turns them into a mean image in [0, 1], and gives
−log p(x | z) in nats. If it learns a scale, the scale is a weight of the model.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.losses.likelihoods import mixture_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor

# Of the running estimate of σ² for evaluation, which looks back over about ten batches.
MOMENTUM = 0.9
# A decoder that is exact on a batch (all-black images, say) has σ² = 0 and no density.
MIN_VARIANCE = 1e-6
# Half a grey level of 256: the narrowest that a learned scale may become.
MIN_LOG_SCALE = math.log(0.5 / 255.0)
COMPONENTS = 10  # of a mixture, as in arXiv 1701.05517


class Likelihood:
    """p(x | z) around the sigmoid of the decoder's logits, without a weight of its own."""

    # Grey levels that a unit of the density spans, for bits per dimension. None: it is no density.
    levels: ClassVar[int | None] = 256

    def __init__(self, add_weight: Callable[..., Any]) -> None:
        """Makes its weights, if it has any, with the model's `add_weight`."""

    def logits_per_pixel(self, channels: int) -> int:
        """Number of the decoder's logits per pixel of images with so many channels."""
        return channels

    def mean(self, logits: Tensor) -> Tensor:
        """Mean images in [0, 1] of logits, both [batch, height, width, channels].

        Logits are [batch, height, width, logits per pixel] where these are not the channels.
        """
        return tf.sigmoid(logits)

    def uncut_mean(self, logits: Tensor) -> Tensor:
        """As `mean`, but with a gradient everywhere: values outside of [0, 1] are not cut off."""
        return self.mean(logits)

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:
        """−log p(x | z), [batch] in nats.

        Args:
            images: x, float32 [batch, height, width, channels] in [0, 1].
            logits: Like `images`.
            statistic: In training, the mean of `batch_statistic` over the whole batch.
        """
        raise NotImplementedError

    def batch_statistic(self) -> Callable[[Any, Any], Any] | None:
        """A function of images and logits to [batch], if the likelihood needs its mean.

        The mean is over the whole training batch, of all replicas and parts. The gradient takes it
        for a constant.
        """
        return None

    def remember(self, statistic: Any) -> None:
        """Keeps the statistic of a training batch for evaluation."""

    def pixel_deviation(self) -> Any:
        """Standard deviation of a pixel around its mean, scalar; 0 if the likelihood has none."""
        return 0.0


class Bernoulli(Likelihood):
    """Independent binary pixels. For grey pixels it is the customary stand-in, but no density."""

    levels = None

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """Cross-entropy, [batch] in nats."""
        return losses.bernoulli_nll(images, logits)


class ContinuousBernoulli(Likelihood):
    """Cross-entropy made a density on [0, 1] (arXiv 1907.06845)."""

    def mean(self, logits: Tensor) -> Tensor:
        """The distribution's mean (eq. 8), which is not the sigmoid."""
        return losses.continuous_bernoulli_mean(logits)

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """−log p(x | z) with the normaliser C(λ) (eq. 3), [batch] in nats."""
        return losses.continuous_bernoulli_nll(images, logits)


class OptimalGaussian(Likelihood):
    """N(x; μ(z), σ²I) with the σ² that maximises a batch's likelihood (arXiv 2006.13202, § 3.1).

    In evaluation σ² is its running mean.
    """

    def __init__(self, add_weight: Callable[..., Any]) -> None:
        self.variance = add_weight(
            shape=(), initializer="ones", trainable=False, name="decoder_variance"
        )

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:
        """−log p(x | z), [batch] in nats.

        σ² is held constant in the gradient. At the optimum σ*² = MSE the derivative with respect
        to σ² vanishes, so this is the gradient of D/2 log MSE (2006.13202, eq. 5).
        """
        variance = self.variance.value if statistic is None else statistic
        return losses.gaussian_nll(images, self.mean(logits), tf.maximum(variance, MIN_VARIANCE))

    def batch_statistic(self) -> Callable[[Any, Any], Any] | None:
        """The mean squared error per image. Its mean is σ*² (2006.13202, section 3.1)."""
        return lambda images, logits: tf.reduce_mean(
            tf.square(images - self.mean(logits)), axis=[1, 2, 3]
        )

    def remember(self, statistic: Any) -> None:
        """Moves the running σ². A batch that overflowed does not move it: its update is skipped."""
        statistic = tf.where(tf.math.is_finite(statistic), statistic, self.variance.value)
        statistic = tf.maximum(statistic, MIN_VARIANCE)
        self.variance.assign(MOMENTUM * self.variance + (1.0 - MOMENTUM) * statistic)

    def pixel_deviation(self) -> Any:
        """The running σ."""
        return tf.sqrt(self.variance.value)


class LearnedGaussian(Likelihood):
    """N(x; μ(z), σ²I) with a σ that is trained as a weight (arXiv 2006.13202, section 3)."""

    def __init__(self, add_weight: Callable[..., Any]) -> None:
        self.log_scale = add_weight(shape=(), initializer="zeros", name="log_scale")

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """−log p(x | z), [batch] in nats."""
        return losses.gaussian_nll(images, self.mean(logits), tf.exp(2.0 * self._bounded()))

    def pixel_deviation(self) -> Any:
        """The learned σ."""
        return tf.exp(self._bounded())

    def _bounded(self) -> Any:
        return tf.maximum(tf.cast(self.log_scale.value, tf.float32), MIN_LOG_SCALE)


class LinearLaplace(LearnedGaussian):
    """Laplace(x; μ(z), b) with a trained scale b, whose mean μ is the decoder's value itself.

    That is what latent diffusion's autoencoder has (arXiv 2112.10752). Pixels of mean images are
    cut off at 0 and 1; the density is around the value that was not.
    """

    def mean(self, logits: Tensor) -> Tensor:
        """The values, within [0, 1]."""
        return tf.clip_by_value(logits, 0.0, 1.0)

    def uncut_mean(self, logits: Tensor) -> Tensor:
        """The values."""
        return logits

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """−log p(x | z), [batch] in nats."""
        return losses.laplace_nll(images, logits, self._bounded())

    def pixel_deviation(self) -> Any:
        """√2 b."""
        return math.sqrt(2.0) * tf.exp(self._bounded())


class DiscretizedLogistic(LearnedGaussian):
    """A logistic with one learned scale, discretized to 256 grey levels (arXiv 1606.04934).

    It is a probability of discrete pixels: compare it with others of its kind, not with densities.
    """

    levels = 1

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """−log P(x | z), [batch] in nats."""
        return losses.discretized_logistic_nll(images, self.mean(logits), self._bounded())

    def pixel_deviation(self) -> Any:
        """Standard deviation of the logistic, s π / √3."""
        return tf.exp(self._bounded()) * (math.pi / math.sqrt(3.0))


class DiscretizedLogisticMixture(Likelihood):
    """Ten discretized logistics per pixel, whose channels depend on each other (arXiv 1701.05517).

    The decoder gives their weights, means, scales and coefficients.
    """

    levels = 1

    def logits_per_pixel(self, channels: int) -> int:
        """Ten times those of a component."""
        return COMPONENTS * mixture_size(channels)

    def mean(self, logits: Tensor) -> Tensor:
        """Mean images in [0, 1], [batch, height, width, channels]."""
        size = logits.shape[-1]
        channels = next(c for c in itertools.count(1) if self.logits_per_pixel(c) >= size)
        return losses.discretized_logistic_mixture_mean(logits, channels)

    def nll(self, images: Tensor, logits: Tensor, statistic: Any) -> Tensor:  # noqa: ARG002
        """−log P(x | z), [batch] in nats."""
        return losses.discretized_logistic_mixture_nll(images, logits)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": OptimalGaussian,
    "gaussian_learned": LearnedGaussian,
    "laplace_linear": LinearLaplace,
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "discretized_logistic": DiscretizedLogistic,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
}
