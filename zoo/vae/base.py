"""The one training step of the VAE family.

A variant overrides `reconstruction_loss` or `regularizer`; both return one value per example, in
nats, and the loss is their sum: the negative evidence lower bound of arXiv 1312.6114, eq. 3, as
distortion + rate.

A VAE with `transfer` trains a decoder that was brought from a GAN: on a weighted sum of these two
and of two terms of its own, `sleep` and `anchor`, with an optimizer for the decoder. The weights
and rates are variables, for a callback to move (`zoo.convert.recipes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from zoo import losses
from zoo.training.model import ZooModel, check_network, copy_network
from zoo.training.replicas import global_count, global_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TERMS = ("distortion", "rate", "sleep", "anchor")


class BaseVAE(ZooModel):
    """A variational autoencoder with posterior N(μ(x), diag σ²(x)) and prior N(0, I).

    Args:
        image_shape: (height, width, channels) of float32 images in [0, 1].
        latent_dim: Number of latent dimensions.
        network: Architecture of the networks not given: one of `zoo.networks.list_networks()`.
        encoder: `keras.Model` from images to (mean, log-variance), each [batch, latent_dim].
        decoder: `keras.Model` from latents to image *logits*: the mean image is their sigmoid.
        transfer: Initial weights of the `TERMS` for a decoder that was trained before; the model
            then keeps a frozen copy of the decoder it begins with, and `compile` takes a
            `decoder_optimizer` too. None trains on the ELBO alone.
        seed: Seed of the training noise.
        **kwargs: `name` and `dtype`.

    Raises:
        ValueError: If a network has the wrong shapes, the decoder ends in a squashing function, or
            `transfer` is not a weight, at least 0, for each term.
    """

    family = "vae"
    log_names: tuple[str, ...] = ("loss", "distortion", "rate")
    optimizer_names: tuple[str, ...] = ("optimizer",)

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        latent_dim: int,
        network: str = "conv",
        encoder: keras.Model | None = None,
        decoder: keras.Model | None = None,
        transfer: Sequence[float] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if transfer is not None:
            self.log_names = (*self.log_names, "sleep", "anchor")
            self.optimizer_names = ("optimizer", "decoder_optimizer")
            if len(transfer) != len(TERMS) or min(transfer) < 0:
                msg = f"transfer={transfer}: expected a weight, at least 0, for each of {TERMS}."
                raise ValueError(msg)
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
        self.transfer = None if transfer is None else [float(weight) for weight in transfer]
        if transfer is not None:
            self.first_decoder = copy_network(self.decoder, latent)
            self.term_weights = self.add_weight(
                shape=(len(TERMS),), trainable=False, name="term_weights",
                initializer=lambda shape, dtype=None: tf.constant(transfer, dtype),  # noqa: ARG005
            )  # fmt: skip
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

    def pixel_deviation(self) -> Any:
        """Standard deviation of a pixel given its mean image, scalar; 0 where there is no density.

        It is the noise that a dreamt image gets in the sleep term.
        """
        return 0.0

    def regularizer(self, mean: Any, log_variance: Any, latents: Any) -> Any:  # noqa: ARG002
        """Rate KL(q(z | x) ‖ p(z)), [batch] in nats (arXiv 1312.6114, eq. 10)."""
        return losses.kl_standard_normal(mean, log_variance)

    # Steps

    def train_step(self, data: Any) -> dict[str, Any]:
        """One gradient step on the negative ELBO, or on the weighted terms of a transfer."""
        images = self.images_of(data)
        batch = tf.shape(images)[0]
        noise = self.noise("posterior", batch, [self.latent_dim])
        dream = self._dream(batch, counter=None)
        count = global_count(images)
        statistic = self._statistic_of_parts(images, noise)

        def compute(images: Any, noise: Any, *dream: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                terms = self.elbo_terms(images, noise, training=True, statistic=statistic)
                objective = terms["loss"]
                if dream:
                    terms |= self._transfer_terms(*dream, weights=self.term_weights.value)
                    objective = self._weighted(terms)
                loss = self.share("optimizer", objective, count)
            return self.gradients(tape, loss, *self.optimizer_names), terms

        gradients, terms = self.accumulated(compute, images, noise, *dream)
        self._update(gradients)
        self.step.assign_add(1)
        return self.log(terms)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The negative ELBO, with noise that depends on `seed` and the position in the data."""
        images = self.images_of(data)
        batch, seen = tf.shape(images)[0], self.examples_seen
        noise = self.noise("test", batch, [self.latent_dim], counter=seen)
        terms = self.elbo_terms(images, noise, training=False)
        dream = self._dream(batch, counter=seen)
        if dream:
            terms |= self._transfer_terms(*dream, weights=tf.ones([len(TERMS)]))
        return self.log(terms)

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
        (gated,) = self._gated("distortion", logits)
        distortion = self.reconstruction_loss(images, gated, statistic)
        rate = self.regularizer(*self._gated("rate", mean, log_variance, latents))
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

    # Training a decoder that was brought from a GAN

    def _dream(self, batch: Any, counter: Any) -> tuple[Any, ...]:
        """Prior latents, and noise for the pixels of their images; nothing without a transfer."""
        if self.transfer is None:
            return ()
        name = "dream" if counter is None else "test_dream"
        return (
            self.noise(name, batch, [self.latent_dim], counter=counter),
            self.noise(f"{name}_pixels", batch, self.image_shape, counter=counter),
        )

    def _transfer_terms(self, latents: Any, pixels: Any, *, weights: Any) -> dict[str, Any]:
        """The terms on dreamt latents, each [batch]; 0, uncomputed, where its weight is 0.

        `sleep` is −log q(z | G(z) + σ ξ) in nats, of the encoder alone (the sleep phase of
        wake-sleep, Hinton et al. 1995); `anchor` is ‖G(z) − G₀(z)‖², of the decoder alone, with G₀
        the decoder as it came. Networks run in inference mode: nothing here may update BatchNorm.
        """

        def sleep() -> Any:
            dreamt = tf.stop_gradient(self.decode(latents))
            mean, log_variance = self.encoder(
                dreamt + self.pixel_deviation() * pixels, training=False
            )
            return -losses.normal_log_density(latents, mean, log_variance)

        def anchor() -> Any:
            first = tf.sigmoid(self.first_decoder(latents, training=False))
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
        weights = zip(TERMS, tf.unstack(self.term_weights.value), strict=True)
        # A term of weight 0 may be infinite, while an encoder is far from any posterior.
        return sum(tf.math.multiply_no_nan(terms[name], weight) for name, weight in weights)

    def _update(self, gradients: Any) -> None:
        """Applies gradients of all optimizers, which carry the loss scale of the first."""
        # Before any update, which may change the scale.
        scales = {name: getattr(self, name).scale_loss(1.0) for name in self.optimizer_names}
        for name, scale in scales.items():
            n = len(self.variables_of(name))
            own, gradients = gradients[:n], gradients[n:]
            if name != "optimizer":
                own = [scale / scales["optimizer"] * gradient for gradient in own]
            if own:
                self.update(name, own)

    def compile(self, optimizer: Any = None, decoder_optimizer: Any = None, **kwargs: Any) -> None:
        """Sets the optimizers, by default `default_optimizer`.

        Args:
            optimizer: A Keras optimizer.
            decoder_optimizer: With `transfer`, the decoder's own; by default as the other, at a
                tenth of its learning rate.
            **kwargs: `accumulate` (parts a batch is computed in), `clip_norm` (of each whole
                gradient), `jit_compile`, and further ones of `keras.Model.compile`.
        """
        optimizers = {"optimizer": optimizer}
        if self.transfer is not None:
            if decoder_optimizer is None:
                decoder_optimizer = self.default_optimizer()
                decoder_optimizer.learning_rate.assign(0.1 * decoder_optimizer.learning_rate)
            optimizers["decoder_optimizer"] = decoder_optimizer
        elif decoder_optimizer is not None:
            msg = "decoder_optimizer is for models with transfer; this one has none."
            raise ValueError(msg)
        self._compile(optimizers, **kwargs)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """Adam at 1e-3."""
        return keras.optimizers.Adam(1e-3)

    def variables_of(self, optimizer_name: str) -> list[Any]:
        """All trainable variables; with `transfer`, the decoder's are the other optimizer's."""
        decoders = {id(v) for v in self.decoder.trainable_variables} if self.transfer else set()
        if optimizer_name == "decoder_optimizer":
            return self.decoder.trainable_variables
        return [v for v in self.trainable_variables if id(v) not in decoders]

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
        options = {"network": self.network, "transfer": self.transfer}
        return {**super().get_config(), **options, **self.own_networks()}


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
