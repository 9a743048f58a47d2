"""WGAN-GP: Wasserstein GAN with a gradient penalty (arXiv 1704.00028)."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from zoo import losses
from zoo.gan.base import BaseGAN
from zoo.registry import register_model


@register_model("wgan_gp")
class WGANGP(BaseGAN):
    """Wasserstein GAN with a gradient penalty (arXiv 1704.00028, algorithm 1).

    The penalty is measured on pixels in [0, 1], where distances are half those of [−1, 1]: a
    gradient of norm 1 here is one of norm 1/2 there.

    Args:
        penalty_weight: λ of eq. 3.
        n_critic: Critic updates per generator update; see `BaseGAN` on batch sizes.
        **kwargs: Further arguments of `BaseGAN`.

    Raises:
        ValueError: If `penalty_weight` is negative.
    """

    log_names = (*BaseGAN.log_names, "gradient_penalty")
    default_batch_size: ClassVar[int] = 64
    # The penalty is on each example's own gradient, which BatchNorm would mix (section 4).
    normalization: ClassVar[str] = "none"

    def __init__(self, *, penalty_weight: float = 10.0, n_critic: int = 5, **kwargs: Any) -> None:
        if penalty_weight < 0:
            msg = f"penalty_weight={penalty_weight}: expected at least 0."
            raise ValueError(msg)
        super().__init__(n_critic=n_critic, **kwargs)
        self.penalty_weight = penalty_weight

    def generator_loss(self, real_logits: Any, fake_logits: Any) -> Any:  # noqa: ARG002
        """−f(G(z)) (algorithm 1, line 12), [batch]."""
        return -losses.sum_per_example(fake_logits)

    def discriminator_loss(self, real_logits: Any, fake_logits: Any) -> Any:
        """f(G(z)) − f(x) (eq. 3), [batch]: minus the Wasserstein estimate."""
        return losses.wasserstein_critic_loss(real_logits, fake_logits)

    def gradient_penalty(self, real: Any, fake: Any, mix: Any) -> Any:
        """λ (‖∇f(x̂)‖₂ − 1)² (eq. 3), [batch]."""
        return self.penalty_weight * losses.gradient_norm_penalty(
            self.discriminator, real, fake, mix
        )

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """Adam at 1e-4 with β₁ = 0, β₂ = 0.9 (algorithm 1)."""
        return keras.optimizers.Adam(1e-4, beta_1=0.0, beta_2=0.9)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "penalty_weight": self.penalty_weight}
