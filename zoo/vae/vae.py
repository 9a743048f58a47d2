"""VAE with an optimal-σ Gaussian or a Bernoulli decoder (arXiv 1312.6114, arXiv 2006.13202)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo import losses
from zoo.registry import register_model
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable

LIKELIHOODS = ("gaussian", "bernoulli")
# Running estimate of σ² for evaluation: remembers about ten batches.
MOMENTUM = 0.9
# A decoder that is exact on a batch (all-black images, say) has σ² = 0 and no density.
MIN_VARIANCE = 1e-6


@register_model("vae")
class VAE(BaseVAE):
    """Variational autoencoder (arXiv 1312.6114) with optimal decoder variance (arXiv 2006.13202).

    Args:
        likelihood: `"gaussian"`: p(x | z) = N(x; μ(z), σ²I), with the σ² that maximises the
            likelihood of each training batch (2006.13202, section 3.1: σ*² = MSE), and its running
            mean in evaluation. `"bernoulli"`: independent pixels, for binary images.
        **kwargs: Arguments of `BaseVAE`.

    Raises:
        ValueError: If the likelihood is neither.
    """

    def __init__(self, *, likelihood: str = "gaussian", **kwargs: Any) -> None:
        if likelihood not in LIKELIHOODS:
            msg = f"likelihood={likelihood!r}: expected one of {LIKELIHOODS}."
            raise ValueError(msg)
        super().__init__(**kwargs)
        self.likelihood = likelihood
        self.decoder_variance = self.add_weight(
            shape=(), initializer="ones", trainable=False, name="decoder_variance"
        )

    def reconstruction_loss(self, images: Any, logits: Any, statistic: Any = None) -> Any:
        """−log p(x | z), [batch] in nats.

        σ² is held constant in the gradient. At the optimum σ*² = MSE the derivative with respect
        to σ² vanishes, so this is the gradient of D/2 log MSE (2006.13202, eq. 5).
        """
        if self.likelihood == "bernoulli":
            return losses.bernoulli_nll(images, logits)
        variance = self.decoder_variance.value if statistic is None else statistic
        return losses.gaussian_nll(images, tf.sigmoid(logits), tf.maximum(variance, MIN_VARIANCE))

    def batch_statistic(self) -> Callable[[Any, Any], Any] | None:
        """The mean squared error of an image, whose mean is σ*² (2006.13202, section 3.1)."""
        if self.likelihood == "bernoulli":
            return None
        return lambda images, logits: tf.reduce_mean(
            tf.square(images - tf.sigmoid(logits)), axis=[1, 2, 3]
        )

    def remember(self, statistic: Any) -> None:
        """Moves the running σ², but not by a batch that overflowed, whose update is skipped."""
        statistic = tf.where(tf.math.is_finite(statistic), statistic, self.decoder_variance.value)
        variance = tf.maximum(statistic, MIN_VARIANCE)
        self.decoder_variance.assign(MOMENTUM * self.decoder_variance + (1.0 - MOMENTUM) * variance)

    def pixel_deviation(self) -> Any:
        """The running σ of a Gaussian."""
        return 0.0 if self.likelihood == "bernoulli" else tf.sqrt(self.decoder_variance.value)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "likelihood": self.likelihood}
