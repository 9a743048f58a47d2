"""VQ-VAE: discrete codes on a grid, with a PixelCNN prior (arXiv 1711.00937)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import networks
from zoo.core.contracts import LOGITS
from zoo.core.model import EndpointSpec
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.core.replicas import all_reduce_sum, on_global_batch
from zoo.layers.priors import LIMIT
from zoo.layers.quantization import VectorQuantizer, commitment_loss, perplexity
from zoo.networks import pixelcnn
from zoo.networks.grid import grid_shape
from zoo.vae._options import logits_shape
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor


@register_model("vq_vae")
class VQVAE(BaseVAE):
    """VQ-VAE (arXiv 1711.00937) with the codebook of its appendix A.1.

    The loss is −log p(x | z_q(x)) − log p(codes) + β ‖z_e(x) − sg[e]‖². Its first and last terms
    are those of eq. 3. Exponential averages of the codebook stand for the second term of eq. 3;
    codes that no image takes are moved onto features of the batch. The posterior is deterministic,
    so the first two terms are the negative evidence lower bound in nats, with the rate
    −log p(codes).

    The rate has a gradient only for the prior, a gated PixelCNN. Departure from the paper: the
    prior is trained at the same time. The paper trains it afterwards, and has a uniform one before,
    whose rate is the constant positions · log K (section 3.2). Autoencoder and codebook are not
    affected.

    The latents are one N(0, 1) number per position, which is a uniform number in disguise: Φ(ε) and
    the inverse distribution function of the prior give the code of the position. So images are a
    function of latents, but a piecewise constant one. It takes as many steps through the PixelCNN
    as there are positions.

    Args:
        latent_dim: D, dimensions of the vector of a code. The image gives the positions of the
            grid, and with them `noise_dim`.
        num_codes: K, at least 2. The paper's 512 is for larger images.
        commitment: β, at least 0. Distortion is in nats here: a squared error counts 1 / (2σ²)
            times, so the commitment counts less beside it as σ² falls. The paper finds the same
            results from 0.1 to 2.0, for features can change their scale.
        decay: γ of eq. 6 and 7, in [0, 1).
        prior_width: Channels of the PixelCNN.
        prior_layers: Layers of the PixelCNN. Four layers see all of a grid of up to 9 × 9.
        network: "grid", or another width, such as the paper's "grid-256".
        encoder: `keras.Model` from images to features [batch, height / 4, width / 4, latent_dim].
        decoder: `keras.Model` from such features to image logits.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits`, `transfer` and `num_classes`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; a side of the
            image is less than 8 or not divisible by 4; or a network has the wrong shapes.

    Example:
        >>> import numpy as np
        >>> import zoo
        >>> model = zoo.create("vq_vae", (8, 8, 1), 3, network="grid-8", num_codes=4, prior_width=8)
        >>> codes = model.encode(np.zeros((5, 8, 8, 1)))
        >>> codes.shape, model.decode(codes).shape
        (TensorShape([5, 2, 2]), TensorShape([5, 8, 8, 1]))
    """

    log_names: tuple[str, ...] = ("loss", "distortion", "rate", "commitment", "perplexity")
    transferable: ClassVar[bool] = False
    has_latent_code: ClassVar[bool] = False
    single_decoder: ClassVar[bool] = False
    piecewise_constant: ClassVar[tuple[str, ...]] = ("generate", "encode", "reconstruct")

    def __init__(
        self,
        *,
        num_codes: int = 128,
        commitment: float = 0.25,
        decay: float = 0.99,
        prior_width: int = 64,
        prior_layers: int = 4,
        network: str = "grid",
        **kwargs: Any,
    ) -> None:
        for name in ("free_bits", "num_classes"):
            if kwargs.get(name):
                msg = f"{name}={kwargs[name]}: {self.model_name} has none. Leave it out."
                raise ValueError(msg)
        if commitment < 0:
            msg = f"commitment={commitment}: expected at least 0, such as 0.25."
            raise ValueError(msg)
        self.commitment = float(commitment)
        super().__init__(network=network, **kwargs)
        self.num_codes, self.decay = int(num_codes), float(decay)
        self.prior_width, self.prior_layers = int(prior_width), int(prior_layers)
        self.quantizer = VectorQuantizer(
            self.num_codes, self.latent_dim, self.decay, dtype="float32", name="quantizer"
        )
        with networks.precision(self.dtype_policy):
            self.code_prior = pixelcnn.prior(
                self.grid, self.num_codes, self.prior_width, self.prior_layers
            )

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of the grid of codes."""
        return grid_shape(self.image_shape)

    @property
    def noise_dim(self) -> int:
        """One number per position."""
        return math.prod(self.grid)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        features = (*self.grid, self.latent_dim)
        check_network(self.encoder, "encoder", self.image_shape, [features])
        check_network(self.decoder, "decoder", features, [logits_shape(self)], values=[LOGITS])

    # The loss

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 and β."""
        return {"rate": 1.0, "commitment": self.commitment}

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """What the networks make of a batch.

        Returns:
            `features` z_e(x), float32 [batch, height / 4, width / 4, latent_dim]; their `codes`,
            int32 [batch, height / 4, width / 4]; `quantized`, which is z_q(x) with the
            straight-through gradient, like the features; and the decoder's `logits` of it.
        """
        features = self.encoder(batch["images"], training=training)
        quantized, codes = self.quantizer(features)
        logits = self.logits(quantized, training=training)
        return {"features": features, "codes": codes, "quantized": quantized, "logits": logits}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate and the commitment loss, [batch], and what the codebook follows."""
        features, codes = outputs["features"], outputs["codes"]
        return {
            "rate": -pixelcnn.log_probability(self.code_prior, codes),
            "commitment": commitment_loss(features, outputs["quantized"]),
            "features": features,
            "codes": codes,
            "candidates": batch["candidates"],
        }

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """Numbers that choose, for each code that is dead, an example and which of its features."""
        return {"candidates": draw("candidates", [self.num_codes, 2], uniform=True)}

    def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """The perplexity of the codes of the batch. In training it moves the codebook."""
        features, codes, draws = (terms.pop(name) for name in ("features", "codes", "candidates"))
        statistics = [
            *self.quantizer.statistics(features, codes),
            self._candidates(features, draws),
        ]
        counts, sums, candidates = all_reduce_sum(statistics)
        if training:
            own = (tf.range(self.num_codes, dtype=tf.float32) + 0.5) / self.num_codes
            self.quantizer.update(counts, sums, candidates, own)
        return {"perplexity": perplexity(counts)}

    def _candidates(self, features: Tensor, draws: Any) -> Tensor:
        """This replica's part of a sum over replicas: a random feature of the batch per code.

        Args:
            features: [batch, height, width, latent_dim].
            draws: From U(0, 1), [batch, num_codes, 2]. The largest first number of all replicas
                chooses the example, and its second number the position.

        Returns:
            float32 [num_codes, latent_dim]; 0 where the example is on another replica.
        """

        def chosen(numbers: Any) -> Any:
            rows = tf.one_hot(tf.argmax(numbers, axis=0), tf.shape(numbers)[0])
            return tf.transpose(rows)

        choice = on_global_batch(chosen, draws[..., 0])
        flat = tf.reshape(features, [-1, self.noise_dim, self.latent_dim])
        positions = tf.cast(draws[..., 1] * self.noise_dim, tf.int32)
        candidates = tf.gather(flat, positions, batch_dims=1)
        return tf.einsum("bk,bkd->kd", choice, candidates)

    # Inference

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002  (it has no labels)
        """Codes, int32 tensor [batch, height / 4, width / 4], of images."""
        return self.quantizer(self.encoder(self.images_of(images), training=False))[1]

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images, float32 tensor [batch, height, width, channels] in [0, 1], of codes."""
        return self.pixels.mean(self.logits(self.quantizer.embed(codes), labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean image of the codes, float32 tensor like `images`."""
        return self.decode(self.encode(images), labels)

    def codes_from_latents(self, latents: Tensor) -> Tensor:
        """Codes of the prior, int32 tensor [batch, height / 4, width / 4], of N(0, I) latents."""
        # Within ±5, where float32 uniforms stay below 1.
        uniforms = 0.5 + 0.5 * tf.math.erf(
            tf.clip_by_value(latents, -LIMIT, LIMIT) * math.sqrt(0.5)
        )
        return pixelcnn.sample(self.code_prior, uniforms)

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images of the codes that the prior gives for latents [batch, noise_dim]."""
        return self.decode(self.codes_from_latents(latents), labels)

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log p(x, codes of x), float32 [k, batch] in nats: the posterior is deterministic.

        All k rows are the same, so the k-sample bound is the ELBO.
        """
        images = self.images_of(images)
        codes = self.encode(images)
        logits = self.logits(self.quantizer.embed(codes), labels)
        joint = pixelcnn.log_probability(self.code_prior, codes)
        joint -= self.pixels.nll(images, logits, None)
        return tf.broadcast_to(joint, [tf.shape(noise)[0], tf.shape(images)[0]])

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "quantizer", "decoder", "code_prior")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """The functions that are exported, by name."""
        latent, image = {"latent": (self.noise_dim,)}, {"image": self.image_shape}
        codes, again = {"codes": self.grid}, {"reconstruction": self.image_shape}
        decoding = ("quantizer", "decoder")
        return {
            "generate": EndpointSpec(
                "images_from_latents", latent, image, ("code_prior", *decoding)
            ),
            "encode": EndpointSpec("encode", image, codes, ("encoder", "quantizer")),
            "decode": EndpointSpec("decode", codes, image, decoding),
            "reconstruct": EndpointSpec("reconstruct", image, again, ("encoder", *decoding)),
        }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("num_codes", "commitment", "decay", "prior_width", "prior_layers")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
