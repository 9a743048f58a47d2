"""The one training step of the VAE family.

The loss is distortion + Σ weight · term: the negative evidence lower bound of arXiv 1312.6114,
eq. 3, where the only term is the rate, with weight 1. A variant overrides `regularizer` (and
`weights_of_terms`), or what the bound is made of: `forward`, `rate`, `log_prior`, `terms`. All give
one value per example, in nats.

A VAE with `transfer` trains a decoder that was brought from a GAN: on a weighted sum of distortion
and regularisation and of two terms of its own, `sleep` and `anchor`, with an optimizer for the
decoder. The weights and rates are variables, for a callback to move (`zoo.training.recipes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.adam import Adam
from zoo.core.channels import runnable
from zoo.core.contracts import LOG_VARIANCE, LOGITS
from zoo.core.model import ZooModel
from zoo.core.network_tools import check_network, copy_network, with_labels
from zoo.core.replicas import global_mean
from zoo.core.replicated_step import Player
from zoo.data.checked import checked_pixels
from zoo.vae._likelihoods import LIKELIHOODS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import keras

TERMS = ("distortion", "rate", "sleep", "anchor")
TRANSFER_PLAYERS = {
    "optimizer": Player("objective"),
    "decoder_optimizer": Player("objective", ("decoder",)),
}


class BaseVAE(ZooModel):
    """A variational autoencoder with posterior N(μ(x), diag σ²(x)) and prior N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        encoder: `keras.Model` from images to (mean, log-variance), each [batch, latent_dim].
        decoder: `keras.Model` from latents to image *logits*: the mean image is their sigmoid.
            With `num_classes`, both take int32 labels [batch] as a second input.
        likelihood: p(x | z), one of `zoo.vae._likelihoods.LIKELIHOODS`.
        warm_up: Training steps over which the weight of the regularisation rises from 0 to 1
            (arXiv 1602.02282, section 2.2); 0 for none.
        cycle: Steps after which `warm_up` begins anew (cyclical annealing, arXiv 1903.10145); 0 for
            never.
        free_bits: Nats of a latent dimension's rate that cost nothing in training, by the mean over
            the batch (arXiv 1606.04934, section C.8). Batches computed in parts see the parts.
        transfer: Initial weights of the `TERMS` for a decoder that was trained before; the model
            then keeps a frozen copy of the decoder it begins with, and `compile` takes a
            `decoder_optimizer` too. None trains on the loss alone.
        num_classes: Classes of a conditional model.
        seed: Seed of the training noise.
        **kwargs: `name` and `dtype`.

    Raises:
        ValueError: If a network has the wrong shapes, the decoder's values are no logits or the
            encoder's no log-variances, an option is out of range, or options contradict each other.
    """

    family = "vae"
    log_names: tuple[str, ...] = ("loss", "distortion", "rate")
    players: Mapping[str, Player] = {"optimizer": Player("loss")}
    # Whether the parts of the loss may be weighed by `transfer`: not where the step is another.
    transferable: ClassVar[bool] = True
    # Options that are not to be had otherwise.
    fixed_options: ClassVar[dict[str, Any]] = {}
    # Whether `encode` gives the moments of a Gaussian posterior over what `decode` takes.
    gaussian_posterior: ClassVar[bool] = True

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        network: str = "conv",
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        likelihood: str = "gaussian",
        warm_up: int = 0,
        cycle: int = 0,
        free_bits: float = 0.0,
        transfer: Sequence[float] | None = None,
        num_classes: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if transfer is not None:
            self._check_transfer(transfer, num_classes)
            self.log_names = (*self.log_names, "sleep", "anchor")
            self.players = TRANSFER_PLAYERS
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            num_classes=num_classes,
            seed=seed,
            **kwargs,
        )
        self._check_options(likelihood, warm_up, cycle, free_bits)
        self.network = network
        self.likelihood = likelihood
        self.warm_up, self.cycle, self.free_bits = int(warm_up), int(cycle), float(free_bits)
        self.pixels = LIKELIHOODS[likelihood](self.add_weight)
        self.keep_own(encoder=encoder, decoder=decoder)
        options = {"num_classes": self.num_classes} if self.num_classes else {}
        shapes = (self.image_shape, self.latent_dim)
        self.encoder = runnable(encoder, "encoder") or self.build_network(
            "encoder", *shapes, **options
        )
        self.decoder = runnable(decoder, "decoder") or self.new_decoder(*shapes, **options)
        self.check_networks()
        self.transfer = None if transfer is None else [float(weight) for weight in transfer]
        if transfer is not None:
            self.first_decoder = copy_network(self.decoder, (self.latent_dim,))
            self.term_weights = self.add_weight(
                shape=(len(TERMS),), trainable=False, name="term_weights",
                initializer=lambda shape, dtype=None: tf.constant(transfer, dtype),  # noqa: ARG005
            )  # fmt: skip
        self.built = True

    # Hooks

    def regularizer(
        self,
        mean: Any,
        log_variance: Any,
        latents: Any,
        batch: dict[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """What the loss has beside the distortion: terms [batch] in nats, by name.

        Those of `weights_of_terms` are summed with these; others are only logged, if `log_names`
        has them.

        Args:
            mean: μ(x), float32 [batch, latent_dim].
            log_variance: log σ²(x), like `mean`.
            latents: z, like `mean`.
            batch: The images, labels and noise.
        """
        return {"rate": self.rate(mean, log_variance, latents)}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """Weight of each term of `regularizer` in the loss."""
        return {"rate": 1.0}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of a batch by name, each [batch, ...]; `draw` is that of `noise_source`."""
        noise = {"posterior": draw("posterior", [self.latent_dim])}
        if self.transfer is not None:
            noise["dream"] = draw("dream", [self.latent_dim])
            noise["dream_pixels"] = draw("dream_pixels", self.image_shape)
        return noise

    def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """Further values to log, of a replica's whole batch, whatever the parts it came in.

        In training, after the update: what moves without a gradient moves here.

        Args:
            terms: What `terms` gave, in the order of the parts.
            training: Whether this is a training step.
        """
        return {}

    def rate(self, mean: Any, log_variance: Any, latents: Any) -> Any:  # noqa: ARG002
        """Rate KL(q(z | x) ‖ p(z)), [batch] in nats (arXiv 1312.6114, eq. 10)."""
        return losses.kl_standard_normal(mean, log_variance)

    def log_prior(self, latents: Any) -> Any:
        """Log p(z), float32 [...] in nats, of latents [..., latent_dim]."""
        zeros = tf.zeros_like(latents)
        return losses.normal_log_density(latents, zeros, zeros)

    def new_decoder(self, *args: Any, **options: Any) -> keras.Model:
        """A decoder of the architecture."""
        return self.build_network("decoder", *args, **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        latent, labels = (self.latent_dim,), bool(self.num_classes)
        check_network(
            self.encoder, "encoder", self.image_shape, [latent, latent], labels=labels,
            values=[None, LOG_VARIANCE],
        )  # fmt: skip
        check_network(
            self.decoder, "decoder", latent, [self.image_shape], labels=labels, values=[LOGITS]
        )

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update by each player: on the loss, or on the weighted terms of a transfer."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        statistic = self._statistic_of_parts(batch)

        def losses_of(part: dict[str, Any]) -> dict[str, Any]:
            terms = self.terms(part, training=True, statistic=statistic)
            if self.transfer is None:
                return terms
            terms |= self._transfer_terms(part, weights=self.term_weights.value)
            return {**terms, "objective": self._weighted(terms)}

        terms = self.minimize(losses_of, batch)
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The loss, with noise that depends on `seed` and the position in the data.

        Here the regularisation has its full weight, whatever the warm-up, and no bits are free.
        """
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"], test=True))
        terms = self.terms(batch, training=False)
        if self.transfer is not None:
            terms |= self._transfer_terms(batch, weights=tf.ones([len(TERMS)]))
        terms |= self.batch_logs(terms, training=False)
        return self.log(terms)

    def terms(
        self, batch: dict[str, Any], *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """The loss and its parts (arXiv 1312.6114, eq. 7).

        Args:
            batch: The images x, labels and noise.
            training: Whether layers run in training mode, and annealing and free bits count.
            statistic: That of the whole training batch, where `batch` is a part of it.

        Returns:
            `loss`, `distortion`, `regularization` and the terms of `regularizer`, each [batch] in
            nats.
        """
        images = self.targets(batch)
        mean, log_variance, latents, logits = self.forward(batch, training=training)
        function = self.pixels.batch_statistic()
        if training and statistic is None and function is not None:
            statistic = self._over_batch(function(images, logits))
        (gated,) = self._gated("distortion", logits)
        distortion = self.pixels.nll(images, gated, statistic)
        mean, log_variance, latents = self._gated("rate", mean, log_variance, latents)
        found = self.regularizer(mean, log_variance, latents, batch)
        total = sum(weight * found[name] for name, weight in self.weights_of_terms.items())
        if training and self.free_bits:
            total += self.weights_of_terms["rate"] * self._free(mean, log_variance)
        if training and self.warm_up:
            total *= self.annealing()
        return {
            "loss": distortion + total, "distortion": distortion, "regularization": total, **found
        }  # fmt: skip

    def forward(self, batch: dict[str, Any], *, training: bool) -> tuple[Any, Any, Any, Any]:
        """Posterior mean and log-variance, latents z = μ + σ ⊙ ε (eq. 7), the decoder's logits."""
        labels = batch.get("labels")
        mean, log_variance = self.encoder(with_labels(batch["images"], labels), training=training)
        latents = mean + tf.exp(0.5 * log_variance) * batch["posterior"]
        return mean, log_variance, latents, self.logits(latents, labels, training=training)

    def targets(self, batch: dict[str, Any]) -> Any:
        """The images that `forward`'s logits are of, one for each."""
        return batch["images"]

    def annealing(self) -> Any:
        """Weight of the regularisation at this step: 1, or less while warming up; scalar."""
        step = self.step.value % self.cycle if self.cycle else self.step.value
        return tf.minimum(tf.cast(step, tf.float32) / max(self.warm_up, 1), 1.0)

    def _free(self, mean: Any, log_variance: Any) -> Any:
        """What the rate lacks, [batch]: Σ_j λ − KL_j over dimensions with mean KL_j < λ."""
        zeros = tf.zeros_like(mean)[..., None]
        each = losses.kl_normals(mean[..., None], log_variance[..., None], zeros, zeros)
        below = global_mean(tf.stop_gradient(each)) < self.free_bits
        return tf.reduce_sum(tf.where(below, self.free_bits - each, 0.0), axis=1)

    def _statistic_of_parts(self, batch: dict[str, Any]) -> Any:
        """The statistic, before any gradient, of a batch that is computed in parts."""
        function = self.pixels.batch_statistic()
        if function is None or self.accumulate == 1:
            return None  # one pass gives both

        def compute(batch: dict[str, Any]) -> tuple[Any, Any]:
            *_, logits = self.forward(batch, training=True)
            values = function(self.targets(batch), logits)
            return [tf.reduce_sum(values)], {"statistic": values}

        _, found = self.accumulated(compute, batch)
        return self._over_batch(found["statistic"])

    def _over_batch(self, values: Any) -> Any:
        statistic = global_mean(tf.stop_gradient(values))
        self.pixels.remember(statistic)
        return statistic

    # Training a decoder that was brought from a GAN

    def _transfer_terms(self, batch: dict[str, Any], *, weights: Any) -> dict[str, Any]:
        """The terms on dreamt latents, each [batch]; 0, uncomputed, where its weight is 0.

        `sleep` is −log q(z | G(z) + σ ξ) in nats, of the encoder alone (the sleep phase of
        wake-sleep, Hinton et al. 1995); `anchor` is ‖G(z) − G₀(z)‖², of the decoder alone, with G₀
        the decoder as it came. Networks run in inference mode: nothing here may update BatchNorm.
        """
        latents = batch["dream"]

        def sleep() -> Any:
            dreamt = tf.stop_gradient(self.decode(latents))
            deviation = self.pixels.pixel_deviation()
            mean, log_variance = self.encoder(
                dreamt + deviation * batch["dream_pixels"], training=False
            )
            return -losses.normal_log_density(latents, mean, log_variance)

        def anchor() -> Any:
            first = self.pixels.mean(self.first_decoder(latents, training=False))
            return losses.sum_per_example(tf.square(self.decode(latents) - first))

        def zeros() -> Any:
            return tf.zeros([tf.shape(latents)[0]])

        by_name = dict(zip(TERMS, tf.unstack(weights), strict=True))
        return {
            "sleep": tf.cond(by_name["sleep"] > 0.0, sleep, zeros),
            "anchor": tf.cond(by_name["anchor"] > 0.0, anchor, zeros),
        }

    def _gated(self, name: str, *tensors: Any) -> tuple[Any, ...]:
        """Tensors through which a term of weight 0 sends no gradient, not even NaN."""
        if self.transfer is None:
            return tensors
        weight = tf.sign(self.term_weights.value[TERMS.index(name)])

        @tf.custom_gradient
        def gate(tensor: Any) -> tuple[Any, Callable[[Any], Any]]:
            return tf.identity(tensor), lambda g: tf.math.multiply_no_nan(g, weight)

        return tuple(gate(tensor) for tensor in tensors)

    def _weighted(self, terms: dict[str, Any]) -> Any:
        names = ("distortion", "regularization", *TERMS[2:])
        weights = zip(names, tf.unstack(self.term_weights.value), strict=True)
        # A term of weight 0 may be infinite, while an encoder is far from any posterior.
        return sum(tf.math.multiply_no_nan(terms[name], weight) for name, weight in weights)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """Adam at 1e-3; at a tenth of it for a decoder that was brought from a GAN."""
        return Adam(1e-4 if name == "decoder_optimizer" else 1e-3)

    # Inference

    def encode(self, images: Any, labels: Any = None) -> tuple[Any, Any]:
        """Posterior (mean, log-variance), float32 tensors [batch, latent_dim], of images.

        Here and below, images are floats in [0, 1], or uint8 in 0…255; int32 `labels` [batch] are
        for a conditional model, or one class for all.

        Raises:
            ValueError: If images or labels are not what the model takes.
        """
        images = self.images_of(images)
        labels = self._labels_of(images, labels)
        mean, log_variance = self.encoder(with_labels(images, labels), training=False)
        return mean, log_variance

    def logits(self, latents: Any, labels: Any = None, *, training: bool = False) -> Any:
        """The decoder's logits of latents, [batch, height, width, channels]."""
        return self.decoder(with_labels(latents, labels), training=training)

    def decode(self, latents: Any, labels: Any = None) -> Any:
        """Mean images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        return self.pixels.mean(self.logits(latents, self._labels_of(latents, labels)))

    def images_from_latents(self, latents: Any, labels: Any = None) -> Any:
        """Mean images of latents: the same as `decode`."""
        return self.decode(latents, labels)

    def reconstruct(self, images: Any, labels: Any = None) -> Any:
        """Mean image of the posterior mean, float32 tensor in [0, 1] of the shape of `images`."""
        return self.decode(self.encode(images, labels)[0], labels)

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002
        """Reconstructs, so that `predict(images)` does, or `predict([images, labels])`."""
        both = isinstance(inputs, (list, tuple))
        return self.reconstruct(*inputs) if both else self.reconstruct(inputs)

    def _labels_of(self, x: Any, labels: Any) -> Any:
        """Labels [batch] of a network's input, checked: within a graph only that there are any."""
        if labels is None and not self.num_classes:
            return None
        if labels is None or tf.executing_eagerly():
            return self.checked_labels(labels, x.shape[0])
        labels = labels if labels.shape.rank == 1 else tf.reshape(labels, [-1])
        return tf.cast(labels, tf.int32)

    def check_inputs(self, inputs: Any) -> None:
        """Raises ValueError where `predict` is given what the model does not take."""
        super().check_inputs(inputs)
        images = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        checked_pixels(images, "The images")
        self._checked_images(images)

    # Deployment

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "decoder")

    def endpoints(self) -> dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]]:
        """What is exported: name → (method, shapes of inputs, of outputs, networks used)."""
        latent, image = (self.latent_dim,), self.image_shape
        moments = {"mean": latent, "log_variance": latent}
        both = ("encoder", "decoder")
        again = {"reconstruction": image}
        return {
            "generate": ("images_from_latents", {"latent": latent}, {"image": image}, ("decoder",)),
            "encode": ("encode", {"image": image}, moments, ("encoder",)),
            "decode": ("decode", {"latent": latent}, {"image": image}, ("decoder",)),
            "reconstruct": ("reconstruct", {"image": image}, again, both),
        }

    def log_weights(self, images: Any, noise: Any, labels: Any = None) -> Any:
        """Importance weights log p(x, z) − log q(z | x) of arXiv 1509.00519, eq. 7.

        Args:
            images: x, [batch, height, width, channels] as of `encode`.
            noise: ε ~ N(0, I), float32 [k, batch, latent_dim].
            labels: The classes for a conditional model, int32 [batch].

        Returns:
            float32 [k, batch], nats. Their mean over k estimates the ELBO, their log-mean-exp the
            k-sample bound on log p(x).
        """
        images = self.images_of(images)
        mean, log_variance = self.encode(images, labels)
        latents = mean + tf.exp(0.5 * log_variance) * noise
        log_posterior = losses.normal_log_density(latents, mean, log_variance)
        log_likelihood = tf.map_fn(
            lambda z: -self.pixels.nll(images, self.logits(z, labels), None), latents
        )
        return log_likelihood + self.log_prior(latents) - log_posterior

    def _check_transfer(self, transfer: Sequence[float], num_classes: int) -> None:
        if len(transfer) != len(TERMS) or min(transfer) < 0:
            msg = f"transfer={transfer}: expected a weight, at least 0, for each of {TERMS}."
            raise ValueError(msg)
        if num_classes or not self.transferable:
            reason = "conditional" if num_classes else "trained in a step of its own"
            msg = f"transfer={transfer}: this {self.model_name} is {reason}, and has no transfer."
            raise ValueError(msg)

    def _check_options(self, likelihood: str, warm_up: int, cycle: int, free_bits: float) -> None:
        given = {"likelihood": likelihood, "warm_up": warm_up, "free_bits": free_bits}
        for name, only in self.fixed_options.items():
            if given[name] != only:
                msg = f"{name}={given[name]!r}: {self.model_name} has {only!r} alone. Leave it out."
                raise ValueError(msg)
        if likelihood not in LIKELIHOODS:
            msg = f"likelihood={likelihood!r}: expected one of {tuple(LIKELIHOODS)}."
            raise ValueError(msg)
        if min(warm_up, cycle, free_bits) < 0:
            msg = f"warm_up={warm_up}, cycle={cycle}, free_bits={free_bits}: expected at least 0."
            raise ValueError(msg)
        if cycle and not 0 < warm_up <= cycle:
            msg = f"cycle={cycle} repeats a warm_up of {warm_up} steps: expected 1 to {cycle}."
            raise ValueError(msg)
        if free_bits and "rate" not in self.weights_of_terms:
            msg = f"free_bits={free_bits}: {self.model_name} has no rate in its loss to be free of."
            raise ValueError(msg)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; networks of the user's own are stored whole."""
        names = ("network", "likelihood", "warm_up", "cycle", "free_bits", "transfer")
        options = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **options, **self.own_networks()}
