"""The training step that all VAEs share.

The loss is distortion + Σ weight · term. Where the only term is the rate, with weight 1, it is the
negative evidence lower bound (ELBO) of arXiv 1312.6114, eq. 3. A model overrides
`regularization_terms` (and `weights_of_terms`), or what the bound is made of: `forward`, `rate`,
`log_prior`, `terms`. All give one value per example, in nats. With `transfer` a VAE trains a
decoder that was brought from a GAN: see `zoo.vae._transfer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.adam import Adam
from zoo.core.carried import CarriedLayers
from zoo.core.channels import runnable
from zoo.core.contracts import LOG_VARIANCE, LOGITS
from zoo.core.model import EndpointSpec
from zoo.core.network_tools import check_network, with_labels
from zoo.core.replicas import global_mean
from zoo.core.replicated_step import Player
from zoo.data.checked import checked_pixels
from zoo.vae._likelihoods import LIKELIHOODS
from zoo.vae._options import check_options, logits_shape, named_outputs, weighted_sum
from zoo.vae._transfer import TransferLoss, check_transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import keras

    from zoo.io.types import Tensor


class BaseVAE(CarriedLayers):
    """A variational autoencoder with posterior N(μ(x), diag σ²(x)) and prior N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        encoder: `keras.Model` from images to (mean, log-variance), each [batch, latent_dim].
        decoder: `keras.Model` from latents to image *logits*: the mean image is their sigmoid.
            With `num_classes`, both take int32 labels [batch] as a second input.
        likelihood: p(x | z), one of `zoo.vae._likelihoods.LIKELIHOODS`.
        warm_up: Training steps over which the weight of the regularization rises from 0 to 1
            (arXiv 1602.02282, section 2.2); 0 for no warm-up.
        cycle: Steps after which `warm_up` begins anew (cyclical annealing, arXiv 1903.10145); 0 for
            never.
        free_bits: Nats per latent dimension that cost nothing in training, measured by the mean of
            the batch (arXiv 1606.04934, section C.8). If a batch is computed in parts, the means
            are those of the parts.
        transfer: Initial weights of `zoo.vae._transfer.TERMS` for a decoder that was trained
            before. The model then keeps a frozen copy of the decoder it begins with, and `compile`
            takes a `decoder_optimizer` too. None trains on the loss alone.
        num_classes: Classes of a conditional model.
        seed: Seed of the training noise.
        **kwargs: `name`, `dtype`, and `carried_rate` and `new_layers` as in `CarriedLayers`.

    Raises:
        ValueError: If a network has the wrong shapes, the decoder's values are no logits or the
            encoder's no log-variances, an option is out of range, or options contradict each other.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("vae", (8, 8, 1), 2, network="mlp")
        >>> images = np.random.default_rng(0).random((4, 8, 8, 1))
        >>> mean, log_variance = model.encode(images)
        >>> mean.shape, model.decode(mean).shape
        (TensorShape([4, 2]), TensorShape([4, 8, 8, 1]))
    """

    family = "vae"
    log_names: tuple[str, ...] = ("loss", "distortion", "rate")
    players: Mapping[str, Player] = {"optimizer": Player("loss")}
    # Whether `transfer` can weigh the parts of the loss. It cannot where a model has its own step.
    transferable: ClassVar[bool] = True
    # Options that have one value only.
    fixed_options: ClassVar[dict[str, Any]] = {}
    # What the encoder makes of images: outputs [batch, latent_dim] by name, and what each holds, as
    # `check_network` takes it.
    encoder_outputs: ClassVar[Mapping[str, str | None]] = {
        "mean": None,
        "log_variance": LOG_VARIANCE,
    }
    # Whether `log_weights` are those of an evidence lower bound, which an evaluation reports.
    has_elbo: ClassVar[bool] = True
    # Whether `latent_code` says all about where the latents of an image lie: on one Gaussian, or a
    # point. Then a sampler can be fitted to the codes of images.
    has_latent_code: ClassVar[bool] = True

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
            check_transfer(self, transfer)
            self.log_names = (*self.log_names, *TransferLoss.log_names)
            self.players = TransferLoss.players
        super().__init__(
            image_shape=image_shape,
            latent_dim=latent_dim,
            num_classes=num_classes,
            seed=seed,
            **kwargs,
        )
        check_options(self, likelihood, warm_up, cycle, free_bits)
        self.network = network
        self.likelihood = likelihood
        self.warm_up, self.cycle, self.free_bits = int(warm_up), int(cycle), float(free_bits)
        self.pixels = LIKELIHOODS[likelihood](self.add_weight)
        self.keep_own(encoder=encoder, decoder=decoder)
        options = {"num_classes": self.num_classes} if self.num_classes else {}
        shapes = [(shape, self.latent_dim) for shape in (self.image_shape, logits_shape(self))]
        self.encoder = runnable(encoder, "encoder") or self.new_encoder(*shapes[0], **options)
        self.decoder = runnable(decoder, "decoder") or self.new_decoder(*shapes[1], **options)
        self.check_networks()
        self.transfer = None if transfer is None else [float(weight) for weight in transfer]
        self.transfer_loss = None if transfer is None else TransferLoss(self, transfer)
        if self.transfer_loss is not None:  # here Keras, which saves them, and callbacks look
            self.first_decoder = self.transfer_loss.first_decoder
            self.term_weights = self.transfer_loss.weights
        self.built = True

    # Hooks

    def regularization_terms(
        self,
        outputs: dict[str, Any],
        batch: dict[str, Any],  # noqa: ARG002
    ) -> dict[str, Any]:
        """What the loss has beside the distortion: terms [batch] in nats, by name.

        The loss sums the terms that `weights_of_terms` has. The others are only logged, if
        `log_names` has them.

        Args:
            outputs: What `forward` returns.
            batch: The images, labels and noise.
        """
        return {"rate": self.rate(*(outputs[x] for x in ("mean", "log_variance", "latents")))}

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """Weight of each of the `regularization_terms` in the loss."""
        return {"rate": 1.0}

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """The noise of a batch by name, each [batch, ...], drawn by what `noise_source` returns."""
        noise = {"posterior": draw("posterior", [self.latent_dim])}
        return noise | (self.transfer_loss.batch_noise(draw) if self.transfer_loss else {})

    def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """Further values to log, computed from the whole batch of a replica.

        In training it runs after the update: what moves without a gradient moves here.

        Args:
            terms: What `terms` returned, with the examples of all parts of the batch.
            training: Whether this is a training step.
        """
        return {}

    def rate(self, mean: Tensor, log_variance: Tensor, latents: Tensor) -> Tensor:  # noqa: ARG002
        """Rate KL(q(z | x) ‖ p(z)), [batch] in nats (arXiv 1312.6114, eq. 10)."""
        return losses.kl_standard_normal(mean, log_variance)

    def log_prior(self, latents: Tensor) -> Tensor:
        """Log p(z), float32 [...] in nats, of latents [..., latent_dim]."""
        zeros = tf.zeros_like(latents)
        return losses.normal_log_density(latents, zeros, zeros)

    def new_encoder(self, *args: Any, **options: Any) -> keras.Model:
        """An encoder of the architecture, from images to mean and log-variance."""
        return self.build_network("encoder", *args, **options)

    def new_decoder(self, *args: Any, **options: Any) -> keras.Model:
        """A decoder of the architecture, from latents to image logits."""
        return self.build_network("decoder", *args, **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        latent, labels = (self.latent_dim,), bool(self.num_classes)
        outputs, values = [latent] * len(self.encoder_outputs), [*self.encoder_outputs.values()]
        check_network(
            self.encoder, "encoder", self.image_shape, outputs, labels=labels, values=values
        )
        check_network(
            self.decoder, "decoder", latent, [logits_shape(self)], labels=labels, values=[LOGITS]
        )

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update by each player: on the loss, or on the weighted terms of a transfer."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        statistic = self._statistic_of_parts(batch)

        def losses_of(part: dict[str, Any]) -> dict[str, Any]:
            terms = self.terms(part, training=True, statistic=statistic)
            if self.transfer_loss is None:
                return terms
            terms |= self.transfer_loss.dream_terms(part, training=True)
            return {**terms, "objective": self.transfer_loss.total(terms)}

        terms = self.minimize(losses_of, batch)
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The loss, with noise that depends on `seed` and the position in the data.

        The regularization has its full weight here, whatever the warm-up, and no bits are free.
        """
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"], test=True))
        terms = self.terms(batch, training=False)
        if self.transfer_loss is not None:
            terms |= self.transfer_loss.dream_terms(batch, training=False)
        terms |= self.batch_logs(terms, training=False)
        return self.log(terms)

    def terms(
        self, batch: dict[str, Any], *, training: bool, statistic: Any = None
    ) -> dict[str, Any]:
        """The loss and its parts (arXiv 1312.6114, eq. 7).

        Args:
            batch: The images x, labels and noise.
            training: Whether layers run in training mode, and annealing and free bits count.
            statistic: The likelihood's statistic of the whole training batch, if `batch` is a part.

        Returns:
            `loss`, `distortion`, `regularization` and the `regularization_terms`, each [batch] in
            nats.
        """
        images = self.targets(batch)
        outputs = named_outputs(self, self.forward(batch, training=training))
        function = self.pixels.batch_statistic()
        if training and statistic is None and function is not None:
            statistic = self._over_batch(function(images, outputs["logits"]))
        of_pixels, of_latents = (self._gated(term, outputs) for term in ("distortion", "rate"))
        distortion = self.pixels.nll(images, of_pixels["logits"], statistic)
        terms = self.regularization_terms(of_latents, batch)
        total = weighted_sum(self, terms)
        if training and self.free_bits:
            free = self._free(of_latents["mean"], of_latents["log_variance"])
            total += self.weights_of_terms["rate"] * free
        if training and self.warm_up:
            total *= self.annealing()
        return {
            "loss": distortion + total, "distortion": distortion, "regularization": total, **terms
        }  # fmt: skip

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """What the networks make of a batch, under the gradient tape.

        Args:
            batch: The images, labels and noise.
            training: Whether layers run in training mode.

        Returns:
            `mean` and `log_variance` of the posterior and `latents` z = μ + σ ⊙ ε (arXiv
            1312.6114, eq. 7), each [batch, latent_dim]; and `logits`, the decoder's of z,
            [batch, height, width, channels].
        """
        labels = batch.get("labels")
        mean, log_variance = self.encoder(with_labels(batch["images"], labels), training=training)
        latents = mean + tf.exp(0.5 * log_variance) * batch["posterior"]
        logits = self.logits(latents, labels, training=training)
        return {"mean": mean, "log_variance": log_variance, "latents": latents, "logits": logits}

    def _gated(self, term: str, outputs: dict[str, Any]) -> dict[str, Any]:
        return self.transfer_loss.gate(term, outputs) if self.transfer_loss else outputs

    def targets(self, batch: dict[str, Any]) -> Tensor:
        """The images that the logits of `forward` stand for, one per row."""
        return batch["images"]

    def annealing(self) -> Tensor:
        """Weight of the regularization at this step, scalar: 1, or less during the warm-up."""
        step = self.step.value % self.cycle if self.cycle else self.step.value
        return tf.minimum(tf.cast(step, tf.float32) / max(self.warm_up, 1), 1.0)

    def _free(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """What to add to the rate, [batch]: Σ_j λ − KL_j over dimensions j with a mean KL_j < λ."""
        zeros = tf.zeros_like(mean)[..., None]
        each = losses.kl_normals(mean[..., None], log_variance[..., None], zeros, zeros)
        below = global_mean(tf.stop_gradient(each)) < self.free_bits
        return tf.reduce_sum(tf.where(below, self.free_bits - each, 0.0), axis=1)

    def _statistic_of_parts(self, batch: dict[str, Any]) -> Any:
        """The likelihood's statistic of a batch that is computed in parts, before any gradient."""
        function = self.pixels.batch_statistic()
        if function is None or self.accumulate == 1:
            return None  # one pass gives both

        def compute(batch: dict[str, Any]) -> tuple[Any, Any]:
            logits = named_outputs(self, self.forward(batch, training=True))["logits"]
            values = function(self.targets(batch), logits)
            return [tf.reduce_sum(values)], {"statistic": values}

        _, logs = self.accumulated(compute, batch)
        return self._over_batch(logs["statistic"])

    def _over_batch(self, values: Any) -> Any:
        statistic = global_mean(tf.stop_gradient(values))
        self.pixels.remember(statistic)
        return statistic

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:
        """Adam at 1e-3, or at a tenth of it for a decoder that was brought from a GAN."""
        return Adam(1e-4 if name == "decoder_optimizer" else 1e-3)

    # Inference

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Posterior (mean, log-variance), float32 tensors [batch, latent_dim], of images.

        A model whose encoder has one output gives that tensor alone.

        Here and below, images are floats in [0, 1], or uint8 in 0…255. A conditional model takes
        `labels`, int32 [batch], or one class for all images.

        Raises:
            ValueError: If images or labels are not what the model takes.
        """
        images = self.images_of(images)
        labels = self._labels_of(images, labels)
        outputs = self.encoder(with_labels(images, labels), training=False)
        return tuple(outputs) if isinstance(outputs, (list, tuple)) else outputs

    def latent_code(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Where the latents of images lie: mean and standard deviation.

        `reconstruct` decodes the mean; a sampler is fitted to both. A model whose code is a point
        overrides this, with a deviation of 0.

        Args:
            images: As `encode` takes them.
            labels: Likewise.

        Returns:
            Two float32 tensors [batch, latent_dim].
        """
        mean, log_variance = self.encode(images, labels)
        return mean, tf.exp(0.5 * log_variance)

    def logits(
        self, latents: Tensor, labels: Tensor | None = None, *, training: bool = False
    ) -> Tensor:
        """The decoder's logits of latents, [batch, height, width, channels]."""
        return self.decoder(with_labels(latents, labels), training=training)

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images, float32 tensor [batch, height, width, channels] in [0, 1], of latents."""
        return self.pixels.mean(self.logits(latents, self._labels_of(latents, labels)))

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images of latents: the same as `decode`."""
        return self.decode(latents, labels)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images of the posterior means, float32 in [0, 1], of the shape of `images`."""
        return self.decode(self.latent_code(images, labels)[0], labels)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:  # noqa: ARG002, FBT001, FBT002
        """Reconstructs, so that `predict(images)` does, or `predict([images, labels])`."""
        return self.reconstruct(*(inputs if isinstance(inputs, (list, tuple)) else [inputs]))

    def _labels_of(self, x: Tensor, labels: Tensor) -> Tensor:
        """The labels of a network's input, [batch]. Within a graph their values are not checked."""
        if labels is None and not self.num_classes:
            return None
        if labels is None or tf.executing_eagerly():
            return self.checked_labels(labels, x.shape[0])
        labels = labels if labels.shape.rank == 1 else tf.reshape(labels, [-1])
        return tf.cast(labels, tf.int32)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises ValueError if `predict` is given what the model does not take."""
        super().check_inputs(inputs)
        images = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        checked_pixels(images, "The images")
        self.inference_images(images)

    # Deployment

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "decoder")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """The functions that are exported, by name."""
        latent, image = {"latent": (self.latent_dim,)}, {"image": self.image_shape}
        encoded = dict.fromkeys(self.encoder_outputs, (self.latent_dim,))
        again = {"reconstruction": self.image_shape}
        return {
            "generate": EndpointSpec("images_from_latents", latent, image, ("decoder",)),
            "encode": EndpointSpec("encode", image, encoded, ("encoder",)),
            "decode": EndpointSpec("decode", latent, image, ("decoder",)),
            "reconstruct": EndpointSpec("reconstruct", image, again, ("encoder", "decoder")),
        }

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Importance weights log p(x, z) − log q(z | x) of arXiv 1509.00519, eq. 7.

        Args:
            images: x, [batch, height, width, channels] as of `encode`.
            noise: ε ~ N(0, I), float32 [k, batch, latent_dim].
            labels: The classes for a conditional model, int32 [batch].

        Returns:
            float32 [k, batch], nats. Their mean over k estimates the ELBO; their log-mean-exp is
            the k-sample bound on log p(x).
        """
        images = self.images_of(images)
        mean, log_variance = self.encode(images, labels)
        latents = mean + tf.exp(0.5 * log_variance) * noise
        log_posterior = losses.normal_log_density(latents, mean, log_variance)
        log_likelihood = tf.map_fn(
            lambda z: -self.pixels.nll(images, self.logits(z, labels), None), latents
        )
        return log_likelihood + self.log_prior(latents) - log_posterior

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments. Networks that the user passed are stored whole."""
        names = ("network", "likelihood", "warm_up", "cycle", "free_bits", "transfer")
        options = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **options, **self.own_networks()}
