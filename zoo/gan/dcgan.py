"""DCGAN with the non-saturating loss (arXiv 1406.2661, arXiv 1511.06434)."""

from __future__ import annotations

from zoo.core.registry import register_model
from zoo.gan.gan import GAN


@register_model("dcgan")
class DCGAN(GAN):
    """The GAN of arXiv 1406.2661 with the networks and optimizer of arXiv 1511.06434.

    Its defaults are those of `GAN`, whose arguments it takes: the non-saturating loss, `conv`
    networks with BatchNorm, and Adam at 2e-4 with β₁ = 0.5.

    Example:
        >>> import zoo
        >>> model = zoo.create("dcgan", (8, 8, 1), 2, network="mlp")
        >>> model.generate(3, seed=0).shape
        (3, 8, 8, 1)
    """
