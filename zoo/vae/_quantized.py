"""What models with discrete codes share: a quantizer, and a PixelCNN prior over its codes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import networks
from zoo.core.batches import DataError
from zoo.core.model import EndpointSpec
from zoo.core.replicas import all_reduce_sum, on_global_batch
from zoo.layers.priors import LIMIT
from zoo.layers.quantization import VectorQuantizer, code_counts, perplexity
from zoo.layers.quantizers import (
    FiniteScalarQuantizer,
    ResidualQuantizer,
    StraightThroughQuantizer,
)
from zoo.networks import pixelcnn
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zoo.io.types import Tensor

QUANTIZERS = ("ema", "straight_through", "fsq", "residual")
# Options that not every quantizer has: their defaults, and whose they are.
OF_QUANTIZER: dict[str, tuple[Any, tuple[str, ...]]] = {
    "commitment": (0.25, ("ema", "straight_through", "residual")),
    "decay": (0.99, ("ema", "residual")),
    "entropy_weight": (0.0, ("straight_through",)),
    "levels": ((), ("fsq",)),
    "depth": (4, ("residual",)),
}


class QuantizedVAE(BaseVAE):
    """A VAE whose latents are codes on a grid, with a PixelCNN for their prior.

    The posterior is deterministic, so the negative evidence lower bound is −log p(x | z_q(x)) −
    log p(codes) in nats. The second term, the rate, has a gradient for the prior alone. The loss
    adds what the quantizer needs:

    - "ema": β ‖z − sg[e]‖², for a codebook that moves by running averages, and whose dead codes go
      to features of the batch. See `zoo.layers.VectorQuantizer`.
    - "straight_through": β ‖z − sg[e]‖² + ‖sg[z] − e‖², for a codebook that is trained. With
      `entropy_weight` also that of Σ over positions of H(q) − H(mean q): q is a softmax over codes,
      and the mean is over positions and images. See `zoo.layers.StraightThroughQuantizer`.
    - "fsq": nothing, for there is no codebook. See `zoo.layers.FiniteScalarQuantizer`.
    - "residual": β Σ ‖z − sg[ẑ_d]‖² over d = 1 … D, ẑ_d being the sum of the first d codes, for D
      codes per position and a codebook that moves as that of "ema". See
      `zoo.layers.ResidualQuantizer`. The prior takes the D codes of a position one after the other,
      as columns of a grid D times as wide, so that it sees 1 / D as far to either side.

    The latents are one N(0, 1) number per code, which is a uniform number in disguise: Φ(ε) and the
    inverse distribution function of the prior give the code. So images are a function of latents,
    but a piecewise constant one. It takes as many steps through the PixelCNN as there are codes.

    Args:
        latent_dim: Dimensions of the vector of a code.
        num_codes: K, at least 2. With "fsq" it is the product of the levels; leave it out.
        quantizer: "ema", "straight_through", "fsq" or "residual".
        commitment: β, at least 0.
        decay: γ of the running averages of "ema" and "residual", in [0, 1).
        entropy_weight: Weight of the entropy term of "straight_through", at least 0.
        levels: Levels of "fsq", `latent_dim` numbers of at least 2, such as (8, 6, 5).
        depth: Codes per position of "residual", at least 1.
        prior_width: Channels of the PixelCNN.
        prior_layers: Layers of the PixelCNN. Four layers see all of a grid of up to 9 × 9.
        **kwargs: Further arguments of `BaseVAE`, but `free_bits`, `transfer` and `num_classes`.

    Raises:
        ValueError: If an option is out of range, the quantizer or the model does not have it, or a
            network has the wrong shapes.
    """

    log_names: tuple[str, ...] = ("loss", "distortion", "rate")
    encoder_outputs: ClassVar[Mapping[str, str | None]] = {"features": None}
    default_codes: ClassVar[int] = 128  # what `num_codes` is, left out
    transferable: ClassVar[bool] = False
    has_latent_code: ClassVar[bool] = False
    single_decoder: ClassVar[bool] = False
    piecewise_constant: ClassVar[tuple[str, ...]] = ("generate", "encode", "reconstruct")

    def __init__(
        self,
        *,
        num_codes: int = 128,
        quantizer: str = "ema",
        commitment: float = 0.25,
        decay: float = 0.99,
        entropy_weight: float = 0.0,
        levels: Sequence[int] = (),
        depth: int = 4,
        prior_width: int = 64,
        prior_layers: int = 4,
        **kwargs: Any,
    ) -> None:
        for name in ("free_bits", "num_classes"):
            if kwargs.get(name):
                msg = f"{name}={kwargs[name]}: {self.model_name} has none. Leave it out."
                raise ValueError(msg)
        given = {
            "commitment": commitment, "decay": decay, "entropy_weight": entropy_weight,
            "levels": tuple(levels), "depth": depth,
        }  # fmt: skip
        self.num_codes = _checked_codes(
            quantizer, num_codes, self.default_codes, given, kwargs.get("latent_dim")
        )
        self.quantizer_kind = quantizer
        self.commitment, self.entropy_weight = float(commitment), float(entropy_weight)
        self.decay, self.depth = float(decay), int(depth)
        self.levels = [int(level) for level in levels]
        self.prior_width, self.prior_layers = int(prior_width), int(prior_layers)
        further = [name for name in self.weights_of_terms if name != "rate"]
        self.log_names = (*self.log_names, *further, "perplexity")
        super().__init__(**kwargs)
        self.quantizer = self._new_quantizer()
        height, width = self.grid
        with networks.precision(self.dtype_policy):
            self.code_prior = pixelcnn.prior(
                (height, width * self.codes_per_position), self.num_codes,
                self.prior_width, self.prior_layers, depth=self.codes_per_position,
            )  # fmt: skip

    def _new_quantizer(self) -> Any:
        fixed: dict[str, Any] = {"dtype": "float32", "name": "quantizer"}
        size = self.num_codes, self.latent_dim
        if self.quantizer_kind == "ema":
            return VectorQuantizer(*size, self.decay, **fixed)
        if self.quantizer_kind == "residual":
            return ResidualQuantizer(*size, self.depth, decay=self.decay, **fixed)
        if self.quantizer_kind == "straight_through":
            return StraightThroughQuantizer(*size, **fixed)
        return FiniteScalarQuantizer(self.levels, **fixed)

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) of the grid of codes of an image of `image_shape`."""
        raise NotImplementedError

    @property
    def codes_per_position(self) -> int:
        """`depth` of a residual quantizer, else 1."""
        return self.depth if self.quantizer_kind == "residual" else 1

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of an image's codes: the grid, and a last axis for "residual"."""
        return (*self.grid, *([self.depth] if self.quantizer_kind == "residual" else []))

    @property
    def noise_dim(self) -> int:
        """One number per code."""
        return math.prod(self.code_shape)

    # The loss

    @property
    def weights_of_terms(self) -> dict[str, float]:
        """1 for the rate, β, and those of the quantizer."""
        weights = {"rate": 1.0}
        if self.quantizer_kind != "fsq":
            weights["commitment"] = self.commitment
        if self.quantizer_kind == "straight_through":
            weights["codebook"] = 1.0
        if self.entropy_weight:
            weights["entropy"] = self.entropy_weight
        return weights

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """What the networks make of a batch.

        Returns:
            `features` z_e(x), float32 [batch, *grid, latent_dim]; their `codes`, int32
            [batch, *code_shape]; `quantized`, which is z_q(x) with the straight-through gradient,
            like the features; and the decoder's `logits` of it.
        """
        features = self.encoder(batch["images"], training=training)
        quantized, codes = self.quantizer(features)
        logits = self.logits(quantized, training=training)
        return {"features": features, "codes": codes, "quantized": quantized, "logits": logits}

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate and the quantizer's terms, [batch], and what the codebook follows."""
        features, codes = outputs["features"], outputs["codes"]
        terms = {
            "rate": -pixelcnn.log_probability(self.code_prior, self._in_a_row(codes)),
            **self.quantizer.terms(features, outputs["quantized"], codes),
            "codes": codes,
        }
        if self.entropy_weight:
            terms["entropy"] = self._entropy(features)
        if self.quantizer.averaged:
            terms["features"] = self.quantizer.targets(features, codes)
            terms["candidates"] = batch["candidates"]
        return terms

    def _entropy(self, features: Tensor) -> Tensor:
        """Σ over positions of H(q) − H(mean q), [batch] in nats; the mean is of all replicas."""
        shares, entropies = self.quantizer.usage(features)

        def of_mean(shares: Tensor) -> Tensor:
            mean = tf.reduce_mean(shares, axis=0)
            return tf.fill(tf.shape(shares)[:1], -tf.reduce_sum(tf.math.xlogy(mean, mean)))

        return math.prod(self.grid) * (entropies - on_global_batch(of_mean, shares))

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """Numbers that choose, for each code that is dead, an example and which of its features.

        None for a quantizer without running averages.
        """
        if self.quantizer_kind not in OF_QUANTIZER["decay"][1]:
            return {}
        return {"candidates": draw("candidates", [self.num_codes, 2], uniform=True)}

    def batch_logs(self, terms: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """The perplexity of the codes of the batch. In training it moves the codebook."""
        codes = terms.pop("codes")
        if not self.quantizer.averaged:
            return {"perplexity": perplexity(all_reduce_sum(code_counts(codes, self.num_codes)))}
        features, draws = (terms.pop(name) for name in ("features", "candidates"))
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
            features: What codes stand for, [batch, *code_shape, latent_dim].
            draws: From U(0, 1), [batch, num_codes, 2]. The largest first number of all replicas
                chooses the example, and its second number which of its features.

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

    def _in_a_row(self, codes: Tensor) -> Tensor:
        """Codes as the prior takes them: those of a position side by side."""
        if self.quantizer_kind != "residual":
            return codes
        height, width, depth = self.code_shape
        return tf.reshape(codes, [-1, height, width * depth])

    # Inference

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:  # noqa: ARG002  (it has no labels)
        """Codes of images, int32 tensor [batch, height / f, width / f], f = 4 in `vq_vae`.

        Those of a residual quantizer have a last axis more, of its depth.
        """
        return self.quantizer(self.encoder(self.images_of(images), training=False))[1]

    def decode(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images, float32 tensor [batch, height, width, channels] in [0, 1], of codes."""
        return self.pixels.mean(self.logits(self.quantizer.embed(codes), labels))

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean image of the codes, float32 tensor like `images`."""
        return self.decode(self.encode(images), labels)

    def codes_from_latents(self, latents: Tensor) -> Tensor:
        """Codes of the prior, int32 tensor [batch, *code_shape], of N(0, I) latents."""
        # Within ±5, where float32 uniforms stay below 1.
        uniforms = 0.5 + 0.5 * tf.math.erf(
            tf.clip_by_value(latents, -LIMIT, LIMIT) * math.sqrt(0.5)
        )
        codes = pixelcnn.sample(self.code_prior, uniforms)
        residual = self.quantizer_kind == "residual"
        return tf.reshape(codes, [-1, *self.code_shape]) if residual else codes

    def images_from_latents(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images of the codes that the prior gives for latents [batch, noise_dim]."""
        return self.decode(self.codes_from_latents(latents), labels)

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log p(x, codes of x), float32 [k, batch] in nats: the posterior is deterministic.

        All k rows are the same, so the k-sample bound is the ELBO. Images have the size of
        `image_shape`.
        """
        images = self.images_of(images)
        sides = tuple(images.shape[1:3])
        if None not in sides and sides != self.image_shape[:2]:
            msg = (
                f"Images are {sides[0]} × {sides[1]}: the prior is of codes of {self.image_shape}."
            )
            raise DataError(msg)
        codes = self.encode(images)
        logits = self.logits(self.quantizer.embed(codes), labels)
        joint = pixelcnn.log_probability(self.code_prior, self._in_a_row(codes))
        joint -= self.pixels.nll(images, logits, None)
        return tf.broadcast_to(joint, [tf.shape(noise)[0], tf.shape(images)[0]])

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "quantizer", "decoder", "code_prior")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """The functions that are exported, by name."""
        latent, image = {"latent": (self.noise_dim,)}, {"image": self.image_shape}
        codes, again = {"codes": self.code_shape}, {"reconstruction": self.image_shape}
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
        names = (
            "num_codes", "commitment", "decay", "entropy_weight", "levels", "depth",
            "prior_width", "prior_layers",
        )  # fmt: skip
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "quantizer": self.quantizer_kind}


def _checked_codes(
    quantizer: str,
    num_codes: int,
    default_codes: int,
    given: dict[str, Any],
    latent_dim: int | None,
) -> int:
    """The number of codes, if the options that only some quantizers have fit to this one.

    Raises:
        ValueError: If they do not, or one is out of range.
    """
    if quantizer not in QUANTIZERS:
        msg = f"quantizer={quantizer!r}: expected one of {QUANTIZERS}."
        raise ValueError(msg)
    for name, (default, kinds) in OF_QUANTIZER.items():
        if given[name] != default and quantizer not in kinds:
            only = " or ".join(f"quantizer={kind!r}" for kind in kinds)
            msg = f"{name}={given[name]}: {quantizer!r} has none. Leave it out, or take {only}."
            raise ValueError(msg)
    for name in ("commitment", "entropy_weight"):
        if given[name] < 0:
            msg = f"{name}={given[name]}: expected at least 0, such as 0.25."
            raise ValueError(msg)
    if quantizer != "fsq":
        return int(num_codes)
    levels = given["levels"]
    if len(levels) != latent_dim:
        msg = (
            f"levels={list(levels)} with latent_dim={latent_dim}: expected a level per dimension, "
            "such as 8, 6, 5 for latent_dim=3."
        )
        raise ValueError(msg)
    if num_codes not in (default_codes, math.prod(levels)):
        msg = (
            f"num_codes={num_codes}: the levels make {math.prod(levels)} codes. Leave it out, or "
            "give other levels."
        )
        raise ValueError(msg)
    return math.prod(levels)
