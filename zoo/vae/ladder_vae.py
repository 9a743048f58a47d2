"""Ladder VAE: layers of latents, inferred from the top down (arXiv 1602.02282)."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from zoo import losses
from zoo.core.network_tools import with_labels
from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zoo.core.model import EndpointSpec
    from zoo.io.types import Tensor

WIDTH = 256


@register_model("ladder_vae")
class LadderVAE(BaseVAE):
    """VAE with stochastic layers z_1 … z_L, the top one first (arXiv 1602.02282).

    The prior is p(z_l | z_<l) = N(μ_p, σ_p²), and N(0, I) at the top. The encoder sends (μ̂, σ̂²) to
    every layer. The posterior N(μ_q, σ_q²) of a layer is their precision-weighted mean with the
    prior:

        σ_q² = 1 / (σ̂⁻² + σ_p⁻²),  μ_q = (μ̂ σ̂⁻² + μ_p σ_p⁻²) σ_q²

    At the top it is (μ̂, σ̂²) itself. The latents of this class are not z, but the noise u of which
    the prior makes z: u_l = (z_l − μ_p) / σ_p. It is N(0, I), so sampling is as in any VAE.
    The posterior of u_l, given x and u_<l, is N(Δμ, Δσ²), the residual of NVAE (arXiv 2007.03898,
    section 3.2), with

        Δσ² = σ_q² / σ_p² = s(r),  Δμ = (μ_q − μ_p) / σ_p = s(−r) (μ̂ − μ_p) / σ_p

    of r = log σ̂² − log σ_p² and the sigmoid s. The rate is Σ_l KL(N(Δμ, Δσ²) ‖ N(0, I)). Its parts
    are logged as `rate_1` to `rate_L`.

    Departures from the paper: each layer, and the decoder, see all layers above, not only the next;
    all (μ̂, σ̂²) come from the encoder's last features. Lower layers tend to take over while the
    upper ones die. The paper's remedy is a long `warm_up`; `free_bits` help too.

    Args:
        layers: L, from 1, which is a VAE, to `latent_dim`.
        latent_dim: Number of latent dimensions of all layers together. They are shared out
            equally; the first layers have one more where they must.
        **kwargs: Further arguments of `BaseVAE`, but `transfer`.

    Raises:
        ValueError: If `layers` is out of range.

    Example:
        >>> import zoo
        >>> model = zoo.create("ladder_vae", (8, 8, 1), 4, network="mlp", layers=2)
        >>> model.log_names
        ('loss', 'distortion', 'rate', 'rate_1', 'rate_2')
    """

    single_decoder: ClassVar[bool] = False
    transferable: ClassVar[bool] = False
    # An image's latents are no one Gaussian, but one per layer, given the layers above: `encode`
    # follows the path of their means.
    has_latent_code: ClassVar[bool] = False

    def __init__(self, *, layers: int = 3, latent_dim: int, **kwargs: Any) -> None:
        if not 1 <= layers <= max(latent_dim, 1):
            msg = f"layers={layers}: expected 1 to latent_dim={latent_dim}, a dimension for each."
            raise ValueError(msg)
        self.log_names = (*self.log_names, *(f"rate_{i + 1}" for i in range(layers)))
        super().__init__(latent_dim=latent_dim, **kwargs)
        size, rest = divmod(self.latent_dim, layers)
        self.sizes = [size + (i < rest) for i in range(layers)]
        conditionals = [self._conditional(i) for i in range(1, layers)]
        self.prior_network = _prior_network(self.sizes, conditionals)
        self.posterior_network = _posterior_network(self.sizes, conditionals)

    def _conditional(self, i: int) -> Callable[[Any], tuple[Any, Any]]:
        """p(z_l | z_<l) of layer i: maps z_<l, [batch, dims], to (μ_p, log σ_p²), [batch, size]."""
        hidden = keras.layers.Dense(
            WIDTH, activation="relu", name=f"hidden_{i}", dtype=self.dtype_policy
        )
        heads = [
            keras.layers.Dense(self.sizes[i], name=f"{name}_{i}", dtype="float32")
            for name in ("mean", "log_variance")
        ]

        def apply(above: Any) -> tuple[Any, Any]:
            x = hidden(above)
            return heads[0](x), heads[1](x)

        return apply

    # The bound

    def forward(self, batch: dict[str, Any], *, training: bool) -> dict[str, Any]:
        """As in `BaseVAE`: Δμ and log Δσ² on the path that the noise takes, latents u, logits."""
        labels = batch.get("labels")
        sent = self.encoder(with_labels(batch["images"], labels), training=training)
        mean, log_variance, latents = self._infer(sent, batch["posterior"], training=training)
        logits = self.logits(latents, labels, training=training)
        return {"mean": mean, "log_variance": log_variance, "latents": latents, "logits": logits}

    def _infer(
        self, sent: Any, noise: Tensor, *, training: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Δμ, log Δσ² and u = Δμ + Δσ ε of what the encoder sent and ε, [batch, latent_dim]."""
        mean, log_variance = self.posterior_network([*sent, noise], training=training)
        return mean, log_variance, mean + tf.exp(0.5 * log_variance) * noise

    def regularization_terms(
        self, outputs: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Any]:
        """The rate, and that of each layer."""
        layers = (tf.split(outputs[name], self.sizes, axis=1) for name in ("mean", "log_variance"))
        moments = enumerate(zip(*layers, strict=True))
        each = {f"rate_{i + 1}": losses.kl_standard_normal(*x) for i, x in moments}
        return {**super().regularization_terms(outputs, batch), **each}

    def log_weights(self, images: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """As in `BaseVAE`; each sample takes a path of its own through the layers."""
        images = self.images_of(images)
        sent = self.encoder(with_labels(images, labels), training=False)

        def log_weight(noise: Tensor) -> Tensor:
            mean, log_variance, latents = self._infer(sent, noise)
            log_posterior = losses.normal_log_density(latents, mean, log_variance)
            nll = self.pixels.nll(images, self.logits(latents, labels), None)
            return self.log_prior(latents) - nll - log_posterior

        return tf.map_fn(log_weight, tf.convert_to_tensor(noise))

    # Inference

    def encode(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in `BaseVAE`: (Δμ, log Δσ²) on the path where each layer takes its mean."""
        images = self.images_of(images)
        labels = self._labels_of(images, labels)
        sent = self.encoder(with_labels(images, labels), training=False)
        mean, log_variance, _ = self._infer(sent, tf.zeros_like(sent[0]))
        return mean, log_variance

    def logits(
        self, latents: Tensor, labels: Tensor | None = None, *, training: bool = False
    ) -> Tensor:
        """The decoder's logits of the z that the prior makes of latents u."""
        z = self.prior_network(latents, training=training)
        return self.decoder(with_labels(z, labels), training=training)

    @property
    def served_networks(self) -> tuple[str, ...]:
        """Networks that inference takes, by attribute."""
        return ("encoder", "posterior_network", "prior_network", "decoder")

    def endpoints(self) -> dict[str, EndpointSpec]:
        """As in `BaseVAE`, with the networks between the layers."""
        uses = {"encode": self.served_networks[:2], "reconstruct": self.served_networks}
        return {
            name: endpoint._replace(networks=uses.get(name, self.served_networks[2:]))
            for name, endpoint in super().endpoints().items()
        }

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "layers": len(self.sizes)}


def _prior_network(sizes: list[int], conditionals: list[Any]) -> keras.Model:
    """Noise u, [batch, latent_dim], to z: z_l = μ_p(z_<l) + σ_p(z_<l) u_l."""
    latents = keras.Input((sum(sizes),), name="latent")
    z, *parts = _split(latents, sizes)
    for conditional, part in zip(conditionals, parts, strict=True):
        mean, log_variance = conditional(z)
        z = ops.concatenate([z, mean + ops.exp(0.5 * log_variance) * part], axis=1)
    return keras.Model(latents, z, name="prior")


def _posterior_network(sizes: list[int], conditionals: list[Any]) -> keras.Model:
    """μ̂, log σ̂² and noise ε to Δμ and log Δσ², where u = Δμ + Δσ ε; all [batch, latent_dim]."""
    shape = (sum(sizes),)
    inputs = [keras.Input(shape, name=name) for name in ("mean", "log_variance", "noise")]
    (shift, log_scale, noise), *layers = zip(*(_split(x, sizes) for x in inputs), strict=True)
    means, log_variances = [shift], [log_scale]
    z = shift + ops.exp(0.5 * log_scale) * noise
    for conditional, (shift, log_scale, noise) in zip(conditionals, layers, strict=True):
        mean, log_variance = conditional(z)
        ratio = log_scale - log_variance
        deviation = ops.exp(0.5 * log_variance)
        means.append(ops.sigmoid(-ratio) * (shift - mean) / deviation)
        log_variances.append(-ops.softplus(-ratio))
        u = means[-1] + ops.exp(0.5 * log_variances[-1]) * noise
        z = ops.concatenate([z, mean + deviation * u], axis=1)
    outputs = [ops.concatenate(parts, axis=1) for parts in (means, log_variances)]
    return keras.Model(inputs, outputs, name="posterior")


def _split(x: Tensor, sizes: list[int]) -> Iterator[Any]:
    """x, [batch, latent_dim], by layers."""
    return (x[:, start:end] for start, end in pairwise(accumulate(sizes, initial=0)))
