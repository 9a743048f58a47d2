"""Soft-IntroVAE: an encoder that tells real images from the decoder's (arXiv 2012.13253)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.adam import Adam
from zoo.core.network_tools import with_labels
from zoo.core.registry import register_model
from zoo.core.replicated_step import Player
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras

    from zoo.io.types import Tensor

ALPHA = 2.0  # α of eq. 5


@register_model("soft_intro_vae")
class SoftIntroVAE(BaseVAE):
    """Soft-IntroVAE (arXiv 2012.13253, eq. 5 and algorithm 1), an adversarial VAE of two networks.

    With L(x, β) = β_rec ‖x − D(z)‖² + β KL(q(z | x) ‖ p(z)), z ~ q(z | x), images x, fakes
    x̃ ∈ {D(E(x)), D(z_p)}, z_p ~ p(z), and s = 1 / (height · width · channels):

    - E: s L(x, β_kl) + ½ mean over x̃ of exp(−α s L(x̃, β_neg)), α = 2. It makes the bound high for
      images and low for fakes.
    - D: s (β_rec ‖x − D(z)‖² + ½ Σ over x̃ of L(x̃, β_kl)). The last L has γ_r β_rec for β_rec, and
      no gradient through the x̃ that is reconstructed or the z it is reconstructed from.

    The encoder takes fakes for data: they are constants to it. The decoder meets the updated
    encoder, with the z from before the update.

    `distortion` is ‖x − D(z)‖², which is −log N(x; D(z), ½ I) in nats up to a constant. `loss` is
    the encoder's. An evaluation needs a p(x | z) for the ELBO: a Gaussian, whose σ² is the running
    mean of the σ² that is optimal for the reconstructions.

    Args:
        beta_rec: β_rec, at least 0.
        beta_kl: β_kl, at least 0.
        beta_neg: β_neg, at least 0. Larger images need a larger one, for s is smaller. The defaults
            of these three are from the authors' code for 28 × 28 and 32 × 32.
        gamma_r: γ_r, at least 0.
        **kwargs: Further arguments of `BaseVAE`, but `likelihood`, `warm_up`, `free_bits` and
            `transfer`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it.

    Example:
        >>> import zoo
        >>> model = zoo.create("soft_intro_vae", (8, 8, 1), 2, network="mlp")
        >>> model.optimizer_names
        ('encoder_optimizer', 'decoder_optimizer')
    """

    log_names: tuple[str, ...] = (
        "loss",
        "distortion",
        "rate",
        "decoder_loss",
        "reconstruction_rate",
        "sample_rate",
    )
    players: Mapping[str, Player] = {
        "encoder_optimizer": Player("loss", ("encoder",)),
        "decoder_optimizer": Player("decoder_loss", ("decoder",)),
    }
    transferable: ClassVar[bool] = False
    fixed_options: ClassVar[dict[str, Any]] = {
        "likelihood": "gaussian",
        "warm_up": 0,
        "free_bits": 0.0,
    }

    def __init__(
        self,
        *,
        beta_rec: float = 1.0,
        beta_kl: float = 1.0,
        beta_neg: float = 256.0,
        gamma_r: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        if min(beta_rec, beta_kl, beta_neg, gamma_r) < 0:
            msg = (
                f"beta_rec={beta_rec}, beta_kl={beta_kl}, beta_neg={beta_neg}, gamma_r={gamma_r}: "
                "expected at least 0."
            )
            raise ValueError(msg)
        self.beta_rec, self.beta_kl = float(beta_rec), float(beta_kl)
        self.beta_neg, self.gamma_r = float(beta_neg), float(gamma_r)
        super().__init__(**kwargs)
        self.scale = 1.0 / math.prod(self.image_shape)

    # The losses

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """As in `BaseVAE`, and the latents z_p and ε of the posteriors of the fakes."""
        names = ("prior", "reconstruction", "sample")
        return {
            **super().batch_noise(draw),
            **{name: draw(name, [self.latent_dim]) for name in names},
        }

    def terms(
        self,
        batch: dict[str, Any],
        *,
        training: bool,
        statistic: Any = None,  # noqa: ARG002  (the loss has no σ²)
    ) -> dict[str, Any]:
        """The losses of both players and their parts, each [batch], before any update.

        `reconstruction_rate` and `sample_rate` are the KL of the two x̃ in nats.
        """
        of_encoder = self._encoder_terms(batch, training=training)
        batch = {**batch, "latents": self._latents(batch, training=training)}
        return of_encoder | self._decoder_terms(batch, training=training)

    def _latents(self, batch: dict[str, Any], *, training: bool) -> Any:
        """Z ← E(X) of algorithm 1: z, [batch, latent_dim]."""
        return self._posterior(batch["images"], batch, "posterior", training=training)[0]

    def _posterior(
        self, images: Tensor, batch: dict[str, Any], noise: str, *, training: bool
    ) -> tuple[Tensor, Tensor]:
        """A draw z ~ q(z | x), [batch, latent_dim], and the KL of q, [batch] in nats."""
        mean, log_variance = self.encoder(
            with_labels(images, batch.get("labels")), training=training
        )
        latents = mean + tf.exp(0.5 * log_variance) * batch[noise]
        return latents, self.rate(mean, log_variance, latents)

    def _images(self, latents: Tensor, batch: dict[str, Any], *, training: bool) -> Tensor:
        return self.pixels.mean(self.logits(latents, batch.get("labels"), training=training))

    def _fakes(self, latents: Tensor, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """The x̃: D(z) and D(z_p)."""
        return {
            "reconstruction": self._images(latents, batch, training=training),
            "sample": self._images(batch["prior"], batch, training=training),
        }

    def _encoder_terms(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """`loss` and its parts, and the `squared_error` per pixel, which estimates σ²."""
        latents, rate = self._posterior(batch["images"], batch, "posterior", training=training)
        fakes = self._fakes(latents, batch, training=training)
        distortion = _squared_error(batch["images"], fakes["reconstruction"])
        loss = self.scale * (self.beta_rec * distortion + self.beta_kl * rate)
        for name, image in fakes.items():
            fake = tf.stop_gradient(image)
            latents, fake_rate = self._posterior(fake, batch, name, training=training)
            error = _squared_error(fake, self._images(latents, batch, training=training))
            bound = self.scale * (self.beta_rec * error + self.beta_neg * fake_rate)
            # Both parts of the bound are at least 0, so that this is at most 1.
            loss += 0.5 * tf.exp(-ALPHA * bound) / len(fakes)
        return {
            "loss": loss,
            "distortion": distortion,
            "rate": rate,
            "squared_error": self.scale * distortion,
        }

    def _decoder_terms(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """`decoder_loss` and the rates of the fakes. `batch` holds `latents` of its images too."""
        fakes = self._fakes(batch["latents"], batch, training=training)
        loss, rates = self.beta_rec * _squared_error(batch["images"], fakes["reconstruction"]), {}
        for name, fake in fakes.items():
            latents, rate = self._posterior(fake, batch, name, training=training)
            again = self._images(tf.stop_gradient(latents), batch, training=training)
            error = _squared_error(tf.stop_gradient(fake), again)
            loss += 0.5 * (self.gamma_r * self.beta_rec * error + self.beta_kl * rate)
            rates[f"{name}_rate"] = rate
        return {"decoder_loss": self.scale * loss, **rates}

    # The step

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the encoder, then one of the decoder, which answers to it."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        batch["latents"] = self._latents(batch, training=True)
        of_encoder = self.minimize(
            lambda part: self._encoder_terms(part, training=True), batch, "encoder_optimizer"
        )
        self._over_batch(of_encoder["squared_error"])
        of_decoder = self.minimize(
            lambda part: self._decoder_terms(part, training=True), batch, "decoder_optimizer"
        )
        terms = of_encoder | of_decoder
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:  # noqa: ARG002
        """Adam at 2e-4."""
        return Adam(2e-4)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("beta_rec", "beta_kl", "beta_neg", "gamma_r")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _squared_error(images: Tensor, others: Tensor) -> Tensor:
    """‖x − x'‖², [batch]."""
    return losses.sum_per_example(tf.square(images - others))
