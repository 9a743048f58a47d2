"""SAGAN: self-attention and spectral normalisation in both networks (arXiv 1805.08318)."""

from __future__ import annotations

from typing import Any, ClassVar

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("sagan")
class SAGAN(GAN):
    """The GAN whose networks see the whole image at once (arXiv 1805.08318).

    The setting is that of section 4: hinge loss (eq. 4), one update of each network per step, Adam
    with β = (0, 0.9) at 1e-4 for the generator and 4e-4 for the discriminator. Batches are of 64
    images, and not of 256. With `num_classes` the discriminator projects and the generator's
    BatchNorm is conditional (arXiv 1802.05637), as in the paper.

    Args:
        loss: max(0, 1 − D(x)) + max(0, 1 + D(G(z))) for the discriminator, −D(G(z)) for the
            generator.
        network: The paper's networks; see `zoo.networks.sagan`.
        normalization: Divides every kernel of the discriminator by its spectral norm. The network
            `sagan` does so in the generator too.
        ttur: The discriminator's learning rate over the generator's: 4e-4 / 1e-4.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("sagan", (8, 8, 1), 2, network="sagan-8")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    learning_rate: ClassVar[float] = 1e-4
    betas: ClassVar[tuple[float, float]] = (0.0, 0.9)

    def __init__(
        self,
        *,
        loss: str = "hinge",
        network: str = "sagan",
        normalization: str | None = "spectral",
        ttur: float = 4.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            loss=loss, network=network, normalization=normalization, ttur=ttur, **kwargs
        )
