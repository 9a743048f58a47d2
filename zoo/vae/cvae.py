"""Conditional VAE: encoder and decoder see the label (arXiv 1406.5298, model M2)."""

from __future__ import annotations

from typing import ClassVar

from zoo.core.registry import register_model
from zoo.vae.base import BaseVAE


@register_model("cvae")
class CVAE(BaseVAE):
    """Conditional VAE p(x | y) = ∫ p(x | y, z) p(z) dz of images x with labels y.

    The loss is −E[log p(x | y, z)] + KL(q(z | x, y) ‖ p(z)), the labelled bound of arXiv 1406.5298,
    eq. 6, without the constant log p(y). z is independent of y, as there, and so keeps what the
    label does not say, such as the style. With the prior p(z | x) of a second image x it would be
    the model of Sohn et al. (NeurIPS 2015).

    Takes the arguments of `BaseVAE` but `transfer`, and needs `num_classes`.
    """

    conditional: ClassVar[bool] = True
