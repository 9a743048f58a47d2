"""Conditional VAE: encoder and decoder see the label (arXiv 1406.5298, model M2)."""

from __future__ import annotations

from typing import ClassVar

from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE


@register_model("cvae")
class CVAE(BaseVAE):
    """Conditional VAE p(x | y) = ∫ p(x | y, z) p(z) dz of images x with labels y.

    The loss is −E[log p(x | y, z)] + KL(q(z | x, y) ‖ p(z)), the labelled bound of arXiv 1406.5298,
    eq. 6, without the constant log p(y). As there, z is independent of y: it keeps what the label
    does not say, such as the style. The model of Sohn et al. (NeurIPS 2015) is another one: its
    prior p(z | x) depends on a second image x.

    The arguments are those of `BaseVAE`; `num_classes` is required.

    Example:
        >>> import zoo
        >>> model = zoo.create("cvae", (8, 8, 1), 2, network="mlp", num_classes=3)
        >>> model.generate(3, seed=0, labels=[0, 1, 2]).shape
        (3, 8, 8, 1)
    """

    conditional: ClassVar[bool] = True
