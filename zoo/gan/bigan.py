"""BiGAN, or ALI: a GAN that learns to encode, too (arXiv 1605.09782, arXiv 1606.00704)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.channels import runnable
from zoo.core.contracts import IMAGES, LOG_VARIANCE, LOGITS, check_values
from zoo.core.model import EndpointSpec
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.core.replicated_step import Player
from zoo.gan.gan import GAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import keras

    from zoo.io.types import Tensor


@register_model("bigan")
class BiGAN(GAN):
    """Bidirectional GAN (arXiv 1605.09782), or adversarially learned inference (arXiv 1606.00704).

    The discriminator tells pairs (x, E(x)) of real images from pairs (G(z), z) (1605.09782, eq. 3);
    where it cannot, E inverts G (theorem 2). The encoder is ALI's, a Gaussian
    E(x) = μ(x) + σ(x) ⊙ ε (1606.00704, section 2.1), and learns with the generator: its weights
    are the generator's optimizer's. Both minimise the discriminator's loss with the labels swapped,
    −log D(G(z), z) − log(1 − D(x, E(x))), the inverse objective of 1605.09782, section 3.4.

    A `regularizer` is a penalty on the gradient of D(·, E(x)) by the images, with the codes fixed.

    Args:
        encoder: `keras.Model` from images to (mean, log-variance), each [batch, latent_dim].
        **kwargs: Arguments of `GAN`. A `discriminator` of your own maps [images, latents] to logits
            [batch, 1].

    Raises:
        ValueError: If a network has the wrong shapes, or labels are asked for.

    Example:
        >>> import zoo
        >>> model = zoo.create("bigan", (8, 8, 1), 2, network="mlp")
        >>> mean, log_variance = model.encode(model.generate(3, seed=0))
        >>> mean.shape
        TensorShape([3, 2])
    """

    players: Mapping[str, Player] = {
        **GAN.players,
        "generator_optimizer": Player("generator_total", ("generator", "encoder")),
    }

    def __init__(self, *, encoder: keras.Model | None = None, **kwargs: Any) -> None:
        if kwargs.get("num_classes"):
            msg = (
                f"num_classes={kwargs['num_classes']}: the discriminator of bigan takes a latent, "
                "and no label. Leave it out, or take another GAN."
            )
            raise ValueError(msg)
        super().__init__(**kwargs)
        own = {role: kwargs.get(role) for role in ("generator", "discriminator")}
        self.keep_own(**own, encoder=encoder)
        self.encoder = runnable(encoder, "encoder") or self.build_network(
            "encoder", self.image_shape, self.latent_dim
        )
        moments = [(self.latent_dim,)] * 2
        check_network(
            self.encoder, "encoder", self.image_shape, moments, values=[None, LOG_VARIANCE]
        )

    def new_discriminator(self, **options: Any) -> keras.Model:
        """A discriminator of pairs of image and latent."""
        return super().new_discriminator(latent_dim=self.latent_dim, **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        images = [self.image_shape]
        check_network(self.generator, "generator", (self.latent_dim,), images, values=[IMAGES])

        def of_pairs(images: Tensor) -> Any:
            return self.discriminator([images, tf.zeros([len(images), self.latent_dim])])

        check_network(of_pairs, "discriminator", self.image_shape, [(1,)])
        check_values(
            self.discriminator,
            "discriminator",
            [LOGITS],
            lambda images: [of_pairs(images)],
            self.image_shape,
        )

    # Training

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of `GAN`, and the posterior's ε."""
        return {**super().batch_noise(draw), "posterior": draw("posterior", [self.latent_dim])}

    def extend_batch(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """The batch with the `codes` of the images, z = μ(x) + σ(x) ⊙ ε."""
        mean, log_variance = self.encoder(batch["images"], training=training)
        codes = mean + tf.exp(0.5 * log_variance) * batch["posterior"]
        return {**batch, "codes": codes}

    def condition(self, batch: dict[str, Any], *, real: bool) -> Tensor:
        """The codes of real images, the latents of generated ones, [batch, latent_dim]."""
        return batch["codes" if real else "latents"]

    def generator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss with the labels swapped, [batch], of logits [batch, 1]."""
        return self.discriminator_loss(fake_logits, real_logits)

    # Inference

    def encode(self, images: Tensor) -> tuple[Any, Any]:
        """Posterior (mean, log-variance), float32 tensors [batch, latent_dim], of images."""
        mean, log_variance = self.encoder(self.images_of(images), training=False)
        return mean, log_variance

    def reconstruct(self, images: Tensor) -> Tensor:
        """Image of the posterior mean, float32 tensor like `images`."""
        return self.images_from_latents(self.encode(images)[0])

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return (*super().served_networks, "encoder")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported: `generate`, `encode` and `reconstruct`."""
        latent, image = (self.latent_dim,), {"image": self.image_shape}
        moments = {"mean": latent, "log_variance": latent}
        again = {"reconstruction": self.image_shape}
        return {
            "generate": EndpointSpec(
                "images_from_latents", {"latent": latent}, image, super().served_networks
            ),
            "encode": EndpointSpec("encode", image, moments, ("encoder",)),
            "reconstruct": EndpointSpec("reconstruct", image, again, self.served_networks),
        }

    def optional_endpoints(self) -> dict[str, EndpointSpec]:
        """Nothing: the discriminator judges pairs."""
        return {}
