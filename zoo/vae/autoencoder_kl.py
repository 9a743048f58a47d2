"""The autoencoder of latent diffusion: a grid of latents, hardly regularized (arXiv 2112.10752)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from keras import ops

from zoo import losses
from zoo.core.registry import register_model
from zoo.networks import autoencoder_kl
from zoo.vae._grid import GridVAE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.core.model import EndpointSpec
    from zoo.io.types import Tensor

MOMENTS = ("mean", "log_variance")


@register_model("autoencoder_kl")
class AutoencoderKL(GridVAE):
    """VAE with a latent per position of a grid, for diffusion models (arXiv 2112.10752, § 3.1).

    The posterior of each number of the grid z, [height / f, width / f, latent_dim], is a Gaussian.
    f is 2^(levels − 1). The loss is −log p(x | z) + kl_weight · KL(q(z | x) ‖ N(0, I)), in nats per
    image as in the authors' code. By default p is a Laplace distribution around the decoder's
    values, which is their absolute error with a scale that is learned.

    `encode` and `decode` speak grids, of images of every size that f divides. Where a model has one
    vector of latents (`generate`, `latent_code`, samplers) it is the grid of `image_shape`,
    flattened. With so small a weight of the KL the latents of images are not N(0, I): draw images
    from a sampler that is fitted to them.

    The networks are those of the class `AutoencoderKL` of the package diffusers.
    `zoo.hub.read_autoencoder` reads its folders, and `zoo.hub.write_autoencoder` writes them.

    Departures from the paper: its perceptual loss (`perceptual_weight=1`) and its discriminator
    (`discriminator_weight=0.5`) are off by default, and differ as `PatchLossVAE` says. Without a
    discriminator the learning rate is that of all VAEs here. The networks are small by default. The
    paper's are `channels=(128, 256, 512, 512)`, `blocks=2` and `groups=32`.

    Args:
        latent_dim: Latent channels per position; the paper's models for images have 3 to 64.
        kl_weight: Weight of the KL in nats, at least 0.
        scaling_factor: What a diffusion model multiplies the latents by, after `shift_factor` is
            subtracted. Both are kept for the folders of diffusers, and nothing here applies them.
        shift_factor: See `scaling_factor`.
        likelihood: By default "laplace_linear", whose mean is the decoder's value. It is the one of
            public weights.
        **kwargs: Further arguments of `GridVAE`, `PatchLossVAE` and `BaseVAE`, but `encoder`,
            `decoder`, `transfer` and `num_classes`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; or f does not
            divide a side of the image.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("autoencoder_kl", (8, 8, 1), 2, channels=(8, 16), groups=4)
        >>> mean, log_variance = model.encode(np.zeros((5, 12, 8, 1)))
        >>> mean.shape, model.decode(mean).shape, model.noise_dim
        (TensorShape([5, 6, 4, 2]), TensorShape([5, 12, 8, 1]), 32)
    """

    def __init__(
        self,
        *,
        kl_weight: float = 1e-6,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
        likelihood: str = "laplace_linear",
        **kwargs: Any,
    ) -> None:
        if kl_weight < 0:
            msg = f"kl_weight={kl_weight}: expected at least 0, such as 1e-6."
            raise ValueError(msg)
        if scaling_factor == 0:
            msg = "scaling_factor=0: a diffusion model divides by it. Expected 1 for no scaling."
            raise ValueError(msg)
        self.kl_weight = float(kl_weight)
        self.scaling_factor, self.shift_factor = float(scaling_factor), float(shift_factor)
        super().__init__(likelihood=likelihood, **kwargs)

    # The networks

    @property
    def grid(self) -> tuple[int, int, int]:
        """(height, width, latent_dim) of the latents of an image of `image_shape`."""
        height, width = autoencoder_kl.grid_shape(self.image_shape, self.channels)
        return height, width, self.latent_dim

    @property
    def noise_dim(self) -> int:
        """Numbers of the grid."""
        return (
            math.prod(side // self.size_factor for side in self.image_shape[:2]) * self.latent_dim
        )

    # The loss

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """`kl_weight` for the rate."""
        return {"rate": self.kl_weight}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """ε of all positions, [batch, noise_dim]."""
        return {"posterior": draw("posterior", [self.noise_dim])}

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """As in `BaseVAE`; the moments and latents are flat, [batch, noise_dim]."""
        moments = self.encoder(batch["images"], training=training)
        mean, log_variance = (_flat(x) for x in moments)
        latents = mean + tf.exp(0.5 * log_variance) * batch["posterior"]
        logits = self.logits(latents, training=training)
        return {"mean": mean, "log_variance": log_variance, "latents": latents, "logits": logits}

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002  (it has no labels)
        """As in `BaseVAE`, for noise [k, batch, noise_dim]."""
        images = self.images_of(images)
        mean, log_variance = (_flat(x) for x in self.encode(images))
        latents = mean + tf.exp(0.5 * log_variance) * noise
        log_posterior = losses.normal_log_density(latents, mean, log_variance)
        log_likelihood = tf.map_fn(
            lambda z: -self.pixels.nll(images, self.logits(z), None), latents
        )
        return log_likelihood + self.log_prior(latents) - log_posterior

    # Inference

    def latent_code(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the grids of images, flat: [batch, noise_dim] each."""
        mean, log_variance = (_flat(x) for x in self.encode(images, labels))
        return mean, tf.exp(0.5 * log_variance)

    def logits(
        self,
        latents: Tensor,
        labels: Tensor | None = None,  # noqa: ARG002  (it has no labels)
        *,
        training: bool = False,
    ) -> Tensor:
        """The decoder's values of grids, or of latents [batch, noise_dim]."""
        if len(latents.shape) == 2:
            latents = ops.reshape(latents, (-1, *self.grid))
        return self.decoder(latents, training=training)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images of the posterior means, float32 in [0, 1], of the shape of `images`."""
        return self.decode(self.encode(images, labels)[0])

    def endpoints(self) -> dict[str, EndpointSpec]:
        """As in `BaseVAE`, but of images of every size and their grids; `generate` is of one size.

        Its latents are grids of `image_shape`, flat.
        """
        given = super().endpoints()
        pixels = (None, None, self.image_shape[2])
        image, grid = {"image": pixels}, (None, None, self.latent_dim)
        again, moments = {"reconstruction": pixels}, dict.fromkeys(MOMENTS, grid)
        return {
            **given,
            "generate": given["generate"]._replace(inputs={"latent": (self.noise_dim,)}),
            "encode": given["encode"]._replace(inputs=image, outputs=moments),
            "decode": given["decode"]._replace(inputs={"latent": grid}, outputs=image),
            "reconstruct": given["reconstruct"]._replace(inputs=image, outputs=again),
        }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("kl_weight", "scaling_factor", "shift_factor")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _flat(grids: Tensor) -> Tensor:
    """[batch, height, width, channels] as [batch, height · width · channels]."""
    shape = grids.shape[1:]
    return ops.reshape(grids, (ops.shape(grids)[0], -1 if None in shape else math.prod(shape)))
