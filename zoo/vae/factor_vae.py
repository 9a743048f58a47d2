"""FactorVAE: the total correlation of latents from a discriminator (arXiv 1802.05983)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf
from keras import layers

from zoo.core.adam import Adam
from zoo.core.registry import register_model
from zoo.core.replicas import global_count, in_turn, on_global_batch
from zoo.core.replicated_step import Player
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.io.types import Tensor


@register_model("factor_vae")
class FactorVAE(BaseVAE):
    """FactorVAE (arXiv 1802.05983, algorithm 2).

    The loss is distortion + KL + γ TC, where TC ≈ log D(z) − log(1 − D(z)) is the logit of a
    discriminator of latents. The discriminator learns to tell z ~ q(z) from latents whose
    dimensions are shuffled, each independently, over the batch of all replicas.

    The algorithm draws two batches, so a training batch is split by rows into two halves. One half
    trains the VAE, and its z are shown to the discriminator; the z of the other half are shuffled.
    The default batch of 128 gives the paper's 64. Both players move at once.

    Args:
        gamma: γ, at least 0. The paper and its successors search 10 to 100.
        discriminator_width: Units per hidden layer. The activation is a leaky ReLU of slope 0.2.
        discriminator_layers: Number of hidden layers. The paper has 6 layers of 1000 units, which
            take far longer than the VAE on a CPU. The default is 3 layers of 256.
        **kwargs: Further arguments of `BaseVAE`, but `transfer`.

    Raises:
        ValueError: If one is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("factor_vae", (8, 8, 1), 2, network="mlp", gamma=20.0)
        >>> model.optimizer_names
        ('optimizer', 'discriminator_optimizer')
    """

    log_names: tuple[str, ...] = (
        "loss",
        "distortion",
        "rate",
        "total_correlation",
        "discriminator_loss",
    )
    players: Mapping[str, Player] = {
        **BaseVAE.players,
        "discriminator_optimizer": Player("discriminator_loss", ("discriminator",)),
    }
    transferable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        gamma: float = 10.0,
        discriminator_width: int = 256,
        discriminator_layers: int = 3,
        **kwargs: Any,
    ) -> None:
        if gamma < 0 or min(discriminator_width, discriminator_layers) < 1:
            msg = (
                f"gamma={gamma}, discriminator_width={discriminator_width}, discriminator_layers="
                f"{discriminator_layers}: expected gamma ≥ 0, and the others at least 1."
            )
            raise ValueError(msg)
        self.gamma = float(gamma)
        super().__init__(**kwargs)
        self.discriminator_width = int(discriminator_width)
        self.discriminator_layers = int(discriminator_layers)
        self.discriminator = self._new_discriminator()

    def _new_discriminator(self) -> keras.Model:
        """Maps latents [batch, latent_dim] to a logit [batch, 1], the difference of the paper's."""
        latents = x = keras.Input((self.latent_dim,), name="latent")
        for i in range(self.discriminator_layers):
            dense = layers.Dense(
                self.discriminator_width, kernel_initializer="he_normal", name=f"hidden_{i}",
                dtype=self.dtype_policy,
            )  # fmt: skip
            x = layers.LeakyReLU(0.2, name=f"leaky_relu_{i}", dtype=self.dtype_policy)(dense(x))
        # From 0: the encoder must not learn to please a discriminator that knows nothing yet.
        logit = layers.Dense(1, kernel_initializer="zeros", name="logit", dtype="float32")(x)
        return keras.Model(latents, logit, name="discriminator")

    # The loss

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and γ."""
        return {"rate": 1.0, "total_correlation": self.gamma}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """As in `BaseVAE`, and numbers whose order within the batch shuffles each dimension."""
        order = draw("permutation", [self.latent_dim], uniform=True)
        return {**super().batch_noise(draw), "permutation": order}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate, the estimate of TC [batch], and the discriminator's cross-entropies.

        The mean of the cross-entropies, of latents and shuffled latents, is what algorithm 2
        minimises.
        """
        latents = outputs["latents"]
        shuffled = batch["shuffled"] if "shuffled" in batch else _shuffled(latents, batch)
        logits, of_shuffled = self.discriminator(latents), self.discriminator(shuffled)
        errors = tf.nn.softplus(tf.concat([-logits, of_shuffled], axis=0))
        return {
            **super().regularization_terms(outputs, batch),
            "total_correlation": tf.squeeze(logits, 1),
            "discriminator_loss": tf.squeeze(errors, 1),
        }

    # The step

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of both players. The VAE takes half of the batch, the discriminator all."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        # Its cross-entropies are those of both halves.
        counts = {"discriminator_loss": global_count(batch["images"])}
        batch, other = in_turn(batch, 2)
        batch["shuffled"] = _shuffled(self.forward(other, training=True)["latents"], other)
        statistic = self._statistic_of_parts(batch)
        terms = self.minimize(
            lambda part: self.terms(part, training=True, statistic=statistic), batch, counts=counts
        )
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """Adam with the paper's momenta and equal rates, here the 1e-3 of other VAEs."""
        if name == "discriminator_optimizer":
            return Adam(1e-3, beta_1=0.5, beta_2=0.9)
        return super().default_optimizer(name)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("gamma", "discriminator_width", "discriminator_layers")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _shuffled(latents: Tensor, batch: dict[str, Any]) -> Tensor:
    """This replica's rows of latents that were permuted over the global batch (algorithm 1).

    Args:
        latents: float32 [batch, latent_dim].
        batch: Has `permutation`, like `latents`, whose columns' orders are the permutations.
    """

    def permute(latents: Tensor, numbers: Tensor) -> Tensor:
        return keras.ops.take_along_axis(latents, tf.argsort(numbers, axis=0), axis=0)

    return tf.stop_gradient(on_global_batch(permute, latents, batch["permutation"]))
