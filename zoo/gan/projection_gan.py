"""Projection GAN: a conditional SNGAN with a projection discriminator (arXiv 1802.05637)."""

from __future__ import annotations

from typing import ClassVar

from zoo.core.registry import register_model
from zoo.gan.sngan import SNGAN


@register_model("projection_gan")
class ProjectionGAN(SNGAN):
    """SNGAN of labelled images (arXiv 1802.05637), whose defaults and arguments it takes.

    The discriminator's logit of image x and label y is ⟨V y, φ(x)⟩ + ψ(φ(x)) (eq. 4), φ(x) being
    its last features and V y the label's embedding. The generator's BatchNorm has a gain and a bias
    for each class (section 4); besides, unlike in the paper, the label joins the latents. Fakes get
    the labels of the batch's real images.

    Raises:
        ValueError: If `num_classes` is missing.

    Example:
        >>> import zoo
        >>> model = zoo.create("projection_gan", (8, 8, 1), 2, network="mlp", num_classes=3)
        >>> model.generate(3, seed=0, labels=[0, 1, 2]).shape
        (3, 8, 8, 1)
    """

    conditional: ClassVar[bool] = True
