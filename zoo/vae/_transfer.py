"""What a VAE trains a decoder on that was brought from a GAN: `BaseVAE`'s option `transfer`.

The loss is a weighted sum of four `TERMS`: the distortion and the regularization of any VAE, and
two terms on latents that are drawn from the prior ("dreamt"):

- `sleep` is −log q(z | G(z) + σ ξ) in nats, a loss of the encoder alone (the sleep phase of
  wake-sleep, Hinton et al. 1995): every image that the decoder draws has a known latent.
- `anchor` is ‖G(z) − G₀(z)‖², a loss of the decoder alone, where G₀ is the decoder as it came.

The weights are a variable, which a callback moves (`zoo.training.recipes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.network_tools import copy_network, with_labels
from zoo.core.replicated_step import Player

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.io.types import Tensor
    from zoo.vae.base import BaseVAE

TERMS = ("distortion", "rate", "sleep", "anchor")


class TransferLoss:
    """The weighted loss of a VAE whose decoder came from a GAN.

    Attributes:
        first_decoder: G₀, a frozen copy of the decoder that the model begins with.
        weights: Weight of each of `TERMS`, a float32 variable [4].

    Args:
        vae: The model, whose networks are built.
        weights: Initial weights, at least 0.
    """

    log_names: ClassVar[tuple[str, ...]] = ("sleep", "anchor")
    players: ClassVar[Mapping[str, Player]] = {
        "optimizer": Player("objective"),
        "decoder_optimizer": Player("objective", ("decoder",)),
    }

    def __init__(self, vae: BaseVAE, weights: Sequence[float]) -> None:
        self._vae = vae
        self.first_decoder = copy_network(
            vae.decoder, (vae.latent_dim,), labels=bool(vae.num_classes)
        )
        self.weights = vae.add_weight(
            shape=(len(TERMS),), trainable=False, name="term_weights",
            initializer=lambda shape, dtype=None: tf.constant(weights, dtype),  # noqa: ARG005
        )  # fmt: skip

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The dreamt latents z, [batch, latent_dim], and ξ, [batch, height, width, channels]."""
        return {
            "dream": draw("dream", [self._vae.latent_dim]),
            "dream_pixels": draw("dream_pixels", self._vae.image_shape),
        }

    def dream_terms(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """`sleep` and `anchor`, each [batch].

        Networks run in inference mode: nothing here may update BatchNorm.

        Args:
            batch: Holds what `batch_noise` draws, and labels: those of the dreamt images.
            training: Skip a term whose weight is 0, and give 0 for it. In evaluation none is.
        """
        vae, latents, labels = self._vae, batch["dream"], batch.get("labels")

        def sleep() -> Any:
            dreamt = tf.stop_gradient(vae.decode(latents, labels))
            seen = dreamt + vae.pixels.pixel_deviation() * batch["dream_pixels"]
            mean, log_variance = vae.encoder(with_labels(seen, labels), training=False)
            return -losses.normal_log_density(latents, mean, log_variance)

        def anchor() -> Any:
            logits = self.first_decoder(with_labels(latents, labels), training=False)
            change = vae.decode(latents, labels) - vae.pixels.mean(logits)
            return losses.sum_per_example(tf.square(change))

        def zeros() -> Any:
            return tf.zeros([tf.shape(latents)[0]])

        weights = self.weights.value if training else tf.ones([len(TERMS)])
        by_name = dict(zip(TERMS, tf.unstack(weights), strict=True))
        return {
            "sleep": tf.cond(by_name["sleep"] > 0.0, sleep, zeros),
            "anchor": tf.cond(by_name["anchor"] > 0.0, anchor, zeros),
        }

    def gate(self, term: str, tensors: dict[str, Any]) -> dict[str, Any]:
        """Tensors through which a term of weight 0 sends no gradient, not even NaN."""
        weight = tf.sign(self.weights.value[TERMS.index(term)])

        @tf.custom_gradient
        def gated(tensor: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            return tf.identity(tensor), lambda g: tf.math.multiply_no_nan(g, weight)

        return {name: gated(tensor) for name, tensor in tensors.items()}

    def total(self, terms: dict[str, Any]) -> Tensor:
        """The weighted sum, [batch], of the `terms` of the VAE and the `dream_terms`."""
        names = ("distortion", "regularization", *TERMS[2:])
        weights = zip(names, tf.unstack(self.weights.value), strict=True)
        # A term of weight 0 may be infinite, while an encoder is far from any posterior.
        return sum(tf.math.multiply_no_nan(terms[name], weight) for name, weight in weights)


def check_transfer(vae: BaseVAE, weights: Sequence[float]) -> None:
    """Checks the option `transfer` before a model is built.

    Raises:
        ValueError: If a weight is missing or negative, or the model has a step of its own.
    """
    if len(weights) != len(TERMS) or min(weights) < 0:
        msg = f"transfer={weights}: expected a weight, at least 0, for each of {TERMS}."
        raise ValueError(msg)
    if not vae.transferable:
        msg = (
            f"transfer={weights}: this {vae.model_name} is trained in a step of its own, and has "
            "no transfer."
        )
        raise ValueError(msg)
