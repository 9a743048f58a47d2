"""The one training step of the VAE family.

A variant overrides `reconstruction_loss` or `regularizer`; both return one value per example, in
nats, and the loss is their sum: the negative evidence lower bound of arXiv 1312.6114, eq. 3, as
distortion + rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo import losses
from zoo.training.model import ZooModel, check_network
from zoo.training.replicas import global_count, global_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


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
        self.encoder = encoder or self.build_network("encoder", *shapes)
        self.decoder = decoder or self.build_network("decoder", *shapes)
        latent = (self.latent_dim,)
        check_network(self.encoder, "encoder", self.image_shape, [latent, latent])
        check_network(self.decoder, "decoder", latent, [self.image_shape])
        _check_logits(self.decoder)
        self.built = True

    # Hooks

    def reconstruction_loss(self, images: Any, logits: Any, statistic: Any = None) -> Any:
        """Distortion −log p(x | z), [batch] in nats, of the decoder's `logits`.

        Args:
            images: x, float32 [batch, height, width, channels] in [0, 1].
            logits: Like `images`.
            statistic: In training, what `batch_statistic` found on the whole batch.
        """
        raise NotImplementedError

    def batch_statistic(self) -> Callable[[Any, Any], Any] | None:
        """A function of images and logits to [batch], if the likelihood takes its mean.

        The mean is over the whole training batch, of all replicas and parts, and constant in the
        gradient.
        """
        return None

    def remember(self, statistic: Any) -> None:
        """Keeps the statistic of a training batch for evaluation."""

    def regularizer(self, mean: Any, log_variance: Any, latents: Any) -> Any:  # noqa: ARG002
        """Rate KL(q(z | x) ‖ p(z)), [batch] in nats (arXiv 1312.6114, eq. 10)."""
        return losses.kl_standard_normal(mean, log_variance)

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One gradient step on the negative ELBO."""
        images = self.images_of(data)
        noise = self.noise("posterior", tf.shape(images)[0], [self.latent_dim])
        count = global_count(images)
        statistic = self._statistic_of_parts(images, noise)

        def compute(images: Any, noise: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                terms = self.elbo_terms(images, noise, training=True, statistic=statistic)
                loss = self.share("optimizer", terms["loss"], count)
            return self.gradients(tape, loss, "optimizer"), terms

        gradients, terms = self.accumulated(compute, images, noise)
        self.update("optimizer", gradients)
        self.step.assign_add(1)
        return self.log(terms)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The negative ELBO, with noise that depends on `seed` and the position in the data."""
        images = self.images_of(data)
        noise = self.noise(
            "test", tf.shape(images)[0], [self.latent_dim], counter=self.examples_seen
        )
        return self.log(self.elbo_terms(images, noise, training=False))

    def elbo_terms(
        self, images: Any, noise: Any, *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """Negative ELBO and its parts at z = μ + σ ⊙ ε (arXiv 1312.6114, eq. 7).

        Args:
            images: x, float32 [batch, height, width, channels] in [0, 1].
            noise: ε, float32 [batch, latent_dim].
            training: Whether layers run in training mode.
            statistic: That of the whole training batch, where `images` are a part of it.

        Returns:
            `loss`, `distortion` and `rate`, each [batch] in nats.
        """
        mean, log_variance, latents, logits = self._pass(images, noise, training=training)
        function = self.batch_statistic()
        if training and statistic is None and function is not None:
            statistic = self._over_batch(function(images, logits))
        distortion = self.reconstruction_loss(images, logits, statistic)
        rate = self.regularizer(mean, log_variance, latents)
        return {"loss": distortion + rate, "distortion": distortion, "rate": rate}

    def _pass(self, images: Any, noise: Any, *, training: bool) -> tuple[Any, Any, Any, Any]:
        """Posterior mean and log-variance, latents, and the decoder's logits."""
        mean, log_variance = self.encoder(images, training=training)
        latents = mean + tf.exp(0.5 * log_variance) * noise
        return mean, log_variance, latents, self.decoder(latents, training=training)

    def _statistic_of_parts(self, images: Any, noise: Any) -> Any:
        """The statistic, before any gradient, of a batch that is computed in parts."""
        function = self.batch_statistic()
        if function is None or self.accumulate == 1:
            return None  # one pass gives both

        def compute(images: Any, noise: Any) -> tuple[Any, Any]:
            *_, logits = self._pass(images, noise, training=True)
            values = function(images, logits)
            return [tf.reduce_sum(values)], {"statistic": values}

        _, found = self.accumulated(compute, images, noise)
        return self._over_batch(found["statistic"])

    def _over_batch(self, values: Any) -> Any:
        statistic = global_mean(tf.stop_gradient(values))
        self.remember(statistic)
        return statistic

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Sets the optimizer, by default `default_optimizer`.

        Args:
            optimizer: A Keras optimizer.
            **kwargs: `accumulate` (parts a batch is computed in), `clip_norm` (of each whole
                gradient), `jit_compile`, and further ones of `keras.Model.compile`.
        """
        self._compile({"optimizer": optimizer}, **kwargs)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """Adam at 1e-3."""
        return keras.optimizers.Adam(1e-3)

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
            lambda z: -self.reconstruction_loss(images, self.decoder(z, training=False)),
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
