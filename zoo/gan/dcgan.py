"""DCGAN with the non-saturating loss (arXiv 1406.2661, arXiv 1511.06434)."""

from __future__ import annotations

from typing import Any

import keras

from zoo import losses
from zoo.gan.base import BaseGAN
from zoo.registry import register_model


@register_model("dcgan")
class DCGAN(BaseGAN):
    """The GAN of arXiv 1406.2661 with the networks and optimizer of arXiv 1511.06434.

    Takes the arguments of `BaseGAN`.
    """

    def generator_loss(self, real_logits: Any, fake_logits: Any) -> Any:  # noqa: ARG002
        """−log D(G(z)) (1406.2661, section 3), [batch]."""
        return losses.non_saturating_generator_loss(fake_logits)

    def discriminator_loss(self, real_logits: Any, fake_logits: Any) -> Any:
        """−log D(x) − log(1 − D(G(z))) (1406.2661, eq. 1), [batch]."""
        return losses.minimax_discriminator_loss(real_logits, fake_logits)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """Adam at 2e-4 with β₁ = 0.5 (1511.06434, section 4)."""
        return keras.optimizers.Adam(2e-4, beta_1=0.5)
