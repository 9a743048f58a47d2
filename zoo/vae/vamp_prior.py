"""VampPrior VAE: the prior is a mixture of posteriors of learned images (arXiv 1705.07120)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from zoo import losses
from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


@register_model("vamp_prior")
class VampPriorVAE(BaseVAE):
    """VAE with a variational mixture of posteriors for a prior (arXiv 1705.07120, eq. 9).

    The prior is p(z) = 1/K Σ q(z | u_k), with the encoder's q and pseudo-inputs u_k that are
    learned with everything else. The KL from it has no closed form: the `rate` is
    log q(z | x) − log p(z) at the one z that is drawn. Its mean is the KL; one value may be
    negative.

    Pseudo-inputs are sigmoids of weights that begin as draws from N(0, 1): noise around grey. (The
    authors clip their weights to [0, 1], beyond which a pseudo-input learns nothing.)

    Args:
        components: K, at least 1. The paper has 500, and 1000 for larger data.
        **kwargs: Further arguments of `BaseVAE`, but `num_classes`, `free_bits` and `transfer`.

    Raises:
        ValueError: If `components` < 1; `num_classes` is given, for pseudo-inputs have no label; or
            `free_bits`, for the rate is no sum over dimensions.

    Example:
        >>> import zoo
        >>> model = zoo.create("vamp_prior", (8, 8, 1), 2, network="mlp", components=4)
        >>> model.sample_latents(3, seed=0).shape
        (3, 2)
    """

    prior = "vamp"
    transferable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        components: int = 100,
        num_classes: int = 0,
        free_bits: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if components < 1:
            msg = f"components={components}: expected at least 1."
            raise ValueError(msg)
        if num_classes or free_bits:
            msg = (
                f"num_classes={num_classes}, free_bits={free_bits}: vamp_prior has neither labels "
                "of its pseudo-inputs nor a rate of each dimension. Leave them 0."
            )
            raise ValueError(msg)
        super().__init__(**kwargs)
        self.components = int(components)
        self.pseudo_inputs = self.add_weight(
            shape=(self.components, *self.image_shape),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="pseudo_inputs",
        )

    def rate(self, mean: Tensor, log_variance: Tensor, latents: Tensor) -> Tensor:
        """Log q(z | x) − log p(z) at the draw z, [batch] in nats."""
        posterior = losses.normal_log_density(latents, mean, log_variance)
        return posterior - self.log_prior(latents)

    def log_prior(self, latents: Tensor) -> Tensor:
        """Log 1/K Σ q(z | u_k), float32 [...] in nats, of latents [..., latent_dim]."""
        each = losses.normal_log_density(latents[..., None, :], *self.mixture())
        return tf.reduce_logsumexp(each, axis=-1) - math.log(self.components)

    def mixture(self) -> tuple[Any, Any]:
        """Means and log-variances of the prior's components, each float32 [K, latent_dim]."""
        # In inference mode: pseudo-inputs are no images that BatchNorm should count.
        mean, log_variance = self.encoder(tf.sigmoid(self.pseudo_inputs.value), training=False)
        return mean, log_variance

    def prior_latents(self, draw: Callable[..., Any]) -> Tensor:
        """Draws from the prior, whose components are equally likely."""
        chosen = tf.cast(draw("component", uniform=True) * self.components, tf.int32)
        chosen = tf.minimum(chosen, self.components - 1)  # as U may be 1
        with tf.init_scope():  # constants of a graph, which is to sample without the encoder
            moments = [np.asarray(moment, np.float32) for moment in self.mixture()]
        mean, log_variance = (tf.gather(moment, chosen) for moment in moments)
        return mean + tf.exp(0.5 * log_variance) * draw("generate", [self.noise_dim])

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "components": self.components}
