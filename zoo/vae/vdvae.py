"""Very Deep VAE: many layers of latents on feature maps of all sides (arXiv 2011.10650)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses, networks
from zoo.core.adam import Adam
from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.core.replicas import all_reduce_sum
from zoo.core.skipping import apply_below
from zoo.networks import vdvae
from zoo.vae._options import logits_shape
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

    from zoo.core.model import EndpointSpec
    from zoo.io.types import Tensor

MOMENTS = ("mean", "log_variance")


@register_model("vdvae")
class VDVAE(BaseVAE):
    """VAE with tens of stochastic layers, inferred from the top down (arXiv 2011.10650).

    The prior is p(z_l | z_<l) = N(μ_p, σ_p²), the posterior q(z_l | z_<l, x) = N(μ_q, σ_q²). The
    networks are those of figure 3: see `zoo.networks.vdvae`. The latents of this class are not z,
    but the noise u of which the prior makes z = μ_p + σ_p u. It is N(0, I), so sampling is as in
    any VAE. The posterior of u_l, given x and u_<l, is N(Δμ, Δσ²), with Δμ = (μ_q − μ_p) / σ_p and
    Δσ = σ_q / σ_p, and KL(q ‖ p) is its KL from N(0, I). The rate is Σ_l KL (eq. 2). Its parts are
    logged as `rate_1` for the 1 × 1 maps, `rate_2` for the next larger ones, and so on.

    The paper's samples of temperature t have σ_p scaled by t (section 4.4). Here they are
    `model.generate_from(t * model.sample_latents(n))`.

    The optimizer is the authors': AdamW with learning rate 2e-4, β = 0.9 and 0.9 and weight decay
    0.01, gradients clipped to a norm of 200, and updates skipped from a norm of 400. Norms are
    those of the loss in nats per dimension, as the authors minimise it; this class minimises nats
    per image, and takes them times height · width · channels. `skipped` is logged: the part of the
    updates that were skipped. The authors' warm-up is `compile(warmup_steps=100)`.

    Departures from the paper: it evaluates a moving average of the weights, which VAEs have not
    here; its images are draws from the likelihood, and here they are its means; and the departures
    of `zoo.networks.vdvae`.

    Args:
        latent_dim: Channels of z in each layer; the paper's are 16. The images and the layers give
            `noise_dim`, the number of all latents.
        decoder_blocks: Stochastic layers on the feature maps of each side, the top one, 1 × 1,
            first. The paper's for CIFAR-10 are (1, 3, 6, 11, 22).
        encoder_blocks: Residual blocks of the encoder on each side, likewise. The paper's for
            CIFAR-10 are (3, 4, 7, 7, 12).
        skip_norm: Norm of the gradient, in nats per dimension, from which an update is skipped; 0
            skips none.
        network: "vdvae", or with another width, such as the paper's "vdvae-384".
        likelihood: The paper's is a mixture of ten logistics. Images that are not multiples of
            1 / 255 have no such likelihood.
        **kwargs: Further arguments of `BaseVAE`, but `encoder`, `decoder`, `transfer` and
            `num_classes`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; or a side of the
            image is less than 8, or cannot be halved to 4 to 7 pixels.

    Example:
        >>> import zoo
        >>> model = zoo.create("vdvae", (8, 8, 1), 2, network="vdvae-8", decoder_blocks=(1, 2, 1))
        >>> model.generate(3, seed=0).shape, model.noise_dim
        ((3, 8, 8, 1), 194)
    """

    default_batch_size: ClassVar[int] = 32
    single_decoder: ClassVar[bool] = False
    transferable: ClassVar[bool] = False
    # An image's latents are no one Gaussian, but one per layer, given the layers above: `encode`
    # follows the path of their means.
    has_latent_code: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_shape: Sequence[int],
        decoder_blocks: Sequence[int] | None = None,
        encoder_blocks: Sequence[int] | None = None,
        skip_norm: float = 400.0,
        network: str = "vdvae",
        likelihood: str = "discretized_logistic_mixture",
        **kwargs: Any,
    ) -> None:
        for name in ("encoder", "decoder", "num_classes"):
            if kwargs.get(name):
                msg = f"{name}={kwargs[name]}: vdvae takes none. Leave it out."
                raise ValueError(msg)
        if network.partition("-")[0] != "vdvae":
            msg = f"network={network!r}: expected 'vdvae', or with a width, such as 'vdvae-64'."
            raise ValueError(msg)
        if skip_norm < 0:
            msg = f"skip_norm={skip_norm}: expected a number above 0, or 0 to skip no update."
            raise ValueError(msg)
        self.skip_norm = float(skip_norm)
        if len(image_shape) == 3:  # `ZooModel` refuses others
            self.decoder_blocks = vdvae.checked_blocks(image_shape, decoder_blocks, role="decoder")
            self.encoder_blocks = vdvae.checked_blocks(image_shape, encoder_blocks, role="encoder")
            rates = (f"rate_{i + 1}" for i in range(len(self.decoder_blocks)))
            self.log_names = (*self.log_names, *rates, "skipped")
        super().__init__(image_shape=image_shape, network=network, likelihood=likelihood, **kwargs)
        # 1 if the last update was skipped.
        self.skipped = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="skipped"
        )

    # The networks

    @property
    def sizes(self) -> list[int]:
        """Number of latents of each layer, the top one first."""
        return vdvae.latent_sizes(self.image_shape, self.latent_dim, self.decoder_blocks)

    @property
    def noise_dim(self) -> int:
        """Number of latents of all layers."""
        return sum(self.sizes)

    def new_encoder(self, *args: Any, **options: Any) -> keras.Model:  # noqa: ARG002
        """From images to features of each side."""
        return self.build_network("encoder", self.image_shape, blocks=self.encoder_blocks)

    def new_decoder(self, *args: Any, **options: Any) -> keras.Model:
        """From latents to logits; makes the posterior's network too, which shares its layers."""
        blocks = self.decoder_blocks
        decoder = self.build_network("decoder", *args, blocks=blocks, **options)
        with networks.precision(self.dtype_policy):
            self.posterior_network = vdvae.posterior(
                self.encoder, decoder, self.latent_dim, blocks=blocks
            )
        return decoder

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        latents, logits = (self.noise_dim,), [logits_shape(self)]
        check_network(self.decoder, "decoder", latents, logits, values=[LOGITS])

    # The bound

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """ε of all layers, [batch, noise_dim]."""
        return {"posterior": draw("posterior", [self.noise_dim])}

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """As in `BaseVAE`: Δμ and log Δσ² on the path that the noise takes, latents u, logits."""
        features = self.encoder(batch["images"], training=training)
        return self._infer(features, batch["posterior"], training=training)

    def _infer(self, features: Any, noise: Tensor, *, training: bool = False) -> dict[str, Any]:
        """Δμ, log Δσ², u = Δμ + Δσ ε and the logits, of the encoder's features and ε."""
        noise = tf.convert_to_tensor(noise)  # Keras takes no list of tensors and arrays
        mean, log_variance, logits = self.posterior_network([*features, noise], training=training)
        latents = mean + tf.exp(0.5 * log_variance) * tf.cast(noise, mean.dtype)
        return {"mean": mean, "log_variance": log_variance, "latents": latents, "logits": logits}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate, and that of the layers of each side."""
        layers = zip(*(tf.split(outputs[x], self.sizes, 1) for x in MOMENTS), strict=True)
        rates = [losses.kl_standard_normal(*moments) for moments in layers]
        parts = tf.split(tf.stack(rates, axis=1), self.decoder_blocks, axis=1)
        each = {f"rate_{i + 1}": tf.reduce_sum(part, axis=1) for i, part in enumerate(parts)}
        return {**super().regularization_terms(outputs, batch), **each}

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002  (it has no labels)
        """As in `BaseVAE`; each sample takes a path of its own through the layers."""
        images = self.images_of(images)
        features = self.encoder(images, training=False)

        def log_weight(noise: Tensor) -> Tensor:
            outputs = self._infer(features, noise)
            posterior = losses.normal_log_density(
                outputs["latents"], outputs["mean"], outputs["log_variance"]
            )
            nll = self.pixels.nll(images, outputs["logits"], None)
            return self.log_prior(outputs["latents"]) - nll - posterior

        return tf.map_fn(log_weight, tf.convert_to_tensor(noise))

    # Updates

    def update(self, optimizer_name: str, gradients: list[Any]) -> None:
        """As in every model, unless the gradient has exploded (section 3.3)."""
        if not self.skip_norm:
            super().update(optimizer_name, gradients)
            return
        gradients, variables = all_reduce_sum(gradients), self.variables_of(optimizer_name)
        largest = self.skip_norm * math.prod(self.image_shape)
        optimizer = getattr(self, optimizer_name)
        with self.part_of_the_way(optimizer_name):
            self.skipped.assign(apply_below(optimizer, gradients, variables, largest))

    def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:  # noqa: ARG002
        """Whether the update was skipped."""
        return {"skipped": self.skipped.value if training else tf.zeros([])}

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:  # noqa: ARG002
        """The authors' AdamW, which is Adam with Keras's decoupled weight decay."""
        return Adam(
            2e-4,
            beta_1=0.9,
            beta_2=0.9,
            epsilon=1e-8,
            weight_decay=0.01,
            global_clipnorm=200.0 * math.prod(self.image_shape),
        )

    # Inference

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002  (it has no labels)
        """(Δμ, log Δσ²) on the path where each layer takes its mean, each [batch, noise_dim]."""
        features = self.encoder(self.images_of(images), training=False)
        noise = tf.zeros([tf.shape(features[0])[0], self.noise_dim])
        outputs = self._infer(features, noise)
        return outputs["mean"], outputs["log_variance"]

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "posterior_network", "decoder")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """As in `BaseVAE`, with latents of all layers."""
        given, latents = super().endpoints(), (self.noise_dim,)
        moments = dict.fromkeys(MOMENTS, latents)
        inferring, every = self.served_networks[:2], self.served_networks
        return {
            "generate": given["generate"]._replace(inputs={"latent": latents}),
            "encode": given["encode"]._replace(outputs=moments, networks=inferring),
            "decode": given["decode"]._replace(inputs={"latent": latents}),
            "reconstruct": given["reconstruct"]._replace(networks=every),
        }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("decoder_blocks", "encoder_blocks", "skip_norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
