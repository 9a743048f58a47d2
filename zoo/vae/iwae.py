"""IWAE: a tighter bound, of several importance-weighted samples (arXiv 1509.00519)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.network_tools import with_labels
from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


@register_model("iwae")
class IWAE(BaseVAE):
    """Importance-weighted autoencoder (arXiv 1509.00519, eq. 8).

    The loss, in training and evaluation, is −log 1/K Σ w_k with the weights
    w_k = p(x | z_k) p(z_k) / q(z_k | x) of K draws z_k ~ q(z | x), each with noise of its own. Its
    gradient is −Σ w̃_k ∇ log w_k with the normalised weights w̃_k (eq. 13 and 14). `distortion` and
    `rate`, which is log q(z_k | x) − log p(z_k), are means over k. Their sum is the negative ELBO,
    the loss for K = 1.

    During the warm-up, log w_k = log p(x | z_k) − annealing × rate. The σ² of the "gaussian"
    likelihood is the mean squared error over all K samples, which is optimal for the ELBO.

    Args:
        samples: K, at least 1. The paper has 1, 5 and 50.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits` and `transfer`.

    Raises:
        ValueError: If `samples` < 1, or `free_bits` is given: the bound is no sum over dimensions.

    Example:
        >>> import zoo
        >>> model = zoo.create("iwae", (8, 8, 1), 2, network="mlp", samples=3)
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    transferable: ClassVar[bool] = False

    def __init__(self, *, samples: int = 5, free_bits: float = 0.0, **kwargs: Any) -> None:
        if samples < 1:
            msg = f"samples={samples}: expected at least 1."
            raise ValueError(msg)
        if free_bits:
            msg = f"free_bits={free_bits}: the bound of iwae is no sum over dimensions. Leave it 0."
            raise ValueError(msg)
        self.samples = int(samples)
        super().__init__(**kwargs)

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """ε, [batch, K, latent_dim]."""
        return {"posterior": draw("posterior", [self.samples, self.latent_dim])}

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """As in `BaseVAE`, with K rows per example, one after the other: [batch · K, ...]."""
        labels = batch.get("labels")
        moments = self.encoder(with_labels(batch["images"], labels), training=training)
        mean, log_variance = (tf.repeat(x, self.samples, axis=0) for x in moments)
        noise = tf.reshape(batch["posterior"], [-1, self.latent_dim])
        latents = mean + tf.exp(0.5 * log_variance) * noise
        labels = None if labels is None else tf.repeat(labels, self.samples)
        logits = self.logits(latents, labels, training=training)
        return {"mean": mean, "log_variance": log_variance, "latents": latents, "logits": logits}

    def targets(self, batch: dict[str, Any]) -> Tensor:
        """Each image, K times one after the other."""
        return tf.repeat(batch["images"], self.samples, axis=0)

    def rate(self, mean: Tensor, log_variance: Tensor, latents: Tensor) -> Tensor:
        """Log q(z | x) − log p(z) at the draw z, [batch] in nats."""
        posterior = losses.normal_log_density(latents, mean, log_variance)
        return posterior - self.log_prior(latents)

    def terms(
        self, batch: dict[str, Any], *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """The loss, and the means over the samples of its parts."""
        terms = super().terms(batch, training=training, statistic=statistic)
        each = {name: tf.reshape(x, [-1, self.samples]) for name, x in terms.items()}
        bound = tf.reduce_logsumexp(-each["loss"], axis=1) - math.log(self.samples)
        means = {name: tf.reduce_mean(x, axis=1) for name, x in each.items()}
        return {**means, "loss": -bound}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "samples": self.samples}
