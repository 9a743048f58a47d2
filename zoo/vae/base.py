"""The one training step of the VAE family.

A variant overrides `reconstruction_loss` or `regularizer`; both return one value per example, in
nats, and the loss is their sum: the negative evidence lower bound of arXiv 1312.6114, eq. 3, as
distortion + rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo import losses, networks
from zoo.training.model import ZooModel, check_network
from zoo.training.replicas import replica_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class BaseVAE(ZooModel):
    """A variational autoencoder with posterior N(μ(x), diag σ²(x)) and prior N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        encoder: `keras.Model` from images to (mean, log-variance), each [batch, latent_dim].
        decoder: `keras.Model` from latents to image *logits*: the mean image is their sigmoid.
        seed: Seed of the training noise.
        **kwargs: `name` and `dtype`.

    Raises:
        ValueError: If a network has the wrong shapes, or the decoder ends in a squashing function.
    """

    family = "vae"
    log_names = ("loss", "distortion", "rate")
    optimizer_names = ("optimizer",)

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        network: str = "conv",
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, latent_dim=latent_dim, seed=seed, **kwargs)
        self.network = network
        self.keep_own(encoder=encoder, decoder=decoder)
        shapes = (self.image_shape, self.latent_dim)
        self.encoder = encoder or networks.build(network, "encoder", *shapes)
        self.decoder = decoder or networks.build(network, "decoder", *shapes)
        latent = (self.latent_dim,)
        check_network(self.encoder, "encoder", self.image_shape, [latent, latent])
        check_network(self.decoder, "decoder", latent, [self.image_shape])
        _check_logits(self.decoder)
        self.built = True

    # Hooks

    def reconstruction_loss(self, images: Any, logits: Any, *, training: bool) -> Any:
        """Distortion −log p(x | z), [batch] in nats, of the decoder's `logits`."""
        raise NotImplementedError

    def regularizer(self, mean: Any, log_variance: Any, latents: Any) -> Any:  # noqa: ARG002
        """Rate KL(q(z | x) ‖ p(z)), [batch] in nats (arXiv 1312.6114, eq. 10)."""
        return losses.kl_standard_normal(mean, log_variance)

    # Steps

    def elbo_terms(self, images: Any, noise: Any, *, training: bool) -> dict[str, Any]:
        """Negative ELBO and its parts at z = μ + σ ⊙ ε (arXiv 1312.6114, eq. 7).

        Args:
            images: x, float32 [batch, height, width, channels] in [0, 1].
            noise: ε, float32 [batch, latent_dim].
            training: Whether layers and σ² estimates run in training mode.

        Returns:
            `loss`, `distortion` and `rate`, each [batch] in nats.
        """
        mean, log_variance = self.encoder(images, training=training)
        latents = mean + tf.exp(0.5 * log_variance) * noise
        logits = self.decoder(latents, training=training)
        distortion = self.reconstruction_loss(images, logits, training=training)
        rate = self.regularizer(mean, log_variance, latents)
        return {"loss": distortion + rate, "distortion": distortion, "rate": rate}

    def train_step(self, data: Any) -> dict[str, Any]:
        """One gradient step on the negative ELBO."""
        images = self.images_of(data)
        noise = self.noise("posterior", tf.shape(images)[0], [self.latent_dim])
        with tf.GradientTape() as tape:
            terms = self.elbo_terms(images, noise, training=True)
            loss = self.optimizer.scale_loss(replica_mean(terms["loss"]))
        variables = self.variables_of("optimizer")
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.step.assign_add(1)
        return self.log(terms)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The negative ELBO, with noise that depends on `seed` and the position in the data."""
        images = self.images_of(data)
        noise = self.noise(
            "test", tf.shape(images)[0], [self.latent_dim], counter=self.examples_seen
        )
        return self.log(self.elbo_terms(images, noise, training=False))

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Sets the optimizer, by default Adam at 1e-3; `kwargs` go to `keras.Model.compile`."""
        super().compile(optimizer=optimizer or keras.optimizers.Adam(1e-3), **kwargs)
        self.optimizer.build(self.variables_of("optimizer"))

    def variables_of(self, optimizer_name: str) -> list[Any]:  # noqa: ARG002  (there is one)
        """All trainable variables."""
        return self.trainable_variables

    # Inference

    def encode(self, images: Any) -> tuple[Any, Any]:
        """Posterior (mean, log-variance), float32 tensors [batch, latent_dim], of images."""
        mean, log_variance = self.encoder(images, training=False)
        return mean, log_variance

    def decode(self, latents: Any) -> Any:
        """Mean images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        return tf.sigmoid(self.decoder(latents, training=False))

    def images_from_latents(self, latents: Any) -> Any:
        """Mean images of latents: the same as `decode`."""
        return self.decode(latents)

    def reconstruct(self, images: Any) -> Any:
        """Mean image of the posterior mean, float32 tensor like `images`."""
        return self.decode(self.encode(images)[0])

    def call(self, images: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Reconstructs, so that `predict(images)` does."""
        mean, _ = self.encoder(images, training=training)
        return tf.sigmoid(self.decoder(mean, training=training))

    def log_weights(self, images: Any, noise: Any) -> Any:
        """Importance weights log p(x, z) − log q(z | x) of arXiv 1509.00519, eq. 7.

        Args:
            images: x, float32 [batch, height, width, channels].
            noise: ε ~ N(0, I), float32 [k, batch, latent_dim].

        Returns:
            float32 [k, batch], nats. Their mean over k estimates the ELBO, their log-mean-exp the
            k-sample bound on log p(x).
        """
        mean, log_variance = self.encoder(images, training=False)
        latents = mean + tf.exp(0.5 * log_variance) * noise
        zeros = tf.zeros_like(mean)
        log_prior = losses.normal_log_density(latents, zeros, zeros)
        log_posterior = losses.normal_log_density(latents, mean, log_variance)
        log_likelihood = tf.map_fn(
            lambda z: (
                -self.reconstruction_loss(images, self.decoder(z, training=False), training=False)
            ),
            latents,
        )
        return log_likelihood + log_prior - log_posterior

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; networks of the user's own are stored whole."""
        return {**super().get_config(), "network": self.network, **self.own_networks()}


def _check_logits(decoder: keras.Model) -> None:
    """A decoder that ends in a sigmoid would be squashed twice, and learn grey."""
    last = decoder.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", "linear")
    if activation in ("sigmoid", "tanh") or "Sigmoid" in type(last).__name__:
        msg = (
            f"The decoder's last layer {last.name!r} ends in {activation}; expected image logits. "
            "Remove the activation: the model applies the sigmoid."
        )
        raise ValueError(msg)
