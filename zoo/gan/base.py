"""The one training step of the GAN family.

A variant overrides `generator_loss`, `discriminator_loss` and, if it has one, `gradient_penalty`;
all return one value per example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo.training.model import ZooModel, check_network, copy_network
from zoo.training.replicas import global_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras


class BaseGAN(ZooModel):
    """A generator and a discriminator (or critic), with latents from N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        generator: `keras.Model` from latents [batch, latent_dim] to images in [0, 1].
        discriminator: `keras.Model` from images in [0, 1] to logits [batch, 1].
        n_critic: Discriminator updates per generator update. A training batch is split into
            `n_critic` minibatches, one an update, as the algorithm of WGAN draws them: to give
            each update 64 images at n_critic=5, train with batches of 320.
        ema: Decay of an exponential moving average of the generator, used for sampling; None
            samples from the generator itself.
        seed: Seed of the training noise.
        **kwargs: `name` and `dtype`.

    Raises:
        ValueError: If a network has the wrong shapes, or an option is out of range.
    """

    family = "gan"
    log_names: tuple[str, ...] = (
        "generator_loss",
        "discriminator_loss",
        "real_logit",
        "fake_logit",
    )
    optimizer_names = ("generator_optimizer", "discriminator_optimizer")
    normalization: ClassVar[str] = "batch"  # of the built-in discriminators

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        network: str = "conv",
        generator: keras.Model | None = None,
        discriminator: keras.Model | None = None,
        n_critic: int = 1,
        ema: float | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape=image_shape, latent_dim=latent_dim, seed=seed, **kwargs)
        if n_critic < 1:
            msg = f"n_critic={n_critic}: expected at least 1."
            raise ValueError(msg)
        if ema is not None and not 0.0 < ema < 1.0:
            msg = f"ema={ema}: expected a decay between 0 and 1, such as 0.999, or None."
            raise ValueError(msg)
        self.network = network
        self.n_critic = n_critic
        self.ema = ema
        self.keep_own(generator=generator, discriminator=discriminator)
        self.generator = generator or self.build_network(
            "generator", self.image_shape, self.latent_dim
        )
        self.discriminator = discriminator or self.build_network(
            "discriminator", self.image_shape, normalization=self.normalization
        )
        check_network(self.generator, "generator", (self.latent_dim,), [self.image_shape])
        check_network(self.discriminator, "discriminator", self.image_shape, [(1,)])
        self.ema_generator = (
            None if ema is None else copy_network(self.generator, (self.latent_dim,))
        )
        self.built = True

    # Hooks

    def generator_loss(self, real_logits: Any, fake_logits: Any) -> Any:
        """What the generator minimises, [batch], of logits [batch, 1]."""
        raise NotImplementedError

    def discriminator_loss(self, real_logits: Any, fake_logits: Any) -> Any:
        """What the discriminator minimises, [batch], of logits [batch, 1]."""
        raise NotImplementedError

    def gradient_penalty(self, real: Any, fake: Any, mix: Any) -> Any:  # noqa: ARG002
        """Added to the discriminator's loss: [batch], or None for no penalty.

        Args:
            real: Images, float32 [batch, height, width, channels].
            fake: Generated images, like `real`.
            mix: Noise from U(0, 1), float32 [batch, 1, 1, 1].
        """
        return None

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """`n_critic` discriminator updates and one generator update.

        With n_critic = 1 both players' gradients come from one fake batch and one pass, and both
        move at once; else the generator answers to the updated discriminator.
        """
        images = self.images_of(data)
        latents = self.noise("latent", tf.shape(images)[0], [self.latent_dim])
        mix = self.noise("mix", tf.shape(images)[0], [1, 1, 1], uniform=True)
        if self.n_critic == 1:
            logs = self._update_both(images, latents, mix)
        else:
            logs = self._update_in_turn(images, latents, mix)
        self._update_ema()
        self.step.assign_add(1)
        return self.log(logs)

    def _update_both(self, images: Any, latents: Any, mix: Any) -> dict[str, Any]:
        count = global_count(images)

        def compute(images: Any, latents: Any, mix: Any) -> tuple[Any, Any]:
            with tf.GradientTape(persistent=True) as tape:
                fake = self.generator(latents, training=True)
                losses, logs = self._discriminate(images, fake, mix, training=True)
                logs["generator_loss"] = self.generator_loss(logs["real_logit"], logs["fake_logit"])
                d_loss = self.share("discriminator_optimizer", losses, count)
                g_loss = self.share("generator_optimizer", logs["generator_loss"], count)
            of_discriminator = self.gradients(tape, d_loss, "discriminator_optimizer")
            return [*of_discriminator, *self.gradients(tape, g_loss, "generator_optimizer")], logs

        gradients, logs = self.accumulated(compute, images, latents, mix)
        n = len(self.variables_of("discriminator_optimizer"))
        self.update("discriminator_optimizer", gradients[:n])
        self.update("generator_optimizer", gradients[n:])
        return logs

    def _update_in_turn(self, images: Any, latents: Any, mix: Any) -> dict[str, Any]:
        tf.debugging.assert_greater_equal(
            tf.shape(images)[0],
            self.n_critic,
            f"A replica's batch has fewer images than n_critic={self.n_critic} updates need. Use "
            "larger batches, or drop the remainder of the data.",
        )
        # Every n-th example, and not the n-th block: then the minibatches of N replicas together
        # are those of one device (where n_critic divides a replica's batch).
        for i in range(self.n_critic):
            minibatch = [x[i :: self.n_critic] for x in (images, latents, mix)]
            logs = self._update_discriminator(*minibatch)
        logs |= self._update_generator(logs["real_logit"])
        return logs

    def _update_discriminator(self, images: Any, latents: Any, mix: Any) -> dict[str, Any]:
        count = global_count(images)

        def compute(images: Any, latents: Any, mix: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                fake = self.generator(latents, training=True)
                losses, logs = self._discriminate(images, fake, mix, training=True)
                loss = self.share("discriminator_optimizer", losses, count)
            return self.gradients(tape, loss, "discriminator_optimizer"), logs

        gradients, logs = self.accumulated(compute, images, latents, mix)
        self.update("discriminator_optimizer", gradients)
        return logs

    def _update_generator(self, real_logits: Any) -> dict[str, Any]:
        """One update; a relativistic loss compares with the last minibatch's real logits."""
        latents = self.noise("generator", tf.shape(real_logits)[0], [self.latent_dim])
        count = global_count(real_logits)

        def compute(real_logits: Any, latents: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                fake = self.generator(latents, training=True)
                values = self.generator_loss(real_logits, self.discriminator(fake, training=True))
                loss = self.share("generator_optimizer", values, count)
            return self.gradients(tape, loss, "generator_optimizer"), {"generator_loss": values}

        gradients, logs = self.accumulated(compute, real_logits, latents)
        self.update("generator_optimizer", gradients)
        return logs

    def test_step(self, data: Any) -> dict[str, Any]:
        """Both losses without updates, with noise that depends on `seed` and the position."""
        images = self.images_of(data)
        batch, seen = tf.shape(images)[0], self.examples_seen
        latents = self.noise("test", batch, [self.latent_dim], counter=seen)
        mix = self.noise("test_mix", batch, [1, 1, 1], counter=seen, uniform=True)
        _, logs = self._discriminate(images, self(latents), mix, training=False)
        logs["generator_loss"] = self.generator_loss(logs["real_logit"], logs["fake_logit"])
        return self.log(logs)

    def _discriminate(
        self, images: Any, fake: Any, mix: Any, *, training: bool
    ) -> tuple[Any, dict[str, Any]]:
        """The discriminator's loss [batch], penalty included, and its parts for the log."""
        real_logits = self.discriminator(images, training=training)
        fake_logits = self.discriminator(fake, training=training)
        loss = self.discriminator_loss(real_logits, fake_logits)
        logs = {"real_logit": real_logits, "fake_logit": fake_logits, "discriminator_loss": loss}
        penalty = self.gradient_penalty(images, fake, mix)
        if penalty is None:
            return loss, logs
        return loss + penalty, {**logs, "gradient_penalty": penalty}

    def _update_ema(self) -> None:
        if self.ema_generator is None:
            return
        # Early in training the average looks back over few steps only, not to the random start.
        step = tf.cast(self.step.value, tf.float32)
        decay = tf.minimum(self.ema, (1.0 + step) / (10.0 + step))
        pairs = zip(self.ema_generator.weights, self.generator.weights, strict=True)
        for average, weight in pairs:
            # BatchNorm's moving statistics are averages already.
            average.assign(decay * average + (1.0 - decay) * weight if weight.trainable else weight)

    def compile(
        self, generator_optimizer: Any = None, discriminator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Sets the optimizers, by default the paper's.

        Args:
            generator_optimizer: A Keras optimizer.
            discriminator_optimizer: Another.
            **kwargs: `accumulate` (parts a batch is computed in), `clip_norm` (of each whole
                gradient), `jit_compile`, and further ones of `keras.Model.compile`.
        """
        optimizers = (generator_optimizer, discriminator_optimizer)
        self._compile(dict(zip(self.optimizer_names, optimizers, strict=True)), **kwargs)

    def variables_of(self, optimizer_name: str) -> list[Any]:
        """Trainable variables of the generator or of the discriminator."""
        return getattr(self, optimizer_name.removesuffix("_optimizer")).trainable_variables

    # Inference

    @property
    def minibatches(self) -> int:  # type: ignore[override]
        """Minibatches a training batch is split into."""
        return self.n_critic

    @property
    def sampling_generator(self) -> keras.Model:
        """The averaged generator where there is one, else the generator."""
        return self.ema_generator or self.generator

    def images_from_latents(self, latents: Any) -> Any:
        """Images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        return self.sampling_generator(latents, training=False)

    def call(self, latents: Any, training: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
        """Generates, so that `predict(latents)` does."""
        return self.images_from_latents(latents)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; networks of the user's own are stored whole."""
        options = {"network": self.network, "n_critic": self.n_critic, "ema": self.ema}
        return {**super().get_config(), **options, **self.own_networks()}
