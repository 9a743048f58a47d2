"""InfoGAN: a GAN with codes that can be read off its images (arXiv 1606.03657)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import tensorflow as tf

from zoo import losses
from zoo.core.contracts import IMAGES, LOGITS
from zoo.core.network_tools import check_network
from zoo.core.registry import register_model
from zoo.gan._codes import CodesFromNormal
from zoo.gan.gan import GAN

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from zoo.io.types import Tensor


@register_model("infogan")
class InfoGAN(GAN):
    """A GAN that maximises a bound on the information of codes c and images (arXiv 1606.03657).

    min over G and Q, max over D of V(D, G) − λ L_I(G, Q) (eq. 6), with the bound
    L_I = E log Q(c | G(c, z)) + H(c) ≤ I(c; G(c, z)) (eq. 5). Q is D with further linear outputs
    (section 5). As in the authors' code, −λ log Q is part of the losses of both players, so that Q
    learns with D.

    Latents are N(0, I) as in any GAN. `CodesFromNormal`, the generator's first layer, makes the
    codes from their first `categorical + continuous` numbers. The logs have `mutual_information`
    too, L_I in nats: at most log K for the category.

    Args:
        latent_dim: Number of code and noise dimensions together; the paper's 74 for MNIST.
        categorical: K, categories of the one categorical code; 0 for none.
        continuous: Number of continuous codes, U(−1, 1) each. Q(c | x) of one is a normal with
            learnt mean and variance (appendix C; the authors' code fixes the variance at 1).
        categorical_weight: λ of the category (appendix C).
        continuous_weight: λ of the continuous codes (appendix C).
        ttur: 1/5, with Adam at 1e-3 for the generator (appendix C.1).
        **kwargs: Further arguments of `GAN`. A `generator` of your own takes N(0, I) latents too; a
            `discriminator` of your own has the logit, then logits [batch, K], then means and
            log-variances [batch, 2 continuous], each only if there are such codes.

    Raises:
        ValueError: If there is no code, no dimension is left for noise, a weight is negative, or
            labels are asked for.

    Example:
        >>> import zoo
        >>> model = zoo.create("infogan", (8, 8, 1), 8, network="mlp", categorical=3)
        >>> latents = model.latents_with_codes(4, category=2, seed=0)
        >>> model.generate_from(latents).shape
        (4, 8, 8, 1)
    """

    learning_rate: ClassVar[float] = 1e-3
    log_names = (*GAN.log_names, "mutual_information")

    def __init__(
        self,
        *,
        latent_dim: int,
        categorical: int = 10,
        continuous: int = 2,
        categorical_weight: float = 1.0,
        continuous_weight: float = 0.1,
        ttur: float = 0.2,
        **kwargs: Any,
    ) -> None:
        if categorical < 0 or categorical == 1 or continuous < 0 or not categorical + continuous:
            msg = (
                f"categorical={categorical}, continuous={continuous}: expected at least one code, "
                "and 0 or at least 2 categories."
            )
            raise ValueError(msg)
        if latent_dim <= categorical + continuous:
            msg = (
                f"latent_dim={latent_dim}: expected more than the {categorical + continuous} that "
                f"categorical={categorical} and continuous={continuous} take, the rest being noise."
            )
            raise ValueError(msg)
        if min(categorical_weight, continuous_weight) < 0.0:
            msg = (
                f"categorical_weight={categorical_weight}, continuous_weight={continuous_weight}: "
                "expected at least 0."
            )
            raise ValueError(msg)
        if kwargs.get("num_classes"):
            msg = (
                f"num_classes={kwargs['num_classes']}: infogan finds its categories without "
                "labels. Leave it out, or take another GAN."
            )
            raise ValueError(msg)
        self.categorical = int(categorical)
        self.continuous = int(continuous)
        super().__init__(latent_dim=latent_dim, ttur=ttur, **kwargs)
        self.categorical_weight = float(categorical_weight)
        self.continuous_weight = float(continuous_weight)
        self.codes_layer = self._new_codes_layer()

    # Networks

    def _new_codes_layer(self) -> CodesFromNormal:
        return CodesFromNormal(self.categorical, self.continuous, dtype="float32", name="codes")

    def new_generator(self, **options: Any) -> keras.Model:
        """A generator of the architecture, behind the layer that makes the codes."""
        latents = keras.Input((self.latent_dim,), name="latent")
        images = super().new_generator(**options)(self._new_codes_layer()(latents))
        return keras.Model(latents, images, name="generator")

    @property
    def heads(self) -> list[int]:
        """Units of the discriminator's outputs behind the logit."""
        return [units for units in (self.categorical, 2 * self.continuous) if units]

    def new_discriminator(self, **options: Any) -> keras.Model:
        """D and Q in one."""
        return super().new_discriminator(heads=self.heads, **options)

    def check_networks(self) -> None:
        """Raises ValueError if a network is not what the model needs."""
        images = [self.image_shape]
        check_network(self.generator, "generator", (self.latent_dim,), images, values=[IMAGES])
        outputs = [(units,) for units in (1, *self.heads)]
        values = [LOGITS, *([LOGITS] if self.categorical else [])]
        check_network(self.discriminator, "discriminator", self.image_shape, outputs, values=values)

    # Losses

    def auxiliary_loss(self, heads: list[Any], batch: dict[str, Any], *, real: bool) -> Tensor:
        """−λ log Q(c | G(c, z)), [batch]. Real images have none: their codes are unknown."""
        if real:
            return None
        of_category, of_continuous = self._log_likelihoods(heads, batch["latents"])
        return -(self.categorical_weight * of_category + self.continuous_weight * of_continuous)

    def auxiliary_logs(self, heads: list[Any], batch: dict[str, Any]) -> dict[str, Any]:
        """L_I = log Q(c | G(c, z)) + H(c) in nats (eq. 5), [batch]."""
        of_category, of_continuous = self._log_likelihoods(heads, batch["latents"])
        entropy = math.log(max(self.categorical, 1)) + self.continuous * math.log(2.0)
        return {"mutual_information": of_category + of_continuous + entropy}

    def _log_likelihoods(self, heads: list[Any], latents: Tensor) -> tuple[Any, Any]:
        """Log Q of the category and of the continuous codes, each [batch] in nats, 0 for none."""
        category, continuous, _ = self.codes_layer.split(latents)
        logits, mean, log_variance = self._parameters(heads)
        of_category = tf.reduce_sum(category * tf.nn.log_softmax(logits), axis=1)
        return of_category, losses.normal_log_density(continuous, mean, log_variance)

    def _parameters(self, heads: list[Any]) -> tuple[Any, Any, Any]:
        """Q's logits [batch, K], means and log-variances [batch, continuous]."""
        sizes = [self.categorical, self.continuous, self.continuous]
        logits, mean, log_variance = tf.split(tf.concat(heads, axis=1), sizes, axis=1)
        return logits, mean, log_variance

    # Codes

    def infer_codes(self, images: Tensor) -> tuple[Any, Any, Any]:
        """Q(c | x): what the codes of images are.

        Args:
            images: [batch, height, width, channels], floats in [0, 1] or uint8 in 0…255.

        Returns:
            Probabilities of the categories, float32 tensor [batch, categorical], and mean and
            log-variance of the continuous codes, [batch, continuous] each.

        Raises:
            ValueError: If the images have another shape or dtype, or values out of range.
        """
        _, *heads = self.discriminator(self.images_of(images), training=False)
        logits, mean, log_variance = self._parameters(heads)
        return tf.nn.softmax(logits), mean, log_variance

    def latents_with_codes(
        self,
        n: int,
        *,
        category: int | Sequence[int] | None = None,
        continuous: Sequence[Any] | None = None,
        seed: int | None = None,
    ) -> np.ndarray:
        """Draws from the prior, given codes; for `generate_from`.

        Args:
            n: Number of latents.
            category: For all, or one each, int [n]; None draws it.
            continuous: Codes in [−1, 1] for all, [continuous], or for each, [n, continuous]; None
                draws them.
            seed: The same seed gives the same latents; None draws anew each time.

        Returns:
            float32 [n, latent_dim].

        Raises:
            ValueError: If a code is out of range, or there is no such code.
        """
        return self.codes_layer.place(self.sample_latents(n, seed), category, continuous)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("categorical", "continuous", "categorical_weight", "continuous_weight")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
