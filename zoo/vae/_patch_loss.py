"""Losses of whole images beside a VAE's own: perceptual, and adversarial over patches.

Both are those of VQGAN (arXiv 2012.09841) and of latent diffusion (arXiv 2112.10752).
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo import losses, networks
from zoo.core.adam import Adam
from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network
from zoo.core.replicas import all_reduce_sum, global_count
from zoo.core.replicated_step import Player
from zoo.metrics.perceptual import perceptual_levels, perceptual_loss
from zoo.networks import patch
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    import keras

# Logged where there is a discriminator.
OF_DISCRIMINATOR = ("adversarial", "adaptive_weight", "discriminator_loss")
TINY, LARGEST = 1e-4, 1e4  # added to the norm of a gradient, and the largest λ, as authors have it
RATE = 32 * 4.5e-6  # the authors' rate per image, for a batch of 32


class PatchLossVAE(BaseVAE):
    """A VAE that may have a perceptual loss, and a discriminator of patches.

    With images x, reconstructions x̃ (not cut off at 0 and 1), n values per image and the other
    terms of the model's loss, the players minimise

    - L = R + … + λ w A, where R = −log p(x | z) + n v d(x, x̃) in nats; v is `perceptual_weight`, d
      the perceptual distance, w is `discriminator_weight`, and A = −mean D(x̃) over the patches.
    - L_D = ½ mean max(0, 1 − D(x)) + ½ mean max(0, 1 + D(x̃)).

    λ = ‖∇R‖ / (‖∇A‖ + 1e-4), at most 1e4, is taken for a constant (arXiv 2012.09841, eq. 7). Both
    gradients are of the kernel of the decoder's last layer, and of the whole batch: that of all
    replicas and parts. With `accumulate` parts they take a forward pass of their own. In evaluation
    λ is 0, as in the authors' code.

    Departures: d is `zoo.metrics.perceptual_loss` in the features of EfficientNet-Lite0, which come
    with this package, where the papers have LPIPS of VGG; a learned scale of p(x | z) does not
    divide it; and both players move at once.

    Args:
        perceptual_weight: v, at least 0; 0 for no perceptual loss. The network of features is not
            saved with the model. It sees images at 224 × 224, so that a step takes far longer.
        discriminator_weight: w, at least 0; 0 for no discriminator. The papers have 0.5 to 1.
        discriminator_start: Training steps before which L_D and λ w A count 0 times.
        discriminator_width: Channels of its first layer.
        discriminator_layers: Number of its layers of stride 2.
        discriminator_normalization: "batch" as in the authors' code, "spectral", or "none".
        **kwargs: Further arguments of `BaseVAE`.

    Raises:
        ValueError: If an option is out of range, images are too small for the discriminator, or
            they have other channels than 1 or 3 with a perceptual loss.
    """

    def __init__(
        self,
        *,
        perceptual_weight: float = 0.0,
        discriminator_weight: float = 0.0,
        discriminator_start: int = 0,
        discriminator_width: int = 64,
        discriminator_layers: int = 3,
        discriminator_normalization: str = "batch",
        **kwargs: Any,
    ) -> None:
        if min(perceptual_weight, discriminator_weight, discriminator_start) < 0:
            msg = (
                f"perceptual_weight={perceptual_weight}, discriminator_weight="
                f"{discriminator_weight}, discriminator_start={discriminator_start}: expected at "
                "least 0."
            )
            raise ValueError(msg)
        if discriminator_start and not discriminator_weight:
            msg = (
                f"discriminator_start={discriminator_start}: there is no discriminator to start. "
                "Give a discriminator_weight too, such as 0.5."
            )
            raise ValueError(msg)
        self.perceptual_weight = float(perceptual_weight)
        self.discriminator_weight = float(discriminator_weight)
        self.discriminator_start = int(discriminator_start)
        self.discriminator_width = int(discriminator_width)
        self.discriminator_layers = int(discriminator_layers)
        self.discriminator_normalization = discriminator_normalization
        if perceptual_weight:
            self.log_names = (*self.log_names, "perceptual")
        if discriminator_weight:
            self.log_names = (*self.log_names, *OF_DISCRIMINATOR)
            player = Player("discriminator_loss", ("discriminator",))
            self.players = {**self.players, "discriminator_optimizer": player}
        super().__init__(**kwargs)
        if perceptual_weight:
            self._take_features()
        if discriminator_weight:
            self.discriminator = self._new_discriminator()

    def _take_features(self) -> None:
        channels = self.image_shape[2]
        if channels not in (1, 3):
            msg = (
                f"perceptual_weight={self.perceptual_weight} with images of {channels} channels: "
                "the network of features takes 1 or 3. Leave it out."
            )
            raise ValueError(msg)
        # Past Keras's tracking, which would save 3 million numbers that never change.
        attributes: Any = vars(self)
        attributes["perceptual_distance"] = partial(perceptual_loss, perceptual_levels())

    def _new_discriminator(self) -> keras.Model:
        with networks.precision(self.dtype_policy):
            network = patch.discriminator(
                self.image_shape,
                width=self.discriminator_width,
                layer_count=self.discriminator_layers,
                normalization=self.discriminator_normalization,
            )
        logits = (*patch.map_shape(self.image_shape, self.discriminator_layers), 1)
        check_network(network, "discriminator", self.image_shape, [logits], values=[LOGITS])
        return network

    # The losses

    @property
    def last_kernel(self) -> Any:
        """The kernel of the decoder's last layer with weights, frozen or not; a Keras variable."""
        return next(v for v in reversed(self.decoder.weights) if v.name == "kernel")

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """Those of the model, and the decoder's logits, of which `terms` makes its own."""
        terms = super().regularization_terms(outputs, batch)
        return {**terms, "logits": outputs["logits"]} if self._sees_images else terms

    @property
    def _sees_images(self) -> bool:
        return bool(self.perceptual_weight or self.discriminator_weight)

    def terms(
        self, batch: dict[str, Any], *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """As in `BaseVAE`, with what the options add to the loss, each [batch].

        `perceptual` is d; `adversarial` is A; `adaptive_weight` is λ, the same for all examples;
        `discriminator_loss` is L_D.
        """
        if not self._sees_images:
            return super().terms(batch, training=training, statistic=statistic)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(self.last_kernel.value)
            terms, reconstruction = self._terms_of_images(batch, training, statistic)
        if not self.discriminator_weight:
            return terms
        if training and "adaptive_weight" in batch:
            weight = batch["adaptive_weight"]
        elif training:
            count = global_count(batch["images"])
            gradients = self._last_gradients(tape, reconstruction, terms["adversarial"], count)
            weight = self._adaptive_weight(gradients, batch)
        else:
            weight = tf.zeros_like(terms["adversarial"])
        terms["adaptive_weight"] = weight
        terms["loss"] += self.discriminator_weight * self._started() * weight * terms["adversarial"]
        return terms

    def _terms_of_images(
        self,
        batch: dict[str, Any],
        training: bool,  # noqa: FBT001
        statistic: Any,
    ) -> tuple[dict[str, Any], Any]:
        """The terms without λ, and R, [batch] in nats."""
        terms = super().terms(batch, training=training, statistic=statistic)
        images, reconstruction = self.targets(batch), terms["distortion"]
        again = self.pixels.uncut_mean(terms.pop("logits"))
        if self.perceptual_weight:
            terms["perceptual"] = self.perceptual_distance(images, again)
            in_nats = math.prod(self.image_shape) * self.perceptual_weight * terms["perceptual"]
            terms["loss"] += in_nats
            reconstruction += in_nats
        if self.discriminator_weight:
            real, fake = (self.discriminator(x, training=training) for x in (images, again))
            patches = math.prod(real.shape[1:])
            terms["adversarial"] = losses.hinge_generator_loss(real, fake) / patches
            told = losses.hinge_discriminator_loss(real, fake) / (2.0 * patches)
            terms["discriminator_loss"] = self._started() * told
        return terms, reconstruction

    def _started(self) -> Any:
        """1, or 0 before `discriminator_start`; scalar."""
        return tf.cast(self.step.value >= self.discriminator_start, tf.float32)

    # λ

    def _last_gradients(
        self, tape: Any, reconstruction: Any, adversarial: Any, count: Any
    ) -> list[Any]:
        """This replica's shares of ∇R and ∇A, as float16 needs them scaled on the way."""
        scale = tf.cast(self.optimizer.scale_loss(1.0), tf.float32)
        share = scale / count  # of an example in the mean over the batch
        gradients = [
            tape.gradient(x, self.last_kernel.value, output_gradients=tf.fill(tf.shape(x), share))
            for x in (reconstruction, adversarial)
        ]
        return [tf.stop_gradient(gradient) / scale for gradient in gradients]

    def _adaptive_weight(self, gradients: list[Any], batch: dict[str, Any]) -> Any:
        """λ for each example, [batch], of shares that are summed over replicas here."""
        of_reconstruction, adversarial = (tf.norm(x) for x in all_reduce_sum(gradients))
        weight = tf.clip_by_value(of_reconstruction / (adversarial + TINY), 0.0, LARGEST)
        return tf.fill(tf.shape(batch["images"])[:1], tf.stop_gradient(weight))

    def _adaptive_weight_of_parts(self, batch: dict[str, Any], statistic: Any) -> Any:
        """λ of a batch that is computed in parts, before any gradient of the players."""
        count = global_count(batch["images"])

        def compute(part: dict[str, Any]) -> tuple[Any, Any]:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(self.last_kernel.value)
                terms, reconstruction = self._terms_of_images(part, True, statistic)  # noqa: FBT003
            adversarial = terms["adversarial"]
            gradients = self._last_gradients(tape, reconstruction, adversarial, count)
            return gradients, {"adversarial": adversarial}

        gradients, _ = self.accumulated(compute, batch)
        return self._adaptive_weight(gradients, batch)

    # The step

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of each player."""
        if not self.discriminator_weight or self.accumulate == 1:
            return super().train_step(data)
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        statistic = self._statistic_of_parts(batch)
        batch["adaptive_weight"] = self._adaptive_weight_of_parts(batch, statistic)
        terms = self.minimize(
            lambda part: self.terms(part, training=True, statistic=statistic), batch
        )
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """With a discriminator Adam with the authors' rate and momenta, for both players."""
        if self.discriminator_weight:
            return Adam(RATE, beta_1=0.5, beta_2=0.9)
        return super().default_optimizer(name)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = (
            "perceptual_weight", "discriminator_weight", "discriminator_start",
            "discriminator_width", "discriminator_layers", "discriminator_normalization",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
