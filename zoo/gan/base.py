"""The one training step of the GAN family.

A model overrides `generator_loss`, `discriminator_loss` and, where it has them,
`logit_regularizers`, `gradient_penalty`, `generator_penalty` and `auxiliary_loss`. All return one
value per example. `judge` decides what the discriminator sees, `condition` what it takes besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from zoo.core.channels import runnable
from zoo.core.contracts import IMAGES, LOGITS
from zoo.core.model import EndpointSpec
from zoo.core.network_tools import check_network, copy_network, with_labels
from zoo.core.replicas import in_turn
from zoo.core.replicated_step import Player
from zoo.gan._average import check_average, move_average
from zoo.gan._little_data import LittleData
from zoo.gan._started import StartedGAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import keras

    from zoo.io.types import Tensor

PLAYERS = ("discriminator", "generator")


class BaseGAN(StartedGAN, LittleData):
    """A generator and a discriminator (or critic), with latents from N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        generator: `keras.Model` from latents [batch, latent_dim] to images in [0, 1].
        discriminator: `keras.Model` from images in [0, 1] to logits [batch, 1]. With `num_classes`,
            both take int32 labels [batch] as a second input.
        normalization: For a built-in discriminator: `"batch"`, `"none"` or `"spectral"`.
        n_critic: Discriminator updates per generator update. A training batch is split into
            `n_critic` minibatches, one per update, as the algorithm of WGAN draws them: to give
            each update 64 images at n_critic=5, train with batches of 320.
        ema: Decay of an average of the generator's weights, which then draws the samples; or None.
        ema_images: In place of `ema`, the half-life of that average, in training images.
        ema_rampup: With `ema_images`: the half-life is at most this times the images seen so far
            (`images_seen`), as in StyleGAN2-ADA (arXiv 2006.06676). None leaves it as it is.
        ttur: The discriminator's learning rate over the generator's, by default (arXiv 1706.08500).
        num_classes: Classes of a conditional model. Generated images get the real ones' labels.
        seed: Seed of the training noise. `name` and `dtype` are Keras's.
        **kwargs: Arguments of `LittleData`: `diff_augment`, `ada`, `apa`, `lecam` and theirs; and
            those of `StartedGAN`: `freeze_discriminator` and the like.

    Raises:
        ValueError: If a network has the wrong shapes, the generator's values leave [0, 1], the
            discriminator's are no logits, or an option is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("gan", (8, 8, 1), 2, network="mlp", ema=0.9)
        >>> model.discriminate(model.generate(3, seed=0)).shape
        TensorShape([3])
    """

    family = "gan"
    log_names: tuple[str, ...] = (
        "generator_loss",
        "discriminator_loss",
        "real_logit",
        "fake_logit",
    )
    players: Mapping[str, Player] = {
        "generator_optimizer": Player("generator_total", ("generator",)),
        "discriminator_optimizer": Player("discriminator_total", ("discriminator",)),
    }

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        network: str = "conv",
        generator: keras.Model | None = None,
        discriminator: keras.Model | None = None,
        normalization: str = "batch",
        n_critic: int = 1,
        ema: float | None = None,
        ema_images: float | None = None,
        ema_rampup: float | None = 0.05,  # _average.RAMPUP, as the number that `zoo info` shows
        ttur: float = 1.0,
        num_classes: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            num_classes=num_classes,
            seed=seed,
            **kwargs,
        )
        if n_critic < 1:
            msg = f"n_critic={n_critic}: expected at least 1."
            raise ValueError(msg)
        check_average(ema, ema_images, ema_rampup)
        if ttur <= 0.0:
            msg = f"ttur={ttur}: expected more than 0, such as 4."
            raise ValueError(msg)
        self.network = network
        self.normalization = normalization
        self.n_critic = n_critic
        self.ema, self.ema_images, self.ema_rampup = ema, ema_images, ema_rampup
        self.ttur = float(ttur)
        self.keep_own(generator=generator, discriminator=discriminator)
        self.generator = runnable(generator, "generator") or self.new_generator()
        self.discriminator = runnable(discriminator, "discriminator") or self.new_discriminator()
        self.check_networks()
        self.ema_generator = (
            None
            if ema is None and ema_images is None
            else copy_network(self.generator, (self.latent_dim,), labels=bool(self.num_classes))
        )
        if ema_images is not None:
            self.images_seen = self.add_weight(
                shape=(), dtype="int64", initializer="zeros", trainable=False, name="images_seen"
            )
        self.freeze()
        self.built = True

    # Networks

    def new_generator(self, **options: Any) -> keras.Model:
        """A generator of the architecture."""
        if self.num_classes:
            options = {"num_classes": self.num_classes, **options}
        return self.build_network("generator", self.image_shape, self.latent_dim, **options)

    def new_discriminator(self, **options: Any) -> keras.Model:
        """A discriminator of the architecture."""
        if self.num_classes:
            options = {"num_classes": self.num_classes, **options}
        return self.build_network(
            "discriminator", self.image_shape, normalization=self.normalization, **options
        )

    def check_networks(self) -> None:
        """Raises ValueError if a network does not suit the model."""
        self.check_generator()
        check_network(
            self.discriminator, "discriminator", self.image_shape, [(1,)],
            labels=bool(self.num_classes), values=[LOGITS],
        )  # fmt: skip

    def check_generator(self) -> None:
        """Raises ValueError if the generator does not suit the model."""
        check_network(
            self.generator, "generator", (self.latent_dim,), [self.image_shape],
            labels=bool(self.num_classes), values=[IMAGES],
        )  # fmt: skip

    # Hooks

    def generator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """What the generator minimises, [batch], of logits [batch, 1]."""
        raise NotImplementedError

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """What the discriminator minimises, [batch], of logits [batch, 1]."""
        raise NotImplementedError

    def gradient_penalty(
        self,
        critic: Callable[[Any], Any],  # noqa: ARG002
        real: Tensor,  # noqa: ARG002
        fake: Tensor,  # noqa: ARG002
        batch: dict[str, Any],  # noqa: ARG002
        *,
        training: bool,  # noqa: ARG002
    ) -> Tensor:
        """Added to the discriminator's loss: [batch], or None for no penalty.

        Args:
            critic: The discriminator's logits [batch, 1] of images, in inference mode, with the
                labels and augmentation of `batch`.
            real: Images, float32 [batch, height, width, channels].
            fake: Generated images, like `real`.
            batch: The images, labels and noise.
            training: False in an evaluation.
        """
        return None

    def generator_penalty(self, batch: dict[str, Any]) -> Tensor:  # noqa: ARG002
        """Added to the generator's loss: [batch], or None for no penalty."""
        return None

    def auxiliary_loss(
        self,
        heads: list[Any],  # noqa: ARG002
        batch: dict[str, Any],  # noqa: ARG002
        *,
        real: bool,  # noqa: ARG002
    ) -> Tensor:
        """Added to the discriminator's loss and, for fake images, to the generator's: [batch].

        Args:
            heads: The discriminator's outputs beside the logit.
            batch: The images, labels and noise.
            real: Whether the outputs are of real images.

        Returns:
            The loss, or None for none.
        """
        return None

    def auxiliary_logs(self, heads: list[Any], batch: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Further values [batch] by name: to log, if in `log_names`, or for further players."""
        return {}

    def condition(self, batch: dict[str, Any], *, real: bool) -> Tensor:  # noqa: ARG002
        """What the discriminator takes beside the images: [batch, ...], or None for nothing.

        Here the labels of a conditional model, for generated images those of the real ones.

        Args:
            batch: The images, labels and noise.
            real: Whether the images are real.
        """
        return batch.get("labels")

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of a batch by name, each [batch, ...]; `draw` is that of `noise_source`."""
        return {"latents": draw("latent", [self.latent_dim]), **super().batch_noise(draw)}

    def generated(self, generator: keras.Model, batch: dict[str, Any], *, training: bool) -> Tensor:
        """The images of a batch's `latents`, and labels, by the generator or its average."""
        return generator(with_labels(batch["latents"], batch.get("labels")), training=training)

    def extend_batch(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """The batch with what further networks add to it. It is called under the tape."""
        return batch

    def update_averages(self, batch: dict[str, Any], logs: dict[str, Any]) -> None:  # noqa: ARG002
        """Moves averages, after a step's updates of both players.

        An override moves its own averages and calls `super().update_averages(batch, logs)`. A step
        in which that call is missing raises RuntimeError.

        Args:
            batch: The images, labels and noise of the step.
            logs: What the players minimised, and its parts, each [batch, ...].
        """
        move_average(self, batch)
        self.adapt()
        self._averages_moved = True

    def judge(
        self, images: Tensor, batch: dict[str, Any], *, real: bool, training: bool
    ) -> list[Any]:
        """The discriminator's outputs: the logit [batch, 1], then those of further heads."""
        images = self.augmented(images, batch, real=real)
        return self.outputs_of(images, self.condition(batch, real=real), training=training)

    def outputs_of(self, images: Tensor, condition: Tensor, *, training: bool) -> list[Any]:
        """As `judge`, of images that are not augmented, with their condition or None."""
        outputs = self.discriminator(with_labels(images, condition), training=training)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def adversarial_logits(self, outputs: list[Any]) -> Tensor:
        """What both losses take of the discriminator's outputs: the logit, [batch, 1]."""
        return outputs[0]

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """`n_critic` discriminator updates, and one of the generator and of each further player.

        With n_critic = 1 all move at once, on gradients from one fake batch and one pass; else the
        generator answers to the updated discriminator.
        """
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        logs = self._update(PLAYERS, batch) if self.n_critic == 1 else self._update_in_turn(batch)
        self._averages_moved = False
        self.update_averages(batch, logs)
        if not self._averages_moved:
            msg = (
                f"{type(self).__name__}.update_averages does not call super().update_averages("
                "batch, logs), which moves the averages of its base classes. Add the call."
            )
            raise RuntimeError(msg)
        self.step.assign_add(1)
        return self.log(logs)

    def _update_in_turn(self, batch: dict[str, Any]) -> dict[str, Any]:
        tf.debugging.assert_greater_equal(
            tf.shape(batch["images"])[0],
            self.n_critic,
            f"A replica's batch has fewer images than n_critic={self.n_critic} updates need. Use "
            "larger batches, or drop the remainder.",
        )
        for minibatch in in_turn(batch, self.n_critic):
            logs = self._update(("discriminator",), minibatch)
        # The last minibatch again, with other noise: the players have not met on it.
        minibatch |= self.batch_noise(
            lambda name, *args, **kwargs: self.noise_source(minibatch["images"])(
                f"generator_{name}", *args, **kwargs
            )
        )
        answer = self._update(("generator",), minibatch)
        losses = {player.loss for player in self.players.values()} - {"discriminator_total"}
        return logs | {n: answer[n] for n in answer if n.startswith("generator") or n in losses}

    def _update(self, players: Sequence[str], batch: dict[str, Any]) -> dict[str, Any]:
        """Moves the players at once; those that a model adds move with the generator."""
        names = [f"{player}_optimizer" for player in players]
        if "generator" in players:
            names += [name for name in self.players if name not in BaseGAN.players]
        logs = self.minimize(
            lambda part: self._player_losses(part, players, training=True), batch, *names
        )
        if "discriminator" in players:
            self.observe(logs)
        return logs

    def test_step(self, data: Any) -> dict[str, Any]:
        """Both losses without updates, with noise that depends on `seed` and the position."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"], test=True))
        return self.log(self._player_losses(batch, ("discriminator",), training=False))

    def _player_losses(
        self, batch: dict[str, Any], penalized: Sequence[str], *, training: bool
    ) -> dict[str, Any]:
        """What each player minimises, and its parts, each [batch] but for the logits [batch, 1].

        Args:
            batch: The images, labels and noise.
            penalized: Players whose penalty to compute.
            training: Whether layers run in training mode; else the fakes are those that the model
                samples.

        Returns:
            `generator_total` and `discriminator_total`, penalties and auxiliary losses included;
            `generator_loss` and `discriminator_loss` without; the logits, and the extras by name.
        """
        generator = self.generator if training else self.sampling_generator
        fake = self.generated(generator, batch, training=training)
        batch = self.with_pseudo_reals(batch, training=training)
        batch = self.extend_batch(batch, training=training)
        of_real = self.judge(batch["images"], batch, real=True, training=training)
        of_fake = self.judge(fake, batch, real=False, training=training)
        logits = self.adversarial_logits(of_real), self.adversarial_logits(of_fake)
        (real_logit, *real_heads), (fake_logit, *fake_heads) = of_real, of_fake
        logs = {
            "real_logit": real_logit,
            "fake_logit": fake_logit,
            "generator_loss": self.generator_loss(*logits),
            "discriminator_loss": self.discriminator_loss(*logits),
            **self.augmentation_logs(real_logit),
        }
        totals = {player: logs[f"{player}_loss"] for player in PLAYERS}

        def add(name: str, value: Any, *players: str) -> None:
            if value is not None:
                logs[name] = value
                totals.update({player: totals[player] + value for player in players})

        add("fake_auxiliary", self.auxiliary_loss(fake_heads, batch, real=False), *PLAYERS)
        add("real_auxiliary", self.auxiliary_loss(real_heads, batch, real=True), "discriminator")
        logs |= self.auxiliary_logs(fake_heads, batch)

        def critic(images: Tensor) -> Any:
            return self.judge(images, batch, real=True, training=False)[0]

        if "discriminator" in penalized:
            for name, value in self.logit_regularizers(real_logit, fake_logit, batch).items():
                add(name, value, "discriminator")
            penalty = self.gradient_penalty(critic, batch["images"], fake, batch, training=training)
            add("gradient_penalty", penalty, "discriminator")
        if "generator" in penalized:
            add("generator_penalty", self.generator_penalty(batch), "generator")
        return logs | {f"{player}_total": value for player, value in totals.items()}

    def updates_a_step(self, optimizer_name: str) -> int:
        """`n_critic` for the discriminator, else 1."""
        return self.n_critic if optimizer_name == "discriminator_optimizer" else 1

    # Inference

    @property
    def minibatches(self) -> int:  # type: ignore[override]
        """Minibatches a training batch is split into."""
        return self.n_critic

    @property
    def sampling_generator(self) -> keras.Model:
        """The averaged generator where there is one, else the generator."""
        return self.ema_generator or self.generator

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        return self.drawn_by(self.sampling_generator, latents, labels)

    def drawn_by(
        self, generator: keras.Model, latents: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """As `images_from_latents`, by the generator or its average."""
        return generator(with_labels(latents, labels), training=False)

    def discriminate(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The discriminator's logits, float32 tensor [batch]. Higher is more real."""
        return self.outputs_of(self.images_of(images), labels, training=False)[0][:, 0]

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:  # noqa: ARG002, FBT001, FBT002
        """Generates, so that `predict(latents)` does, or `predict([latents, labels])`."""
        images = self.images_from_latents
        return images(*inputs) if self.num_classes else images(inputs)

    # Deployment

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("generator" if self.ema_generator is None else "ema_generator",)

    def endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported: `generate`."""
        inputs, outputs = {"latent": (self.noise_dim,)}, {"image": self.image_shape}
        spec = EndpointSpec("images_from_latents", inputs, outputs, self.served_networks)
        return {"generate": spec}

    def optional_endpoints(self) -> dict[str, EndpointSpec]:
        """What is exported on request: `discriminate`."""
        inputs = {"image": self.image_shape, **({"label": ()} if self.num_classes else {})}
        spec = EndpointSpec("discriminate", inputs, {"logit": ()}, ("discriminator",))
        return {"discriminate": spec}

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; networks of the user's own are stored whole."""
        names = (
            "network", "normalization", "n_critic", "ema", "ema_images", "ema_rampup", "ttur",
        )  # fmt: skip
        options = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **options, **self.own_networks()}
