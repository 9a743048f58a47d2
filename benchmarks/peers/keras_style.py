"""Training steps as Keras's own examples write them, with this project's networks and losses.

Each player has a pass, a tape and a batch of fakes of its own. Of the examples' choices those are
left out that change the problem and not the work: noise on labels, several critic updates a step.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

PENALTY = 10.0


class _Example(keras.Model):
    """Running means of losses, as the examples log them."""

    def __init__(self, *losses: str) -> None:
        super().__init__()
        self.trackers = {name: keras.metrics.Mean(name=name) for name in losses}

    @property
    def metrics(self) -> list[Any]:
        """What Keras resets at the start of an epoch."""
        return list(self.trackers.values())

    def log(self, **losses: Any) -> dict[str, Any]:
        """Updates the means, and returns them."""
        for name, loss in losses.items():
            self.trackers[name].update_state(loss)
        return {name: tracker.result() for name, tracker in self.trackers.items()}


class ExampleVAE(_Example):
    """The variational autoencoder: cross-entropy plus rate, one tape."""

    def __init__(self, encoder: keras.Model, decoder: keras.Model) -> None:
        super().__init__("loss", "reconstruction_loss", "kl_loss")
        self.encoder, self.decoder = encoder, decoder
        self.noise = keras.random.SeedGenerator(0)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update."""
        with tf.GradientTape() as tape:
            mean, log_variance = self.encoder(data, training=True)
            noise = keras.random.normal(ops.shape(mean), seed=self.noise)
            logits = self.decoder(mean + ops.exp(0.5 * log_variance) * noise, training=True)
            entropy = ops.binary_crossentropy(data, logits, from_logits=True)
            reconstruction = ops.mean(ops.sum(entropy, axis=(1, 2, 3)))
            rate = -0.5 * (1.0 + log_variance - ops.square(mean) - ops.exp(log_variance))
            rate = ops.mean(ops.sum(rate, axis=1))
            loss = reconstruction + rate
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return self.log(loss=loss, reconstruction_loss=reconstruction, kl_loss=rate)


class _ExampleGAN(_Example):
    """What the two GANs share."""

    def __init__(self, generator: keras.Model, discriminator: keras.Model, latent_dim: int) -> None:
        super().__init__("d_loss", "g_loss")
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim = latent_dim
        self.noise = keras.random.SeedGenerator(0)

    def compile(self, rate: float, betas: tuple[float, float], **options: Any) -> None:
        """With an Adam for each player."""
        super().compile(**options)
        self.g_optimizer = keras.optimizers.Adam(rate, *betas)
        self.d_optimizer = keras.optimizers.Adam(rate, *betas)

    def fakes(self, n: Any) -> Any:
        """A new batch."""
        latents = keras.random.normal((n, self.latent_dim), seed=self.noise)
        return self.generator(latents, training=True)

    def apply(self, tape: Any, loss: Any, optimizer: Any, network: keras.Model) -> None:
        """One update of one player."""
        weights = network.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


class ExampleDCGAN(_ExampleGAN):
    """DCGAN: the discriminator on fakes and reals in one batch, then the generator."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of each player."""
        n = ops.shape(data)[0]
        cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        images = ops.concatenate([self.fakes(n), data])
        labels = ops.concatenate([ops.zeros((n, 1)), ops.ones((n, 1))])
        with tf.GradientTape() as tape:
            d_loss = cross_entropy(labels, self.discriminator(images, training=True))
        self.apply(tape, d_loss, self.d_optimizer, self.discriminator)
        with tf.GradientTape() as tape:
            logits = self.discriminator(self.fakes(n), training=True)
            g_loss = cross_entropy(ops.ones((n, 1)), logits)
        self.apply(tape, g_loss, self.g_optimizer, self.generator)
        return self.log(d_loss=d_loss, g_loss=g_loss)


class ExampleWGANGP(_ExampleGAN):
    """WGAN-GP with one critic update a step."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of each player."""
        n = ops.shape(data)[0]
        with tf.GradientTape() as tape:
            fakes = self.fakes(n)
            fake_logits = self.discriminator(fakes, training=True)
            real_logits = self.discriminator(data, training=True)
            d_loss = ops.mean(fake_logits) - ops.mean(real_logits)
            d_loss += PENALTY * self.gradient_penalty(n, data, fakes)
        self.apply(tape, d_loss, self.d_optimizer, self.discriminator)
        with tf.GradientTape() as tape:
            g_loss = -ops.mean(self.discriminator(self.fakes(n), training=True))
        self.apply(tape, g_loss, self.g_optimizer, self.generator)
        return self.log(d_loss=d_loss, g_loss=g_loss)

    def gradient_penalty(self, n: Any, real: Any, fake: Any) -> Any:
        """(‖∇f(x̂)‖₂ − 1)², its mean over the batch."""
        mix = keras.random.uniform((n, 1, 1, 1), seed=self.noise)
        images = real + mix * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self.discriminator(images, training=True)
        (gradient,) = tape.gradient(logits, [images])
        norm = ops.sqrt(ops.sum(ops.square(gradient), axis=(1, 2, 3)))
        return ops.mean(ops.square(norm - 1.0))
