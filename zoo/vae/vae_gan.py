"""VAE/GAN: a VAE whose distortion is in a discriminator's features (arXiv 1512.09300)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf

from zoo import losses
from zoo.core.channels import runnable
from zoo.core.contracts import LOGITS
from zoo.core.network_tools import check_network, with_labels
from zoo.core.registry import register_model
from zoo.core.replicated_step import Player
from zoo.vae.base import BaseVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@register_model("vae_gan")
class VAEGAN(BaseVAE):
    """VAE/GAN (arXiv 1512.09300, algorithm 1).

    Three players have a loss each, with images x, reconstructions x̃ = Dec(Enc(x)), samples x_p:

    - Enc: L_prior + L_llike. L_prior is the rate, and L_llike = −log N(Dis_l(x); Dis_l(x̃), I), the
      `distortion`, in nats of the discriminator's features of layer l, summed over them (eq. 7).
    - Dec: γ L_llike − log Dis(x̃) − log Dis(x_p), the non-saturating form of the paper's −L_GAN.
    - Dis: −L_GAN = −log Dis(x) − log(1 − Dis(x̃)) − log(1 − Dis(x_p)).

    All players move at once, by one pass. The features change as Dis learns, so distortions of two
    models or epochs do not compare. An evaluation needs a p(x | z) of pixels for the ELBO: a
    Gaussian, whose σ² is the running mean of the σ² that is optimal for the reconstructions.

    Args:
        gamma: γ, at least 0. It weighs a sum over features, which may be thousands. The authors'
            code has 1e-5 for the 64 × 64 images of the paper.
        discriminator: `keras.Model` from images (and labels, with `num_classes`) to logits
            [batch, 1].
        normalization: For a built-in discriminator: `"batch"`, as in the paper, `"none"` or
            `"spectral"`.
        feature_layer: Name of the discriminator's layer l, whose output is Dis_l. None takes the
            input of the layer named "logit", the last features. The paper takes a convolution's
            output.
        **kwargs: Further arguments of `BaseVAE`, but `likelihood`, `warm_up`, `free_bits` and
            `transfer`.

    Raises:
        ValueError: If an option is out of range, or this model does not have it; or the
            discriminator has the wrong shapes or no such layer.

    Example:
        >>> import zoo
        >>> model = zoo.create("vae_gan", (8, 8, 1), 2, network="mlp")
        >>> model.optimizer_names
        ('encoder_optimizer', 'decoder_optimizer', 'discriminator_optimizer')
    """

    log_names: tuple[str, ...] = (
        "loss",
        "distortion",
        "rate",
        "decoder_loss",
        "discriminator_loss",
    )
    players: Mapping[str, Player] = {
        "encoder_optimizer": Player("loss", ("encoder",)),
        "decoder_optimizer": Player("decoder_loss", ("decoder",)),
        "discriminator_optimizer": Player("discriminator_loss", ("discriminator",)),
    }
    transferable: ClassVar[bool] = False
    fixed_options: ClassVar[dict[str, Any]] = {
        "likelihood": "gaussian",
        "warm_up": 0,
        "free_bits": 0.0,
    }

    def __init__(
        self,
        *,
        gamma: float = 1e-2,
        discriminator: keras.Model | None = None,
        normalization: str = "batch",
        feature_layer: str | None = None,
        **kwargs: Any,
    ) -> None:
        if gamma < 0:
            msg = f"gamma={gamma}: expected at least 0, such as 1e-2."
            raise ValueError(msg)
        super().__init__(**kwargs)
        self.gamma, self.normalization = float(gamma), normalization
        own = {role: kwargs.get(role) for role in ("encoder", "decoder")}
        self.keep_own(**own, discriminator=discriminator)
        options = {"num_classes": self.num_classes} if self.num_classes else {}
        self.discriminator = runnable(discriminator, "discriminator") or self.build_network(
            "discriminator", self.image_shape, normalization=normalization, **options
        )
        labels = bool(self.num_classes)
        check_network(
            self.discriminator, "discriminator", self.image_shape, [(1,)], labels=labels,
            values=[LOGITS],
        )  # fmt: skip
        self.feature_layer = feature_layer
        # Its name comes after "discriminator" in the alphabet: Keras saves networks in that order,
        # and their common weights under the first.
        self.feature_discriminator = self._with_features()

    def new_decoder(self, *args: Any, **options: Any) -> keras.Model:
        """The architecture's generator, with its BatchNorm, up to the logits.

        The paper's decoder has BatchNorm too (table 1). Without it the discriminator knows the
        decoder's images at once, and they do not improve.
        """
        generator = self.build_network("generator", *args, **options)
        return keras.Model(generator.input, generator.get_layer("logits").output, name="decoder")

    def _with_features(self) -> keras.Model:
        """The discriminator, with its weights, and with the outputs Dis_l and logits."""
        names = [layer.name for layer in self.discriminator.layers]
        name = self.feature_layer or "logit"
        if name not in names or not hasattr(self.discriminator, "input"):
            msg = (
                f"feature_layer={self.feature_layer!r} needs a layer {name!r} of a functional "
                f"discriminator; expected one of {names}."
            )
            raise ValueError(msg)
        layer = self.discriminator.get_layer(name)
        features = layer.output if self.feature_layer else layer.input
        outputs = [features, self.discriminator.output]
        return keras.Model(self.discriminator.input, outputs, name="feature_discriminator")

    # The losses

    def batch_noise(self, draw: Callable[..., Any]) -> dict[str, Any]:
        """As in `BaseVAE`, and latents of the samples x_p."""
        return {**super().batch_noise(draw), "prior": draw("prior", [self.latent_dim])}

    def terms(
        self,
        batch: dict[str, Any],
        *,
        training: bool,
        statistic: Any = None,  # noqa: ARG002  (no loss is of pixels)
    ) -> dict[str, Any]:
        """The three losses and their parts, each [batch]: `loss` is the encoder's, in nats.

        Also the `squared_error` per pixel of a reconstruction, which estimates σ².
        """
        images, labels = batch["images"], batch.get("labels")
        outputs = self.forward(batch, training=training)
        reconstruction = self.pixels.mean(outputs["logits"])
        sample = self.pixels.mean(self.logits(batch["prior"], labels, training=training))
        (features, real), (features_again, again), (_, fake) = (
            self.feature_discriminator(with_labels(x, labels), training=training)
            for x in (images, reconstruction, sample)
        )
        distortion = losses.gaussian_nll(features, features_again, 1.0)
        rate = self.rate(*(outputs[name] for name in ("mean", "log_variance", "latents")))
        fooled = losses.sum_per_example(tf.nn.softplus(-again) + tf.nn.softplus(-fake))
        told = tf.nn.softplus(-real) + tf.nn.softplus(again) + tf.nn.softplus(fake)
        return {
            "loss": distortion + rate,
            "distortion": distortion,
            "rate": rate,
            "decoder_loss": self.gamma * distortion + fooled,
            "discriminator_loss": losses.sum_per_example(told),
            "squared_error": tf.reduce_mean(tf.square(images - reconstruction), axis=[1, 2, 3]),
        }

    # The step

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the three players; σ² is estimated afterwards, for no loss needs it."""
        batch = self.batch_of(data)
        batch |= self.batch_noise(self.noise_source(batch["images"]))
        terms = self.minimize(lambda part: self.terms(part, training=True), batch)
        self._over_batch(terms["squared_error"])
        terms |= self.batch_logs(terms, training=True)
        self.step.assign_add(1)
        return self.log(terms)

    def default_optimizer(self, name: str) -> keras.optimizers.Optimizer:  # noqa: ARG002
        """RMSProp at 3e-4 (section 4)."""
        return keras.optimizers.RMSprop(3e-4)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("gamma", "normalization", "feature_layer")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
