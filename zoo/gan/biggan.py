"""BigGAN: skipped latents, a shared class embedding, truncated samples (arXiv 1809.11096)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import tensorflow as tf

from zoo import losses
from zoo.core.registry import register_model
from zoo.gan.gan import GAN
from zoo.layers import truncated_normal

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.io.types import Tensor

MOST = 2.0  # the largest threshold, beyond which 5 % of the draws lie


@register_model("biggan")
class BigGAN(GAN):
    """The GAN of large networks and batches (arXiv 1809.11096), conditional or not.

    The setting is that of appendix C: hinge loss, two discriminator updates per generator update,
    Adam with β = (0, 0.999) at 5e-5 for the generator and 2e-4 for the discriminator, and an
    average of the generator with a decay of 0.9999, which draws the samples. Departures: batches of
    128 images, 64 for each update, and not of 2048; ε of Adam is that of this zoo's Adam. With
    `num_classes` the discriminator projects (arXiv 1802.05637). `zoo.standing_statistics` gives the
    averaged generator BatchNorm statistics of its own.

    Args:
        loss: max(0, 1 − D(x)) + max(0, 1 + D(G(z))) for the discriminator, −D(G(z)) for the
            generator.
        network: `"biggan"`, or `"biggan_deep"` (appendix B); a number sets the paper's ch, as in
            `"biggan-96"`.
        normalization: Divides every kernel of the discriminator by its spectral norm. The networks
            do so in the generator too.
        n_critic: Discriminator updates per generator update; see `BaseGAN` on batch sizes.
        ttur: The discriminator's learning rate over the generator's: 2e-4 / 5e-5.
        ema: Decay of the averaged generator.
        orthogonal_weight: β of R_β(W) = β ‖WᵀW ⊙ (1 − I)‖²_F (eq. 3), which the generator's loss
            has for each of its kernels but the class embedding's. 1e-4 is that of the paper's best
            models; 0 leaves it out, as the authors' later code does by default.
        truncation: Threshold of a sample's latents, more than 0 and at most 2: the law is that of
            values drawn again until they are within it (section 3.1). Less is better and more
            alike. None leaves them as they are. A property: it can be set at any time. Training
            does not heed it; standing statistics and exports do.
        **kwargs: Further arguments of `GAN`.

    Raises:
        ValueError: If an option is out of range, or a network cannot make the images.

    Example:
        >>> import zoo
        >>> model = zoo.create("biggan", (8, 8, 1), 2, network="biggan-4", num_classes=3)
        >>> model.truncation = 0.5
        >>> model.generate(3, seed=0, labels=[0, 1, 2]).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 128
    learning_rate: ClassVar[float] = 5e-5
    betas: ClassVar[tuple[float, float]] = (0.0, 0.999)

    def __init__(
        self,
        *,
        loss: str = "hinge",
        network: str = "biggan",
        normalization: str | None = "spectral",
        n_critic: int = 2,
        ttur: float = 4.0,
        ema: float | None = 0.9999,
        orthogonal_weight: float = 1e-4,
        truncation: float | None = None,
        **kwargs: Any,
    ) -> None:
        if orthogonal_weight < 0.0:
            msg = f"orthogonal_weight={orthogonal_weight}: expected at least 0, such as 1e-4."
            raise ValueError(msg)
        super().__init__(
            loss=loss, network=network, normalization=normalization, n_critic=n_critic, ttur=ttur,
            ema=ema, **kwargs,
        )  # fmt: skip
        self.orthogonal_weight = float(orthogonal_weight)
        self.truncation = truncation

    @property
    def truncation(self) -> float | None:
        """The threshold of the latents that samples are drawn from; None for none."""
        return self._truncation

    @truncation.setter
    def truncation(self, threshold: float | None) -> None:
        if threshold is not None and not 0.0 < threshold <= MOST:
            msg = (
                f"truncation={threshold}: expected a threshold of more than 0 and at most {MOST:g},"
                " or None for no truncation."
            )
            raise ValueError(msg)
        self._truncation = None if threshold is None else float(threshold)

    def prior_latents(self, draw: Callable[..., Any]) -> Tensor:
        """Draws from N(0, I), truncated if there is a `truncation`."""
        latents = super().prior_latents(draw)
        if self.truncation is None:
            return latents
        return truncated_normal(latents, self.truncation)

    def generator_penalty(self, batch: dict[str, Any]) -> Tensor:
        """Σ R_β(W) over the generator's kernels (eq. 3), the same for each example: [batch]."""
        if not self.orthogonal_weight:
            return None
        kernels = [
            variable
            for variable in self.generator.trainable_variables
            if variable.name == "kernel" and "class_embedding" not in variable.path
        ]
        total = sum(losses.orthogonal_regularization(kernel.value) for kernel in kernels)
        return tf.fill([tf.shape(batch["latents"])[0]], self.orthogonal_weight * total)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        names = ("orthogonal_weight", "truncation")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
