"""LSGAN: least squares instead of cross-entropy (arXiv 1611.04076)."""

from __future__ import annotations

from typing import Any, ClassVar

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("lsgan")
class LSGAN(GAN):
    """The GAN that minimises squares of D − 1 and D, D being the logits (arXiv 1611.04076, eq. 9).

    Adam is that of the authors' code, 0.001 with β₁ = 0.5, and so is the batch size; the networks
    are `conv` and not the paper's, which are made for 112 × 112 images.

    Args:
        loss: ½ (D(x) − 1)² + ½ D(G(z))² for the discriminator, ½ (D(G(z)) − 1)² for the generator.
        **kwargs: Further arguments of `GAN`.

    Example:
        >>> import zoo
        >>> model = zoo.create("lsgan", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """

    default_batch_size: ClassVar[int] = 64
    learning_rate: ClassVar[float] = 1e-3

    def __init__(self, *, loss: str = "least_squares", **kwargs: Any) -> None:
        super().__init__(loss=loss, **kwargs)
